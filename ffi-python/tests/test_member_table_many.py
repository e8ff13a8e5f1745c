"""Many members of a table at once: `bulk_load` and `apply_batch`."""

import collections
import functools
import random
import unittest
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import headcount
from headcount import Client, ListSpec, Member, MemberTable, TableBatchReport
from test_member_table import AGE, KEYS, MUTED, ONLINE, STAFF, Copy, Kept, chat, ids


def rows_of(report: TableBatchReport[Any]) -> list[tuple[int, str, int | None, int | None]]:
    return [(position, move.list.name, move.old_index, move.index) for position, move in report.rows]


def counts_of(report: TableBatchReport[Any]) -> tuple[int, int, int, int]:
    return report.inserted, report.updated, report.removed, report.missing


class Loads(unittest.TestCase):
    def test_members_come_with_keys_attributes_and_payloads(self) -> None:
        table = MemberTable(str, key_columns=2, payloads="json")
        view = table.add_list(ListSpec("all", "members", sort_by=AGE))
        report = table.bulk_load(
            [
                ("é", "Zoé", 30),
                ("日本", "Ann", (10, -1), {STAFF, MUTED}),
                ("z" * 64, b"\xff", 20, iter([ONLINE]), {"name": "Bob"}),
                ("null", "", 40, (), None),
                ("raw", "a", 50, [], b"[1]"),
            ]
        )
        self.assertEqual((report.loaded, report.duplicates), (5, []))
        self.assertEqual(ids(view), ["日本", "z" * 64, "é", "null", "raw"])
        found = [table.get(row.id) for row in view if isinstance(row, Member)]
        self.assertEqual([member and member.attrs for member in found], [{STAFF, MUTED}, {ONLINE}, set(), set(), set()])
        payloads = [b"", b'{"name":"Bob"}', b"", b"null", b"[1]"]
        self.assertEqual([member and member.payload for member in found], payloads)

    def test_members_that_exist_and_come_twice_are_left_out(self) -> None:
        table, everyone, staff = chat()
        report = table.bulk_load([(9, "Eve", 0, [STAFF]), (1, "x", 0), (9, "y", 0), (8, "Fay", 0), (8, "Fay", 0)])
        self.assertEqual((report.loaded, report.duplicates), (2, [(1, 1), (2, 9), (4, 8)]))
        self.assertEqual(repr(report), "<BulkReport loaded=2 duplicates=3>")
        self.assertEqual((ids(everyone), ids(staff)), ([1, 3, 2, 0, 9, 8], [3, 1, 9]))
        self.assertEqual(table.bulk_load([]).loaded, 0)
        self.assertEqual(table.bulk_load((n, "x", 0) for n in (9, 8)).duplicates, [(0, 9), (1, 8)])
        self.assertEqual(table.attr_sets(), 2)

    def test_a_load_is_one_change_for_viewers(self) -> None:
        table, everyone, staff = chat()
        viewer, client = staff.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        table.bulk_load((n, n, n, [STAFF]) for n in range(100, 400))
        bundle = viewer.bundle(table.tick(0.25))
        assert bundle is not None
        self.assertEqual([frame["kind"] for frame in bundle.to_dict()["frames"]], ["sync"])
        client.apply(bundle)
        self.assertEqual([row.get("id") for row in client.windows["c:0"].rows[1:4]], ["3", "1", "100"])
        self.assertEqual(staff.member_count(), 302)

    def test_lists_that_are_being_built_get_the_members(self) -> None:
        table, _, _ = chat()
        late = table.add_list(ListSpec("late", "all"))
        table.build(2)
        table.bulk_load((n, "x", n) for n in range(100, 200))
        self.assertFalse(table.is_built(late))
        table.build()
        self.assertEqual(sorted(ids(late)), [*range(4), *range(100, 200)])


class Batches(unittest.TestCase):
    def test_changes_are_applied_in_order(self) -> None:
        table, everyone, staff = chat()
        report = table.apply_batch(
            [
                ("upsert", 9, "Eve", 0, [STAFF]),
                ("set_attrs", 9, (), {ONLINE}),
                ("set_key", 9, AGE, -100),
                ("remove", 9),
                ("remove", 9),
                ("touch", 9),
                ("set_key", 77, 0, "x"),
                ("set_attrs", 77, [1], [2]),
                ("upsert", 9, "Fay", 7),
                ("touch", 9),
            ],
            rows=True,
        )
        self.assertEqual(counts_of(report), (2, 3, 1, 4))
        self.assertEqual(repr(report), "TableBatchReport(inserted=2, updated=3, removed=1, missing=4)")
        expected = [
            (0, "everyone", None, 5),
            (0, "staff", None, 3),
            (1, "everyone", 5, 1),
            (2, "staff", 3, 1),
            (3, "everyone", 1, None),
            (3, "staff", 1, None),
            (8, "everyone", None, 5),
        ]
        self.assertEqual(sorted(rows_of(report)), expected)
        self.assertEqual({move.list for _, move in report.rows}, {everyone, staff})
        self.assertEqual((ids(everyone), ids(staff)), ([1, 3, 2, 0, 9], [3, 1]))

    def test_rows_are_told_only_if_asked_for(self) -> None:
        table, everyone, _ = chat()
        report = table.apply_batch([("remove", 1), ("upsert", 1, "x", 0)])
        self.assertEqual((counts_of(report), report.rows), ((1, 0, 1, 0), []))
        self.assertEqual(counts_of(table.apply_batch([])), (0, 0, 0, 0))
        everyone.set_group_collapsed("offline")
        report = table.apply_batch([("remove", 1), ("upsert", 5, "x", 0)], rows=True)
        self.assertEqual(rows_of(report), [])  # No row before, and none after.
        self.assertEqual(everyone.member_count(), 4)

    def test_payloads_are_those_of_the_table(self) -> None:
        table = MemberTable(uuid.UUID, payloads="json")
        id, other = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)
        table.upsert(id, "Zoé")
        report = table.apply_batch([("set_payload", id, {"é": [1, None]}), ("set_payload", other, b"1")])
        self.assertEqual(counts_of(report), (0, 1, 0, 1))
        member = table.get(id)
        assert member is not None
        self.assertEqual((member.payload, member.revision), ('{"é":[1,null]}'.encode(), 1))

    def test_viewers_see_a_batch_as_its_changes(self) -> None:
        table, everyone, _ = chat()
        viewer, client = everyone.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        table.apply_batch([("remove", 1), ("upsert", 7, "Zoe", 0, [ONLINE])])
        bundle = viewer.bundle(table.tick(0.25))
        assert bundle is not None
        client.apply(bundle.to_json())
        shown = [row.get("id", row.get("group")) for row in client.windows["c:0"].rows]
        self.assertEqual(shown, ["online", "7", "offline", "3", "2", "0"])


class Boom(Exception):
    pass


def breaking(item: object) -> Iterator[object]:
    yield item
    raise Boom


class Refused(unittest.TestCase):
    def test_a_refused_call_changes_nothing(self) -> None:
        table, everyone, staff = chat()
        good, added = (5, "x", 0), ("upsert", 5, "x", 0)

        def state() -> object:
            return list(everyone), list(staff), [table.get(id) for id in range(6)], table.attr_sets()

        before = state()
        load: Callable[..., object] = table.bulk_load
        apply: Callable[..., object] = table.apply_batch
        wrong: list[tuple[type[BaseException], str, Callable[..., object], list[Any]]] = [
            (headcount.ListError, "change 1 .*2 columns, not 1", load, [good, (6, "x")]),
            (headcount.ListError, "change 1 .*2 columns, not 0", load, [good, (6,)]),
            (headcount.ListError, "change 0 .*2 columns, not 0", load, [()]),
            (headcount.ListError, "change 0 .*2 columns, not 5", load, [(6, "x", 0, [], b"", 1)]),
            (headcount.ListError, "change 1 .*without payloads", load, [good, (6, "x", 0, [], b"x")]),
            (headcount.LimitError, "at most 64 bytes", load, [good, (6, "x", b"x" * 65)]),
            (headcount.LimitError, "0 to 511, not 512", load, [good, (6, "x", 0, [512])]),
            (headcount.LimitError, "at most 512", load, [good, (6, "x", 0, [1] * 600)]),
            (OverflowError, "", load, [good, (6, "x", 0, [-1])]),
            (OverflowError, "", load, [good, (-(2**63) - 1, "x", 0)]),
            (TypeError, "ids of this list are int", load, [good, ("6", "x", 0)]),
            (TypeError, "", load, [good, (6, "x", 0, 1)]),
            (TypeError, "a sort key is", load, [good, (6, "x", None)]),
            (TypeError, r"\(id, key\)", load, [good, [6, "x", 0]]),
            (TypeError, "", load, [good, None]),
            (UnicodeEncodeError, "", load, [good, (6, "\ud800", 0)]),
            (headcount.ListError, "change 1 .*2 columns, not 1", apply, [added, ("upsert", 6, "x")]),
            (headcount.ListError, "change 1 .*2 columns, not 4", apply, [added, ("upsert", 6, "x", 0, [], b"")]),
            (headcount.ListError, "change 0 .*2 columns, not 0", apply, [("upsert", 6)]),
            (headcount.ListError, "change 1 .*no key column 2 among 2", apply, [added, ("set_key", 5, 2, "x")]),
            (headcount.ListError, "change 1 .*without payloads", apply, [added, ("set_payload", 5, b"x")]),
            (headcount.LimitError, "0 to 511, not 999", apply, [added, ("set_attrs", 5, [999], [])]),
            (ValueError, "no change \"upsert\" of 1 items", apply, [added, ("upsert",)]),
            (ValueError, "no change \"set_attrs\" of 3 items", apply, [added, ("set_attrs", 5, [1])]),
            (ValueError, "no change \"set_group\" of 3 items", apply, [added, ("set_group", 5, "x")]),
            (ValueError, "no change \"\" of 2 items", apply, [added, ("", 5)]),
            (OverflowError, "", apply, [added, ("set_key", 5, -1, "x")]),
            (IndexError, "", apply, [added, ()]),
            (TypeError, "a change is a tuple, not str", apply, [added, "remove"]),
            (TypeError, "", apply, [added, (1, 5)]),
        ]
        for number, (error, text, call, items) in enumerate(wrong):
            with self.subTest(number, items=str(items)[:60]), self.assertRaisesRegex(error, text):
                call(items)
        for call, item in ((load, good), (apply, added)):
            with self.assertRaises(Boom):
                call(breaking(item))
        self.assertEqual(state(), before)

    def test_an_error_is_of_the_kind_that_the_single_call_has(self) -> None:
        table = MemberTable(int, payloads="raw")
        long = b"x" * (1 << 17)
        for call in (
            lambda: table.bulk_load([(1, "x", [], long)]),
            lambda: table.apply_batch([("upsert", 1, "x"), ("set_payload", 1, long)]),
        ):
            with self.assertRaises(headcount.LimitError) as limit:
                call()
            self.assertIn("change", str(limit.exception))
            self.assertLess(limit.exception.limit, len(long))
        with self.assertRaises(headcount.ListError) as caught:
            table.apply_batch([("set_key", 1, 4, "x")])
        self.assertEqual(caught.exception.kind, "unknown_key_column")
        self.assertEqual(len(table), 0)


@functools.cache
def sorts_by(key: Any) -> bytes:
    scratch = MemberTable(int)
    scratch.upsert(1, key)
    member = scratch.get(1)
    assert member is not None
    return member.keys[0]


class Many(Copy[Any]):
    """A table that is changed by loads and batches, its plain copy, and a table that is changed by single calls."""

    def __init__(self, kind: Any, ids: list[Any], seed: int) -> None:
        super().__init__(kind, ids, seed)
        self.single: MemberTable[Any] = MemberTable(kind, key_columns=2)
        for number in range(4):
            spec = self.spec(f"list {number}")
            self.lists[self.table.add_list(spec)] = spec
            self.single.add_list(spec)

    def row(self) -> tuple[Any, ...]:
        keys = self.rng.choices(KEYS, k=2)
        return (*keys, self.bits()) if self.rng.random() < 0.7 else (*keys,)

    def kept(self, row: tuple[Any, ...]) -> Kept[Any]:
        return Kept([sorts_by(key) for key in row[:2]], set(*row[2:]))

    def load(self) -> None:
        members = [(id, *self.row()) for id in self.rng.choices(self.ids, k=self.rng.randrange(20))]
        duplicates = []
        for position, (id, *row) in enumerate(members):
            if id in self.members:
                duplicates.append((position, id))
                continue
            self.members[id] = self.kept(tuple(row))
            self.single.upsert(id, *row[:2], attrs=[*row[2:]][0] if row[2:] else ())
        report = self.table.bulk_load(iter(members))
        self.assert_equal((report.loaded, report.duplicates), (len(members) - len(duplicates), duplicates))

    def one_change(self) -> tuple[Any, ...]:
        rng, id = self.rng, self.rng.choice(self.ids)
        return rng.choice(
            [
                ("upsert", id, *self.row()),
                ("upsert", id, *self.row()),
                ("remove", id),
                ("touch", id),
                ("set_key", id, rng.randrange(2), rng.choice(KEYS)),
                ("set_attrs", id, self.bits(), self.bits()),
            ]
        )

    def expect(self, change: tuple[Any, ...]) -> str:
        """Change the plain copy, and return what the report counts it as."""
        verb, id, *rest = change
        member = self.members.get(id)
        if verb == "upsert":
            self.members[id] = self.kept(tuple(rest))
            return "updated" if member else "inserted"
        if member is None:
            return "missing"
        match verb:
            case "remove":
                del self.members[id]
                return "removed"
            case "set_key":
                member.keys[rest[0]] = sorts_by(rest[1])
            case "set_attrs":
                member.attrs = member.attrs - set(rest[0]) | set(rest[1])
        return "updated"

    def moves(self, change: tuple[Any, ...]) -> Any:
        """Make a change by a single call, and return the moves."""
        verb, id, *rest = change
        if verb == "upsert":
            return self.single.upsert(id, *rest[:2], attrs=rest[2] if rest[2:] else ()).moves
        if id not in self.single:
            return []
        match verb:
            case "set_attrs":
                return self.single.set_attrs(id, clear=rest[0], set=rest[1])
            case _:
                return getattr(self.single, verb)(id, *rest) or []

    def batch(self) -> None:
        changes = [self.one_change() for _ in range(self.rng.randrange(120))]
        expected = collections.Counter(self.expect(change) for change in changes)
        told = self.rng.random() < 0.8
        report = self.table.apply_batch(iter(changes), rows=told)
        for kind in ("inserted", "updated", "removed", "missing"):
            self.assert_equal((kind, getattr(report, kind)), (kind, expected[kind]))
        rows = [
            (position, move.list.name, move.old_index, move.index)
            for position, change in enumerate(changes)
            for move in self.moves(change)
        ]
        self.assert_equal(rows_of(report), rows if told else [])


class Model(unittest.TestCase):
    def check(self, kind: Any, ids: list[Any]) -> None:
        for seed in range(4):
            with self.subTest(seed=seed):
                many = Many(kind, ids, seed)
                for _ in range(30):
                    many.load()
                    many.batch()
                    many.check()

    def test_numbers(self) -> None:
        self.check(int, [*range(-30, 30), 2**64 - 1, 2**63, -(2**63)])

    def test_uuids(self) -> None:
        rng = random.Random(1)
        self.check(uuid.UUID, [uuid.UUID(int=rng.getrandbits(128)) for _ in range(60)] + [uuid.UUID(int=0)])

    def test_texts(self) -> None:
        odd = ["é", "日本", "z" * 64, "z" * 63 + "a", "\U0010ffff", "a", "aa"]
        self.check(str, [*odd, *(f"a long id that many share {n}" for n in range(50))])


if __name__ == "__main__":
    unittest.main()
