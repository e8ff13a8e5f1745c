import bisect
import random
import unittest

from headcount import SortedSet


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
                self.assertEqual(tree.remove(value), at if there else None)
                if there:
                    del model[at]
        self.assertEqual(list(tree), model)
        self.assertEqual(tree[10:-10:3], model[10:-10:3])
        self.assertEqual((tree[0], tree[-1]), (model[0], model[-1]))

    def test_types_have_an_order_too(self) -> None:
        mixed: list[int | str | bytes | tuple[int, str]] = ["a", (1, "b"), b"z", 7, (1, "a"), -7, ""]
        tree = SortedSet(mixed)
        self.assertEqual(list(tree), [-7, 7, b"z", "", "a", (1, "a"), (1, "b")])

    def test_update_and_clear(self) -> None:
        tree = SortedSet([3, 1, 3])
        self.assertEqual(tree.update([1, 2, 4]), 2)
        self.assertEqual(repr(tree), "<SortedSet 4>")
        tree.clear()
        self.assertEqual((len(tree), list(tree)), (0, []))

    def test_values_that_do_not_fit(self) -> None:
        tree = SortedSet[int]()
        for wrong in (1.5, None, [1], (1, (2,)), bytearray(b"x")):
            with self.assertRaises(TypeError):
                tree.insert(wrong)  # type: ignore[arg-type]
            self.assertNotIn(wrong, tree)
        for huge in (1 << 63, -(1 << 63) - 1):
            with self.assertRaises(OverflowError):
                tree.insert(huge)
        with self.assertRaises(UnicodeEncodeError):
            SortedSet(["\udc80"])
        with self.assertRaises(ValueError):
            tree.index(3)
        with self.assertRaises(IndexError):
            tree[0]
        self.assertEqual(len(tree), 0)

    def test_iteration_sees_the_set_as_it_was(self) -> None:
        tree = SortedSet(range(1_000))
        seen = 0
        for value in tree:
            tree.remove(value)
            seen += 1
        self.assertEqual((seen, len(tree)), (1_000, 0))


if __name__ == "__main__":
    unittest.main()
