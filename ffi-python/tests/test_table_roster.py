"""A roster over a table, whose lists follow presence each by its own rules."""

import gc
import io
import random
import unittest
import uuid
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import headcount
from headcount import (
    Clause,
    Client,
    Entry,
    ListSpec,
    ListView,
    Member,
    MemberList,
    MemberTable,
    Roster,
    TopicDiff,
    Tracker,
)
from together import failures_of

ONLINE, IDLE, STAFF = 0, 31, 40
STATUSES = ["online", "idle", "dnd", "invisible"]
PRIORITY = ["invisible", "dnd", "online", "idle"]

_I = TypeVar("_I", int, str, uuid.UUID)


def place(entry: Entry) -> tuple[str, list[int]]:
    return str(entry.key), [ONLINE, IDLE] if entry.status == 1 else [ONLINE]


def ids(view: ListView[Any]) -> list[Any]:
    return [row.id for row in view if isinstance(row, Member)]


def rooms(kind: type[_I], **options: Any) -> tuple[MemberTable[_I], ListView[_I], ListView[_I]]:
    """A table, a list of everyone by their status, and one of those who are online."""
    table = MemberTable(kind, shown=[ONLINE], **options)
    groups = [(Clause(all=[IDLE]), "idle"), (Clause(all=[ONLINE]), "online")]
    everyone = table.add_list(ListSpec("everyone", "offline", groups=groups))
    here = table.add_list(ListSpec("here", "here", admit=[Clause(all=[ONLINE])]))
    return table, everyone, here


class Rosters(unittest.TestCase):
    def setUp(self) -> None:
        self.table, self.everyone, self.here = rooms(str)
        self.t = Tracker("a")

    def roster(self, **options: Any) -> Roster[str]:
        return Roster(self.table, place, status_bits=[ONLINE, IDLE], **options)

    def diff(self) -> TopicDiff:
        return self.t.take_diff()["room"]

    def attrs(self, user: str) -> frozenset[int] | None:
        member = self.table.get(user)
        return member and member.attrs

    def test_many_sessions_are_one_row_in_each_list(self) -> None:
        roster = self.roster()
        self.t.track("room", "ann", "phone", status=1)
        self.t.track("room", "ann", "laptop")
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "offline", "online")])
        self.assertEqual(repr(self.everyone), "<ListView 'everyone' 1 idle=0 online=1 offline=0>")
        self.assertEqual((roster.status("ann"), roster.online_count()), ("online", 1))
        self.t.untrack("room", "ann", "laptop")
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "online", "idle")])
        self.assertEqual(repr(self.everyone), "<ListView 'everyone' 1 idle=1 online=0 offline=0>")
        self.assertEqual((ids(self.here), self.attrs("ann")), (["ann"], {ONLINE, IDLE}))
        self.t.untrack("room", "ann", "phone")
        self.assertEqual(roster.apply(self.diff(), now=1_700_000_000).changes, [("ann", "idle", "offline")])
        self.assertEqual((len(self.table), roster.last_seen("ann")), (0, 1_700_000_000))
        self.assertEqual(repr(roster), "<Roster 0 online=0>")

    def test_rows_stay_where_members_without_a_status_belong(self) -> None:
        roster = self.roster(rows_stay=True)
        self.t.track("room", "ann", "phone", status=1)
        roster.apply(self.diff())
        self.table.set_attrs("ann", set=[STAFF])
        self.t.track("room", "ann", "laptop", status=3)
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "idle", "offline")])
        self.assertEqual((roster.status("ann"), roster.own_status("ann")), ("offline", "invisible"))
        self.assertEqual((self.attrs("ann"), ids(self.here)), ({STAFF}, []))
        self.assertEqual(self.everyone.group_of("ann"), "offline")
        self.t.untrack("room", "ann", "laptop")
        roster.apply(self.diff())
        self.assertEqual((self.attrs("ann"), self.everyone.group_of("ann")), ({ONLINE, IDLE, STAFF}, "idle"))

    def test_rows_of_a_list_may_stay_too(self) -> None:
        ml = MemberList(str, groups=["here"])
        roster = Roster(ml, lambda entry: ("here", entry.key, 1), status_bits=3, rows_stay=True)
        self.t.track("room", "ann", "phone")
        roster.apply(self.diff())
        ml.set_attrs("ann", 0b101)
        self.t.untrack_owner("phone")
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "online", "offline")])
        member = ml.get("ann")
        assert member is not None
        self.assertEqual((member.attrs, roster.list.member_count()), (0b100, 1))

    def test_members_that_are_offline_are_loaded(self) -> None:
        roster = self.roster(rows_stay=True)
        loaded = roster.load_offline((f"user-{i}", i, [STAFF]) for i in [*range(150), 3])
        self.assertEqual((loaded.loaded, loaded.duplicates), (150, [(150, "user-3")]))
        viewer, client = self.everyone.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        self.t.track("room", "user-149", "phone")
        roster.apply(self.diff())
        bundle = viewer.bundle(roster.table.tick(1))
        assert bundle is not None
        client.apply(bundle)
        rows = client.windows["c:0"].rows
        shown = [row.get("id", row.get("group")) for row in rows[:4]]
        self.assertEqual(shown, ["online", "user-149", "offline", "user-0"])
        self.assertEqual((rows[1]["attrs"], self.attrs("user-149")), (1 << ONLINE, {ONLINE, STAFF}))
        with self.assertRaisesRegex(headcount.ListError, "change 0"):
            roster.load_offline([("ann",)])  # type: ignore[list-item]

    def test_a_mapping_that_goes_wrong_refuses_its_entry_and_no_other(self) -> None:
        for user in ("ann", "bob", "cid"):
            self.t.track("room", user, "phone")
        change = self.diff()
        answers: list[tuple[Any, str]] = [
            ((), "a key for each of 2 columns, not 0"),
            (("x",), "a key for each of 2 columns, not 1"),
            (("x", 1, [0], b"", 1), "a key for each of 2 columns, not 5"),
            ("x", "TypeError: a mapping gives a tuple"),
            (["x", 1], "TypeError: a mapping gives a tuple"),
            (("x", None), "TypeError: a sort key"),
            (("x", b"x" * 65), "LimitError"),
            (("x", 1, 1), "TypeError"),
            (("x", 1, [-1]), "OverflowError"),
            (("x", 1, [32]), "LimitError: attribute bits are 0 to 31, not 32"),
            (("x", 1, [512]), "LimitError"),
            (("x", 1, [ONLINE, 1]), "attribute bits 0x3, the roster may write 0x1"),
            (("x", 1, [], b"payload"), "without payloads"),
            (("x", 1, [], 7), "TypeError"),
            (ZeroDivisionError("Oh!"), "ZeroDivisionError: Oh!"),
        ]

        def of(answer: Any) -> Callable[[Entry], Any]:
            def mapping(entry: Entry) -> Any:
                if entry.key != "bob":
                    return entry.key, (1, 2)
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return mapping

        for answer, reason in answers:
            with self.subTest(answer=str(answer)[:60]):
                table = MemberTable(str, key_columns=2)
                broken = Roster(table, of(answer), status_bits=[ONLINE])
                report = broken.apply(change)
                ((id, why),) = report.refused
                self.assertEqual(id, "bob")
                self.assertIn(reason, why)
                self.assertNotIn("bob", table)
                self.assertEqual({"ann", "cid"} - {seen[0] for seen in report.changes}, set())
                self.assertEqual(len(table), 2)

    def test_an_entry_that_is_not_placed_does_not_count(self) -> None:
        roster = Roster(self.table, lambda entry: None if entry.key == "bot" else (1,))
        for user in ("ann", "bot"):
            self.t.track("room", user, "phone")
        report = roster.apply(self.diff())
        self.assertEqual((report.changes, report.refused), ([("ann", "offline", "online")], []))
        self.assertNotIn("bot", self.table)

    def test_a_mapping_may_give_the_payload(self) -> None:
        table, _, here = rooms(str, payloads="json")

        def mapping(entry: Entry) -> Any:
            meta = entry.json()
            return (entry.key, [ONLINE], meta) if meta else (entry.key, [ONLINE])

        roster = Roster(table, mapping, status_bits=[ONLINE], rows_stay=True)
        self.t.track("room", "ann", "phone", {"device": "phone"})
        self.assertEqual(roster.apply(self.diff()).refused, [])
        (frame,) = here.viewer().open("c:0").to_dict()["frames"]
        self.assertEqual(frame["rows"][1]["body"], {"device": "phone"})
        # Without one it stays as it is, and the application may set it.
        self.t.update("room", "ann", "phone")
        roster.apply(self.diff())
        self.assertEqual(table.get("ann").payload, b'{"device":"phone"}')  # type: ignore[union-attr]
        table.set_payload("ann", ["own"])
        self.t.untrack_owner("phone")
        roster.apply(self.diff())
        self.assertEqual(table.get("ann").payload, b'["own"]')  # type: ignore[union-attr]

    def test_options_that_cannot_be(self) -> None:
        make: Any = Roster
        ml = MemberList(str, groups=["here"])
        wrong: list[tuple[type[BaseException], str, Callable[[], object]]] = [
            (ValueError, "group members by their attributes", lambda: make(self.table, place, offline="offline")),
            (ValueError, "not both", lambda: make(ml, place, offline="here", rows_stay=True)),
            (headcount.LimitError, "0 to 31, not 32", lambda: make(self.table, place, status_bits=[32])),
            (TypeError, "", lambda: make(self.table, place, status_bits=1)),
            (TypeError, "", lambda: make(ml, place, status_bits=[1])),
            (TypeError, "a MemberList or a MemberTable, not ListView", lambda: make(self.everyone, place)),
            (TypeError, "a MemberList or a MemberTable, not NoneType", lambda: make(None, place)),
            (ValueError, "", lambda: make(self.table, place, priority=["asleep"])),
        ]
        for number, (error, text, call) in enumerate(wrong):
            with self.subTest(number), self.assertRaisesRegex(error, text):
                call()
        roster = self.roster()
        with self.assertRaisesRegex(ValueError, "has a roster already"):
            self.roster()
        with self.assertRaisesRegex(AttributeError, "over a table"):
            roster.list
        with self.assertRaisesRegex(AttributeError, "over a list"):
            Roster(ml, lambda entry: None).table
        self.assertEqual((hasattr(roster, "list"), hasattr(roster, "table")), (False, True))

    def test_the_table_stays_usable(self) -> None:
        self.table.upsert("old", "Old", attrs=[STAFF])
        roster = self.roster(rows_stay=True)
        self.t.track("room", "ann", "phone")
        roster.apply(self.diff())
        late = roster.table.add_list(ListSpec("late", "all"))
        self.table.build()
        self.assertEqual((ids(late), ids(self.everyone)), (["ann", "old"], ["ann", "old"]))
        self.assertEqual(self.table.snapshot()[late][1].id, "ann")  # type: ignore[union-attr]
        file = io.BytesIO()
        self.table.save(file)
        loaded = MemberTable.load(io.BytesIO(file.getvalue()))
        self.assertEqual((len(loaded), ids(loaded.list_named("here"))), (2, ["ann"]))  # type: ignore[arg-type]
        # The copy has no roster, and may get one.
        again = Roster(loaded, place, status_bits=[ONLINE, IDLE], rows_stay=True)
        self.assertEqual(again.reset(self.t.list("room")).changes, [("ann", "offline", "online")])
        self.table.remove("ann")
        self.t.untrack_owner("phone")
        self.assertEqual(roster.apply(self.diff()).changes, [("ann", "online", "offline")])
        self.assertEqual(ids(late), ["old"])

    def test_a_mapping_may_use_the_table(self) -> None:
        def mapping(entry: Entry) -> tuple[int, list[int]]:
            return len(self.table), [len(self.table.lists()) - 1]

        roster = Roster(self.table, mapping, status_bits=[1])
        self.t.track("room", "ann", "phone")
        self.assertEqual(len(roster.apply(self.diff()).changes), 1)

    def test_keys_that_are_no_ids_are_counted(self) -> None:
        number, key = MemberTable(int), uuid.UUID(int=2**128 - 1)
        self.t.track("room", "ann", "phone")
        self.t.track("room", str(2**64 - 1), "phone")
        self.t.track("room", "-5", "phone")
        self.t.track("room", "-0", "phone")
        self.t.track("room", str(key), "phone")
        change = self.diff()
        applied = Roster(number, lambda entry: (1,)).apply(change)
        here = [(id, "offline", "online") for id in (-5, 2**64 - 1)]
        self.assertEqual((sorted(applied.changes), applied.foreign), (here, 3))
        uuids = Roster(MemberTable(uuid.UUID), lambda entry: (1,)).apply(change)
        self.assertEqual((uuids.changes, uuids.foreign), ([(key, "offline", "online")], 4))

    def test_cycles_are_collected(self) -> None:
        class Owner:
            roster: Roster[str]

            def place(self, entry: Entry) -> tuple[str]:
                return ("x",)

        owner = Owner()
        owner.roster = Roster(MemberTable(str), owner.place)
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        self.assertIsNone(gone())

    def test_threads_that_apply_read_and_write(self) -> None:
        roster = self.roster(rows_stay=True)

        def follow(n: int) -> None:
            self.t.upsert("room", f"user {n % 20}", "phone", status=n % 4)
            if n % 7 == 0:
                self.t.untrack_owner("phone")
            for change in self.t.take_diff().values():
                roster.apply(change)

        works: list[Callable[[int], object]] = [
            follow,
            lambda n: list(self.everyone),
            lambda n: self.table.apply_batch([("set_attrs", f"user {n % 20}", [], [STAFF]), ("upsert", f"{n}", n)]),
            lambda n: roster.load_offline([(f"user {n % 30}", n)]),
            lambda n: (repr(roster), self.table.tick(n)),
        ]
        self.assertEqual(failures_of(works, 200), [])
        self.assertEqual(len(ids(self.here)), roster.online_count())


class Model(unittest.TestCase):
    """What the table shows is what a look at all entries says."""

    def check(self, kind: type[_I], users: list[_I], *, rows_stay: bool) -> None:
        rng = random.Random(7)
        table, everyone, here = rooms(kind, key_columns=2)
        t = Tracker("a")
        name = {str(user): f"shared prefix {rng.random():.2}" for user in users}

        def mapping(entry: Entry) -> Any:
            bits = [ONLINE, IDLE] if entry.status == 1 else [ONLINE]
            return 1, name[str(entry.key)], bits

        table.apply_batch(("upsert", user, 0, "x", [STAFF]) for user in users[::3])
        roster = Roster(table, mapping, status_bits=[ONLINE, IDLE], rows_stay=rows_stay)
        members, seen = set(users[::3]), dict.fromkeys(users, "offline")
        for step in range(150):
            for _ in range(rng.randrange(8)):
                key, owner = str(rng.choice(users)), f"conn {rng.randrange(3)}"
                if rng.random() < 0.8:
                    t.upsert("room", key, owner, status=rng.randrange(4))
                else:
                    t.untrack_owner(owner)
            statuses: dict[str, list[str]] = {}
            for entry in t.list("room"):
                statuses.setdefault(str(entry.key), []).append(STATUSES[entry.status])
            own = {user: min(statuses.get(str(user), ["offline"]), key=[*PRIORITY, "offline"].index) for user in users}
            now = {user: "offline" if status == "invisible" else status for user, status in own.items()}
            for change in t.take_diff().values():
                changes = roster.apply(change).changes if step % 5 else roster.reset(t.list("room")).changes
                moved = {(user, seen[user], now[user]) for user in users if seen[user] != now[user]}
                self.assertEqual({c for c in changes if c[1] != c[2]}, moved)
            if not rows_stay:
                members -= {user for user in users if seen[user] != "offline" == now[user]}
            members |= {user for user in users if now[user] != "offline"}
            seen = now
            online = {user for user in users if now[user] != "offline"}
            self.assertEqual(set(ids(here)), online)
            self.assertEqual((roster.online_count(), set(ids(everyone))), (len(online), members))
            for user in users:
                self.assertEqual((roster.status(user), roster.own_status(user)), (now[user], own[user]))
                group = {"idle": "idle", "offline": "offline"}.get(now[user], "online")
                self.assertEqual(everyone.group_of(user), group if user in members else None)

    def test_numbers(self) -> None:
        for rows_stay in (True, False):
            self.check(int, [*range(-10, 10), 2**64 - 1, -(2**63)], rows_stay=rows_stay)

    def test_uuids(self) -> None:
        rng = random.Random(1)
        self.check(uuid.UUID, [uuid.UUID(int=rng.getrandbits(128)) for _ in range(20)], rows_stay=True)

    def test_texts(self) -> None:
        odd = ["é", "日本", "z" * 64, "z" * 63 + "a", "\U0010ffff", "a", "aa"]
        self.check(str, [*odd, *(f"a long id that many share {n}" for n in range(10))], rows_stay=False)


if __name__ == "__main__":
    unittest.main()
