"""`SortedSet` passes the tests that sortedcontainers has for its own, fetched by `.ci/sortedcontainers`.

They call what is private there: `_check` and `_reset` look at how it is built and have nothing to do here.
"""

import importlib
import sys
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import headcount

HOME = Path(__file__).resolve().parents[2] / ".setup" / "sortedcontainers"

EXCLUDED = {
    "test_coverage_sortedset.test_repr_recursion": "puts sets into a set; members here are values, never objects",
    "test_stress_sortedset.test_init": "looks at the load factor of its inner list of lists",
}


class SortedSet(headcount.SortedSet[Any]):
    """Our set, with what the tests ask of the inside of theirs."""

    def _check(self) -> None:
        assert list(self) == sorted(set(self), key=self.key)

    def _reset(self, load: int) -> None:
        pass

    @property
    def _set(self) -> set[Any]:
        return set(self)

    @property
    def _key(self) -> Any:
        return self.key


def their_tests() -> Iterator[tuple[str, Callable[[], None]]]:
    for module in ("test_coverage_sortedset", "test_stress_sortedset"):
        loaded = importlib.import_module(f"tests.{module}")
        for name, test in vars(loaded).items():
            if name.startswith("test_"):
                yield f"{module}.{name}", test


class TheirSuite(unittest.TestCase):
    def test_passes(self) -> None:
        if not (HOME / "tests").exists():
            self.skipTest("NOT RUN: `.ci/sortedcontainers` has fetched nothing")
        path = mock.patch.object(sys, "path", [str(HOME), *sys.path])
        with path, mock.patch("sortedcontainers.SortedSet", SortedSet):
            named = dict(their_tests())
            self.assertEqual(EXCLUDED.keys() - named.keys(), set(), "no such test")
            self.assertGreaterEqual(len(named), 50)
            for name, test in named.items():
                if name not in EXCLUDED:
                    with self.subTest(name):
                        test()
