import gc
import unittest
import weakref
from collections.abc import Callable
from typing import Any

import headcount
from headcount import Entry, MemberList, Roster, TopicDiff, Tracker


def place(entry: Entry) -> tuple[str, str, int]:
    return ("away" if entry.status == 1 else "here", str(entry.key), entry.status)


def always(answer: Any) -> Callable[[Entry], Any]:
    return lambda entry: answer


class Rosters(unittest.TestCase):
    def setUp(self) -> None:
        self.ml = MemberList(str, groups=["here", "away", "offline"])
        self.t = Tracker("a")

    def roster(self, **options: Any) -> Roster[str]:
        return Roster(self.ml, place, **options)

    def diff(self) -> TopicDiff:
        return self.t.take_diff()["room"]

    def test_many_sessions_are_one_row(self) -> None:
        roster = self.roster(offline="offline")
        self.t.track("room", "ann", "phone", status=1)
        self.t.track("room", "ann", "laptop")
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "offline", "online")])
        self.assertEqual(repr(self.ml), "<MemberList 1 here=1 away=0 offline=0>")
        self.assertEqual((roster.status("ann"), roster.online_count()), ("online", 1))
        self.t.untrack("room", "ann", "laptop")
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "online", "idle")])
        self.t.untrack("room", "ann", "phone")
        applied = roster.apply(self.diff(), now=1_700_000_000)
        self.assertEqual(applied.changes, [("ann", "idle", "offline")])
        self.assertEqual(repr(roster.list), "<MemberList 1 here=0 away=0 offline=1>")
        self.assertEqual(roster.last_seen("ann"), 1_700_000_000)
        self.assertEqual(repr(roster), "<Roster 1 online=0>")

    def test_invisible_on_one_session_is_offline_for_others(self) -> None:
        roster = self.roster()
        self.t.track("room", "ann", "phone")
        roster.apply(self.diff())
        self.t.track("room", "ann", "laptop", status=3)
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "online", "offline")])
        self.assertEqual((roster.status("ann"), roster.own_status("ann")), ("offline", "invisible"))
        self.assertNotIn("ann", self.ml)

    def test_the_priority_is_an_option(self) -> None:
        roster = self.roster(priority=["idle", "online"])
        self.t.track("room", "ann", "phone", status=1)
        self.t.track("room", "ann", "laptop")
        roster.apply(self.diff())
        self.assertEqual(roster.status("ann"), "idle")

    def test_windows_show_the_roster(self) -> None:
        roster = self.roster(offline="offline")
        loaded = roster.load_offline((f"user-{i}", "offline", i) for i in range(150))
        self.assertEqual(loaded.loaded, 150)
        viewer = self.ml.viewer()
        viewer.open("c:0")
        self.t.track("room", "user-149", "phone")
        roster.apply(self.diff())
        bundle = viewer.bundle(self.ml.tick(1))
        assert bundle is not None
        (frame,) = bundle.to_dict()["frames"]
        self.assertEqual([insert["index"] for insert in frame["inserts"]][:2], [0, 1])

    def test_what_goes_wrong_changes_nothing(self) -> None:
        roster = self.roster()
        self.t.track("room", "ann", "phone")
        good = self.diff()
        answers: list[tuple[Any, type[Exception]]] = [
            (("nowhere", "x"), headcount.UnknownGroup),
            (("here",), TypeError),
            (["here", "x"], TypeError),
            (("here", None), TypeError),
            (("here", "x", -1), OverflowError),
            (("here", b"x" * 65), headcount.LimitError),
        ]
        for answer, error in answers:
            ml = MemberList(str, groups=["here"])
            broken = Roster(ml, always(answer))
            with self.assertRaises(error):
                broken.apply(good)
            self.assertEqual((len(ml), broken.online_count()), (0, 0))

        def fail(entry: Entry) -> tuple[str, str]:
            raise ZeroDivisionError

        other = Roster(MemberList(str, groups=["here"]), fail)
        with self.assertRaises(ZeroDivisionError):
            other.apply(good)
        with self.assertRaises(ValueError):
            Roster(self.ml, place)
        self.assertEqual(len(roster.apply(good).changes), 1)
        with self.assertRaises(headcount.UnknownGroup):
            Roster(MemberList(str), place, offline="nowhere")
        with self.assertRaises(ValueError):
            Roster(MemberList(str), place, priority=["asleep"])  # type: ignore[list-item]

    def test_a_mapping_may_read_the_list(self) -> None:
        roster = Roster(self.ml, lambda entry: ("here", len(self.ml)))
        self.t.track("room", "ann", "phone")
        self.assertEqual(len(roster.apply(self.diff()).changes), 1)

    def test_keys_that_are_no_ids_are_counted(self) -> None:
        roster = Roster(MemberList(int, groups=["here"]), lambda entry: ("here", 1))
        self.t.track("room", "ann", "phone")
        self.t.track("room", "7", "phone")
        applied = roster.apply(self.diff())
        self.assertEqual((applied.changes, applied.foreign), ([(7, "offline", "online")], 1))

    def test_cycles_are_collected(self) -> None:
        class Owner:
            roster: Roster[str]

            def place(self, entry: Entry) -> tuple[str, str]:
                return "here", "x"

        owner = Owner()
        owner.roster = Roster(MemberList(str, groups=["here"]), owner.place)
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        self.assertIsNone(gone())


if __name__ == "__main__":
    unittest.main()
