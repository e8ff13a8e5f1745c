import gc
import unittest
import weakref
from collections.abc import Callable
from typing import Any, Literal

import headcount
from headcount import Entry, MemberList, Roster, TopicDiff, Tracker


def place(entry: Entry) -> tuple[str, str, int]:
    return ("away" if entry.status == 1 else "here", str(entry.key), entry.status)


def interrupted(entry: Entry) -> tuple[str, str]:
    raise KeyboardInterrupt


class Rosters(unittest.TestCase):
    def setUp(self) -> None:
        self.ml = MemberList(str, groups=["here", "away", "offline"])
        self.t = Tracker("a")

    def roster(self, **options: Any) -> Roster[str]:
        return Roster(self.ml, place, status_bits=3, **options)

    def attrs(self, user: str) -> int | None:
        member = self.ml.get(user)
        return member and member.attrs

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

    def test_times_of_others_are_noted(self) -> None:
        roster = self.roster(offline="offline")
        roster.note_last_seen("ann", 50)
        roster.note_last_seen("ann", 40.5)
        self.assertEqual((roster.last_seen("ann"), roster.is_visible("ann")), (50, False))
        self.t.track("room", "ann", "phone")
        roster.apply(self.diff(), now=60)
        roster.note_last_seen("ann", 70)
        self.assertEqual((roster.last_seen("ann"), roster.is_visible("ann")), (None, True))
        self.t.update("room", "ann", "phone", status=3)
        roster.apply(self.diff(), now=80)
        self.assertEqual((roster.last_seen("ann"), roster.is_visible("ann")), (80, False))
        with self.assertRaises(ValueError):
            roster.note_last_seen("ann", -1)

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

    def test_a_mapping_that_goes_wrong_refuses_its_entry_and_no_other(self) -> None:
        for user in ("ann", "bob", "cid"):
            self.t.track("room", user, "phone")
        good = self.diff()
        answers: list[tuple[Any, str]] = [
            (("nowhere", "x"), "nowhere"),
            (("here",), "TypeError"),
            (["here", "x"], "TypeError"),
            (("here", None), "TypeError"),
            (("here", "x", -1), "OverflowError"),
            (("here", "x", 3), "attribute bits 0x3"),
            (("here", b"x" * 65), "LimitError"),
            (ZeroDivisionError("Oh!"), "ZeroDivisionError: Oh!"),
        ]

        def of(answer: Any) -> Callable[[Entry], Any]:
            def mapping(entry: Entry) -> Any:
                if entry.key != "bob":
                    return "here", entry.key
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return mapping

        for answer, reason in answers:
            ml = MemberList(str, groups=["here"])
            broken = Roster(ml, of(answer), status_bits=1)
            report = broken.apply(good)
            ((id, why),) = report.refused
            self.assertEqual(id, "bob")
            self.assertIn(reason, why)
            self.assertEqual(sorted(change[0] for change in report.changes), ["ann", "cid"])
            self.assertEqual((len(ml), broken.online_count(), broken.status("bob")), (3, 2, "offline"))
        stopped = Roster(MemberList(str, groups=["here"]), interrupted)
        with self.assertRaises(KeyboardInterrupt):
            stopped.apply(good)
        self.assertEqual(stopped.online_count(), 0)

    def test_an_entry_that_is_not_placed_does_not_count(self) -> None:
        roster = Roster(self.ml, lambda entry: None if entry.key == "bot" else ("here", 1))
        for user in ("ann", "bot"):
            self.t.track("room", user, "phone")
        report = roster.apply(self.diff())
        self.assertEqual((report.changes, report.refused), ([("ann", "offline", "online")], []))
        self.assertNotIn("bot", self.ml)

    def test_the_attribute_bits_of_others_stay(self) -> None:
        roster = self.roster(offline="offline")
        self.t.track("room", "ann", "phone", status=1)
        roster.apply(self.diff())
        self.ml.set_attrs("ann", 0b1001)
        self.t.update("room", "ann", "phone", status=2)
        roster.apply(self.diff())
        self.assertEqual(self.attrs("ann"), 0b1010)
        self.t.untrack("room", "ann", "phone")
        roster.apply(self.diff())
        self.assertEqual(self.attrs("ann"), 0b1000)

    def test_a_mapping_may_give_the_payload(self) -> None:
        ml = MemberList(str, groups=["here", "offline"], payloads="json")

        def mapping(entry: Entry) -> Any:
            meta = entry.json()
            return ("here", entry.key, 0, meta) if meta else ("here", entry.key)

        roster = Roster(ml, mapping, offline="offline")
        self.t.track("room", "ann", "phone", {"device": "phone"})
        report = roster.apply(self.diff())
        self.assertEqual((report.changes, report.refused), ([("ann", "offline", "online")], []))
        self.assertEqual(self.payload(ml), b'{"device":"phone"}')
        (frame,) = ml.viewer().open("c:0").to_dict()["frames"]
        self.assertEqual(frame["rows"][1]["body"], {"device": "phone"})
        self.t.update("room", "ann", "phone", {"device": "laptop"})
        roster.apply(self.diff())
        self.assertEqual(self.payload(ml), b'{"device":"laptop"}')
        # Without one it stays as it is, and the application may set it.
        self.t.update("room", "ann", "phone")
        roster.apply(self.diff())
        self.assertEqual(self.payload(ml), b'{"device":"laptop"}')
        ml.set_payload("ann", ["own"])
        self.t.untrack_owner("phone")
        roster.apply(self.diff())
        self.assertEqual(self.payload(ml), b'["own"]')

    def test_payloads_are_those_that_the_list_takes(self) -> None:
        self.t.track("room", "ann", "phone")
        diff = self.diff()
        kinds: list[tuple[Literal["json", "raw"] | None, Any, str]] = [
            ("raw", b"\0\1", ""),
            ("json", None, ""),
            ("json", b"[1]", ""),
            ("json", b"no json", "not JSON"),
            ("json", object(), "TypeError"),
            ("raw", {"a": 1}, "TypeError"),
            ("raw", None, "TypeError"),
            ("raw", b"x" * (1 << 17), "payload"),
            (None, b"x", "payload"),
        ]
        for payloads, payload, why in kinds:
            with self.subTest(payload=payload, payloads=payloads):
                ml = MemberList(str, groups=["here"], payloads=payloads)
                report = Roster(ml, lambda entry: ("here", "x", 0, payload)).apply(diff)
                if why:
                    ((id, reason),) = report.refused
                    self.assertEqual(id, "ann")
                    self.assertIn(why, reason)
                else:
                    self.assertEqual(report.refused, [])
                    expected = b"null" if payload is None else payload
                    self.assertEqual(self.payload(ml), expected)

    def payload(self, ml: MemberList[str]) -> bytes:
        member = ml.get("ann")
        assert member is not None
        return member.payload

    def test_a_reset_begins_with_a_list_and_makes_up_for_missed_changes(self) -> None:
        for user in ("ann", "bob", "cid"):
            self.t.track("room", user, "phone")
        self.t.take_diff()
        roster = self.roster(offline="offline")
        report = roster.reset(self.t.list("room"))
        self.assertEqual(sorted(c[0] for c in report.changes), ["ann", "bob", "cid"])
        self.t.untrack("room", "ann", "phone")
        self.t.track("room", "bob", "laptop", status=2)
        self.t.update("room", "cid", "phone", status=1)
        self.t.track("room", "dee", "phone")
        self.t.take_diff()
        report = roster.reset(self.t.list("room"), now=1_700_000_000)
        changes = [("ann", "online", "offline"), ("bob", "online", "dnd")]
        changes += [("cid", "online", "idle"), ("dee", "offline", "online")]
        self.assertEqual(sorted(report.changes), changes)
        self.assertEqual(repr(self.ml), "<MemberList 4 here=2 away=1 offline=1>")
        self.assertEqual(roster.last_seen("ann"), 1_700_000_000)
        self.assertEqual(roster.reset(self.t.list("room")).changes, [])
        self.t.untrack_owner("phone")
        self.assertEqual(len(roster.apply(self.diff()).changes), 2)
        self.assertEqual((roster.online_count(), roster.status("bob")), (1, "dnd"))
        with self.assertRaises(TypeError):
            roster.reset([1])  # type: ignore[list-item]
        self.assertEqual(roster.online_count(), 1)

    def test_options_that_cannot_be(self) -> None:
        self.roster()
        with self.assertRaises(ValueError):
            Roster(self.ml, place)
        with self.assertRaises(headcount.UnknownGroup):
            Roster(MemberList(str), place, offline="nowhere")
        with self.assertRaises(ValueError):
            Roster(MemberList(str), place, priority=["asleep"])  # type: ignore[list-item]
        with self.assertRaises(OverflowError):
            Roster(MemberList(str), place, status_bits=1 << 32)

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
