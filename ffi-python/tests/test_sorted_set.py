import bisect
import collections
import copy
import datetime
import enum
import operator
import pickle
import random
import unittest
import uuid
import weakref
from collections.abc import Callable, Iterator, MutableSet, Sequence
from decimal import Decimal
from typing import Any

import sortedcontainers  # type: ignore[import-untyped]

from headcount import SortedSet

UTC = datetime.UTC
Point = collections.namedtuple("Point", "x y")


def modulo(value: Any) -> int:
    return int(value % 10)


def negate(value: Any) -> Any:
    return -value


class Reversed(int):
    def __lt__(self, other: object) -> bool:
        return not int.__lt__(self, other)  # type: ignore[operator]


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Named(SortedSet[int]):
    pass


def inplace(name: str, target: Any, other: Any) -> Any:
    return getattr(operator, name)(target, other)


def outcome(call: Callable[[], Any], *, order: bool) -> Any:
    """The result of a call, with sets and iterators as lists; or the type of its exception."""
    try:
        result = call()
    except (LookupError, TypeError, ValueError) as error:
        return type(error)
    if isinstance(result, (SortedSet, sortedcontainers.SortedSet)) or hasattr(result, "__next__"):
        return list(result) if order else sorted(result)
    return result


class BesideSortedcontainers(unittest.TestCase):
    """The same calls on the `SortedSet` of sortedcontainers have the same effect."""

    def test_every_public_method_of_theirs_is_there(self) -> None:
        theirs = {name for name in dir(sortedcontainers.SortedSet()) if not name.startswith("_")}
        self.assertEqual(theirs - set(dir(SortedSet())), set())
        keyed = {n for n in dir(sortedcontainers.SortedSet(key=negate)) if not n.startswith("_")}
        self.assertEqual(keyed - set(dir(SortedSet(key=negate))), set())

    def test_any_calls_in_any_order(self) -> None:
        for seed, key in enumerate((None, negate, modulo, None)):
            rng = random.Random(seed)
            ours: Any = SortedSet(range(0, 60, 2), key)
            theirs: Any = sortedcontainers.SortedSet(range(0, 60, 2), key)
            for _ in range(4_000):
                call = self.any_call(rng, key)
                order = key is not modulo
                expected = outcome(lambda: call(theirs), order=order)
                self.assertEqual(outcome(lambda: call(ours), order=order), expected)
                self.assertEqual(set(ours), set(theirs))
                self.assertEqual(len(ours), len(theirs))
                if order:
                    self.assertEqual(list(ours), list(theirs))
                if len(ours) > 120:
                    ours.clear()
                    theirs.clear()

    def any_call(self, rng: random.Random, key: Any) -> Callable[[Any], Any]:
        a, b = rng.randrange(-3, 70), rng.randrange(-70, 70)
        some = [rng.randrange(70) for _ in range(rng.randrange(12))]
        more = [rng.randrange(70) for _ in range(rng.randrange(12))]
        flags = (rng.random() < 0.5, rng.random() < 0.5)
        back = rng.random() < 0.5
        part = slice(rng.choice([None, a, b]), rng.choice([None, a, b]), rng.choice([None, 1, 2, -1, -3]))
        calls: list[Callable[[Any], Any]] = [
            lambda s: s.add(a),
            lambda s: s.discard(a),
            lambda s: s.remove(a),
            lambda s: s.count(a),
            lambda s: a in s,
            lambda s: s.copy(),
            lambda s: copy.copy(s),
            lambda s: (s == set(s), s != set(s), s == list(s), s < {*s, 999}, s > set(some), s <= s),
            lambda s: s.isdisjoint(some),
            lambda s: s.issubset(some),
            lambda s: s.issuperset(some),
            lambda s: bool(s),
            lambda s: set(s.union(some, more)),
            lambda s: set(s.intersection(some, more)),
            lambda s: set(s.difference(some, more)),
            lambda s: set(s.symmetric_difference(some)),
            lambda s: [set(op(s, set(some))) for op in (operator.or_, operator.and_, operator.sub, operator.xor)],
            lambda s: [set(op(set(some), s)) for op in (operator.or_, operator.and_, operator.sub, operator.xor)],
            lambda s: set(s.update(some, more)),
            lambda s: set(s.intersection_update(range(50), range(20, 70))) if back else None,
            lambda s: set(s.difference_update(some, more)),
            lambda s: set(s.symmetric_difference_update(some)),
            lambda s: set(inplace("ior", s, some)),
            lambda s: set(inplace("iand", s, range(65))),
            lambda s: set(inplace("isub", s, some)),
            lambda s: set(inplace("ixor", s, some)),
            lambda s: s.add([1]),
            lambda s: s.union(3),
            lambda s: s | 3,
            lambda s: s[999],
            lambda s: s.pop(999),
            lambda s: s.bisect_left(a),
            lambda s: s.bisect_right(a),
            lambda s: s.bisect(a),
        ]
        # Values with equal keys may stand in another order.
        if key is not modulo:
            calls += [
                lambda s: s[b],
                lambda s: s[part],
                lambda s: s.pop(),
                lambda s: s.pop(b),
                lambda s: s.index(a),
                lambda s: s.index(a, b, b + 60),
                lambda s: operator.delitem(s, b),
                lambda s: operator.delitem(s, slice(part.start, part.stop, part.step and part.step * 3)),
                lambda s: list(reversed(s)),
                lambda s: s.islice(part.start, part.stop, back),
                lambda s: s.irange(a, a + 20, flags, back),
                lambda s: s.irange(None, a, flags, back),
                lambda s: s.irange(a, None, flags, back),
            ]
        if key is not None:
            calls += [
                lambda s: s.bisect_key_left(b),
                lambda s: s.bisect_key_right(b),
                lambda s: s.bisect_key(b),
                lambda s: set(s.irange_key(b, b + 20, flags)),
                lambda s: set(s.irange_key(None, b, flags)),
            ]
        return rng.choice(calls)


class Sets(unittest.TestCase):
    def test_against_a_sorted_list(self) -> None:
        rng = random.Random(3)
        model: list[int] = []
        tree = SortedSet[int]()
        for _ in range(4_000):
            value = rng.randrange(-300, 300)
            at = bisect.bisect_left(model, value)
            there = at < len(model) and model[at] == value
            self.assertEqual(value in tree, there)
            self.assertEqual(tree.rank(value), at)
            if rng.random() < 0.6:
                self.assertEqual(tree.insert(value), (at, not there))
                if not there:
                    model.insert(at, value)
            else:
                self.assertEqual(tree.take(value), at if there else None)
                if there:
                    del model[at]
        self.assertEqual(list(tree), model)
        self.assertEqual(tree[10:-10:3], model[10:-10:3])
        self.assertEqual((tree[0], tree[-1]), (model[0], model[-1]))

    def test_types_have_an_order_too(self) -> None:
        zone = datetime.timezone(datetime.timedelta(hours=2))
        ordered: list[Any] = [
            float("-inf"), -(2**70), -7, -6.5, 0, 0.5, True, 7, 2**53 - 1, float(2**53), 2**53 + 1, 2**63 - 1,
            float(2**63), 2**63 + 1, 10**30, 10**30 + 1, 1e30, float("inf"),
            b"", b"z", "", "a", "é", "\U0001f600", (), (1, "a"), (1, "b"), (1, ("b",)), Point(2, 3),
            datetime.date(2020, 1, 1), datetime.datetime(2019, 1, 1), datetime.datetime(2020, 1, 1, 0, 0, 0, 1),
            datetime.datetime(2020, 1, 1, 1, tzinfo=zone), datetime.datetime(2020, 1, 1, tzinfo=UTC),
            uuid.UUID(int=1), uuid.UUID(int=2**127),
        ]  # fmt: skip
        shuffled = ordered[:]
        random.Random(1).shuffle(shuffled)
        tree = SortedSet(shuffled)
        self.assertTrue(all(one is other for one, other in zip(tree, ordered, strict=True)))
        for at, value in enumerate(ordered):
            self.assertEqual((tree.index(value), value in tree), (at, True))
        self.assertIn(datetime.datetime(2019, 12, 31, 23, tzinfo=UTC), tree)
        numbers = [value for value in ordered if isinstance(value, (int, float))]
        self.assertEqual(numbers, sorted(numbers))

    def test_values_that_begin_alike(self) -> None:
        edges = [0, 2**53, 2**62, 2**63, 2**64, 2**70, 2**1100]
        numbers: list[Any] = [edge + near for edge in edges for near in range(-3, 4)]
        numbers += [-number for number in numbers]
        numbers += [float(number) for number in numbers if abs(number) < 2**1000]
        numbers += [0.5, -0.5, -0.0, True, 1e-300, 5e-324, 1e308, float("inf"), float("-inf")]
        texts = [begin + "a" * count for begin in ("", "é") for count in range(18)]
        texts += [text + end for text in texts for end in ("\0", "\0\0", "\1", "b", "ß", "😀")]
        values: list[list[Any]] = [numbers, texts, [text.encode() for text in texts]]
        values += [[(text, number % 3) for text in texts for number in range(6)]]
        values += [[((text, at % 3), text[at:], text.encode()) for text in texts for at in range(6)]]
        values += [[(), *((number,) for number in numbers), *((n, n) for n in numbers)]]
        values += [[uuid.UUID(int=number % 2**128) for number in numbers if type(number) is int]]
        for some in values:
            random.Random(5).shuffle(some)
            expected = sorted(set(some))
            self.assertEqual(list(SortedSet(some)), expected)
            one_by_one: SortedSet[Any] = SortedSet()
            for value in some:
                one_by_one.add(value)
            self.assertEqual(one_by_one[:], expected)
            self.assertEqual([one_by_one.index(value) for value in expected], [*range(len(expected))])
            self.assertTrue(all(value in one_by_one for value in some))
            keyed: SortedSet[Any] = SortedSet(some, key=lambda value: value)
            self.assertEqual([keyed.take(value) for value in expected], [0] * len(expected))

    def test_objects_are_kept_as_they_are(self) -> None:
        values: list[Any] = [True, Level.HIGH, Point(1, 2), type("Text", (str,), {})("x"), 1.0]
        tree = SortedSet(values)
        self.assertIs(tree[0], True, "the first of equal values stays")
        self.assertIs(tree[1], Level.HIGH)
        self.assertEqual(len(tree), 4)
        self.assertIs(tree.pop(), values[2])
        tree.add(1)
        self.assertIs(tree[0], True)
        for wrong in (Reversed(3), (1, Reversed(3))):
            with self.assertRaises(TypeError):
                tree.add(wrong)

    def test_update_and_clear(self) -> None:
        tree = SortedSet([3, 1, 3])
        self.assertIs(tree.update([1, 2, 4], (5,)), tree)
        self.assertEqual(repr(tree), "SortedSet([1, 2, 3, 4, 5])")
        self.assertEqual(repr(SortedSet([1], modulo)), f"SortedSet([1], key={modulo!r})")
        with self.assertRaises(TypeError):
            tree.update([6], [None])  # type: ignore[list-item]
        self.assertEqual(list(tree), [1, 2, 3, 4, 5])
        tree.clear()
        self.assertEqual((len(tree), list(tree)), (0, []))
        with self.assertRaises(IndexError):
            tree.pop()

    def test_what_fails_half_way_changes_nothing(self) -> None:
        def broken() -> Iterator[int]:
            yield 1
            raise OSError

        tree = SortedSet(iterable=[1, 2, 3])
        changes: list[Callable[..., object]] = [
            tree.update, tree.difference_update, tree.intersection_update, tree.symmetric_difference_update,
        ]  # fmt: skip
        for change in changes:
            with self.subTest(change), self.assertRaises(OSError):
                change(broken())
            self.assertEqual(list(tree), [1, 2, 3])
        for change in changes[:3]:
            with self.subTest(change), self.assertRaises(OSError):
                change([2], broken())
            self.assertEqual(list(tree), [1, 2, 3])

    def test_a_value_is_in_a_set_by_its_order_for_every_operation(self) -> None:
        one: set[Any] = {Decimal(1)}
        tree: SortedSet[Any] = SortedSet([1])
        self.assertNotIn(Decimal(1), tree)
        self.assertFalse(tree >= one or tree.issuperset(one) or tree > set(one))
        self.assertFalse(tree <= one or tree.issubset(one) or tree == one or one == tree)
        self.assertTrue(tree.isdisjoint(one))
        self.assertEqual((list(tree - one), list(tree & one)), ([1], []))
        self.assertEqual(list(tree.difference_update(one)), [1])
        with self.assertRaises(TypeError):
            tree ^ one
        self.assertEqual(list(tree.intersection_update(one)), [])

    def test_values_that_do_not_fit(self) -> None:
        tree = SortedSet[Any]()
        nested: Any = ()
        for _ in range(40):
            nested = (nested,)
        for wrong in (None, [1], (1, [2]), bytearray(b"x"), {1}, object(), datetime.time(), 1j):
            with self.assertRaises(TypeError):
                tree.insert(wrong)
            self.assertNotIn(wrong, tree)
            tree.discard(wrong)
            self.assertEqual(tree.count(wrong), 0)
            with self.assertRaises(KeyError):
                tree.remove(wrong)
        for wrong in (float("nan"), (1, float("nan")), nested):
            with self.assertRaises(ValueError):
                tree.insert(wrong)
        with self.assertRaises(UnicodeEncodeError):
            SortedSet(["\udc80"])
        with self.assertRaises(ValueError):
            tree.index(3)
        with self.assertRaises(IndexError):
            tree[0]
        with self.assertRaises(TypeError):
            hash(tree)
        with self.assertRaises(ZeroDivisionError):
            SortedSet([1, 0], key=lambda value: 1 / value)
        self.assertEqual(len(tree), 0)

    def test_a_key_decides_the_place(self) -> None:
        names = SortedSet(["bob", "Ann", "ann", "Cid"], str.casefold)
        self.assertEqual(list(names), ["Ann", "ann", "bob", "Cid"])
        self.assertEqual((names.bisect_left("ANN"), names.bisect("ANN"), names.key), (0, 2, str.casefold))
        self.assertEqual(names.index("ann"), 1)
        self.assertIs((names | {"Z"}).key, str.casefold)
        self.assertIs(names.copy().key, str.casefold)

    def test_pickles_and_copies(self) -> None:
        tree = SortedSet([(1, "a"), (0, "b")])
        keyed = SortedSet(range(100), modulo)
        for made in (tree, keyed, Named([3, 1])):
            for other in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made), made.copy()):
                self.assertEqual((list(other), other.key, type(other)), (list(made), made.key, type(made)))
                other.pop()
                self.assertEqual(len(made), len(other) + 1)
        self.assertIsInstance(Named([1]) | Named([2]), Named)
        self.assertIs(weakref.ref(tree)(), tree)

    def test_it_is_a_set_and_a_sequence(self) -> None:
        tree = SortedSet([2, 1])
        self.assertIsInstance(tree, MutableSet)
        self.assertIsInstance(tree, Sequence)
        match tree:
            case [first, *rest]:
                self.assertEqual((first, rest), (1, [2]))
            case _:
                self.fail("no sequence")

    def test_iteration_sees_the_set_as_it_was(self) -> None:
        tree = SortedSet(range(1_000))
        backwards = reversed(tree)
        seen = 0
        for value in tree:
            tree.remove(value)
            seen += 1
        self.assertEqual((seen, len(tree)), (1_000, 0))
        self.assertEqual(list(backwards), list(range(999, -1, -1)))


if __name__ == "__main__":
    unittest.main()
