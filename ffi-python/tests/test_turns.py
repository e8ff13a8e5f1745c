"""Long calls let other threads run while they make objects, and objects while their content is freed.

The interpreter hands over only where a call lets go of it. Another thread notes, whenever it runs, how many objects
there are: with some of those that the call makes and without the others, it ran in the middle.
"""

import gc
import itertools
import sys
import threading
import time
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any

from headcount import Diff, Entry, ListSpec, MemberList, MemberTable, Presence, Roster, SortedSet, Tracker

MANY = 30_000
"""At least a few dozen times the conversions between two chances."""


def tracker(owners: int = 1) -> Tracker:
    made = Tracker("a")
    for number in range(MANY):
        made.track("room", f"user {number // owners}", f"conn {number % owners}")
    return made


def joins() -> Diff:
    return tracker().take_diff()


def updates() -> Diff:
    made = tracker()
    made.take_diff()
    for number in range(MANY):
        made.update("room", f"user {number}", "conn 0", b"x")
    return made.take_diff()


def leaves() -> Diff:
    made = tracker()
    made.take_diff()
    made.untrack_owner("conn 0")
    return made.take_diff()


def presence() -> Presence:
    made = Presence("a")
    for number in range(MANY):
        made.track("room", f"user {number}", "conn")
    return made


class Turns(unittest.TestCase):
    def setUp(self) -> None:
        self.marks: set[int] = set()
        self.turns = 0
        end = threading.Event()

        def turn() -> None:
            while not end.is_set():
                self.marks.add(sys.getallocatedblocks())
                self.turns += 1
                time.sleep(0)

        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        thread = threading.Thread(target=turn)
        thread.start()
        # A thread that a failure leaves behind would keep the process from ending.
        self.addCleanup(thread.join)
        self.addCleanup(end.set)
        sys.setswitchinterval(1_000)

    def lets_others_run(self, work: Callable[[], object]) -> None:
        gc.collect()
        tries_end = time.monotonic() + 60
        while time.monotonic() < tries_end:
            self.marks.clear()
            before = sys.getallocatedblocks()
            made = work()
            after = sys.getallocatedblocks()
            del made
            tenth = (after - before) // 10
            # A busy machine may let the other thread run only now and then, and never without a release.
            between = any(before + tenth < mark < after - tenth for mark in self.marks.copy())
            if between and tenth > MANY // 20:
                return
        self.fail("no other thread ran while the call made objects")

    def lets_others_run_when_freed(
        self, make: Callable[[], Any], free: Callable[[list[Any]], object] = list.clear
    ) -> None:
        """With the long interval of `setUp`, a turn between the two looks is a release within the freeing."""
        tries_end = time.monotonic() + 60
        while time.monotonic() < tries_end:
            held = [make()]
            before = self.turns
            free(held)
            after = self.turns
            if after > before:
                return
        self.fail("no other thread ran while the content was freed")

    def test_what_is_freed(self) -> None:
        members = [(f"user {number}", "g", number) for number in range(MANY)]
        rows = [(id, number) for id, _, number in members]

        def member_list() -> MemberList[str]:
            ml = MemberList(groups=["g"])
            ml.bulk_load(members)
            return ml

        def member_table() -> MemberTable[str]:
            table = MemberTable(str)
            table.bulk_load(rows)
            return table

        full, full_table = member_list(), member_table()
        change = tracker().take_diff()["room"]
        makes: dict[str, Callable[[], object]] = {
            "list": member_list,
            "table": member_table,
            "snapshot": lambda: member_list().snapshot(),
            "iterator": lambda: iter(member_list().snapshot()),
            "duplicates of a list": lambda: full.bulk_load(members),
            "duplicates of a table": lambda: full_table.bulk_load(rows),
            "report of a roster": lambda: Roster(MemberList(groups=["g"]), lambda _: ("g", 1)).apply(change),
            "tracker": tracker,
            "diff": lambda: tracker().take_diff(),
            "diff of a topic": lambda: tracker().take_diff()["room"],
            "set": lambda: SortedSet(range(MANY)),
            "iterator of a set": lambda: iter(SortedSet(range(MANY))),
        }
        for name, make in makes.items():
            with self.subTest(name):
                self.lets_others_run_when_freed(make)
        self.lets_others_run_when_freed(lambda: SortedSet(range(MANY)), lambda held: held[0].clear())

    def test_changes(self) -> None:
        for diff, kind in ((joins(), "joins"), (updates(), "updates"), (leaves(), "leaves")):
            for changes in (diff, diff["room"]):
                with self.subTest(kind, of=type(changes).__name__):
                    self.lets_others_run(partial(getattr, changes, kind))

    def test_lists_of_a_topic(self) -> None:
        held, many = presence(), tracker(MANY)
        self.lets_others_run(lambda: held.list("room"))
        self.lets_others_run(lambda: many.list("room"))
        self.lets_others_run(lambda: many.get_by_key("room", "user 0"))

    def test_rows_one_by_one(self) -> None:
        ml, table = MemberList(int, groups=["g"]), MemberTable(int)
        ml.bulk_load((number, "g", number) for number in range(MANY))
        for number in range(MANY):
            table.upsert(number, number)
        view = table.add_list(ListSpec("all", "g"))
        table.build()
        values = SortedSet(range(MANY))
        numbers = itertools.count(1 << 40)
        self.lets_others_run(lambda: list(ml))
        self.lets_others_run(lambda: list(reversed(ml.snapshot())))
        self.lets_others_run(lambda: list(view))
        self.lets_others_run(lambda: list(zip(values, numbers)))

    def test_rows_of_many_ids(self) -> None:
        ml = MemberList(int, groups=["g"])
        ml.bulk_load((number, "g", number) for number in range(MANY))
        ids = list(range(MANY))
        self.lets_others_run(lambda: ml.rows_of(ids))
        self.lets_others_run(lambda: ml.index_of_many(ids))

    def test_reports(self) -> None:
        ml, table = MemberList(int, groups=["g"]), MemberTable(int)
        table.add_list(ListSpec("all", "g"))
        # Numbers of which there is no object yet.
        numbers = range(1 << 40, (1 << 40) + MANY)
        loads = (ml.bulk_load((n, "g", n) for n in numbers), table.bulk_load((n, n) for n in numbers))
        self.assertEqual([load.loaded for load in loads], [MANY, MANY])
        loads = (ml.bulk_load((n, "g", n) for n in numbers), table.bulk_load((n, n) for n in numbers))
        for load in loads:
            self.lets_others_run(lambda: load.duplicates)
        in_list = ml.apply_batch([("touch", n) for n in numbers])
        in_table = table.apply_batch([("remove", n) for n in numbers], rows=True)
        self.lets_others_run(lambda: in_list.rows)
        self.lets_others_run(lambda: in_table.rows)

    def test_rosters(self) -> None:
        """A mapping written in C hands over nowhere: what does is the work around it."""
        made = tracker()
        change, entries = made.take_diff()["room"], made.list("room")

        def work(
            target: Callable[[], MemberList[str] | MemberTable[str]], run: Callable[[Roster[str]], object]
        ) -> Callable[[], list[Entry]]:
            def mapped() -> list[Entry]:
                seen: list[Entry] = []
                roster: Any = Roster
                run(roster(target(), seen.append))
                return seen

            return mapped

        for target in (MemberList, MemberTable):
            self.lets_others_run(work(target, lambda roster: roster.apply(change)))
            self.lets_others_run(work(target, lambda roster: roster.reset(entries)))
        report = Roster(MemberList(str, groups=["here"]), lambda entry: ("here", 1)).apply(change)
        self.lets_others_run(lambda: report.changes)


if __name__ == "__main__":
    unittest.main()
