import dataclasses
import random
import sys
import threading
import time
import unittest
import uuid
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import headcount
from headcount import Clause, Client, ListSpec, ListView, Member, MemberTable
from together import failures_of

ONLINE, STAFF, MUTED, AGE = 0, 40, 511, 1

_I = TypeVar("_I", int, str, uuid.UUID)


def ids(view: ListView[Any]) -> list[Any]:
    return [row.id for row in view if isinstance(row, Member)]


def chat() -> tuple[MemberTable[int], ListView[int], ListView[int]]:
    """Everyone, and the staff."""
    table = MemberTable(int, key_columns=2, shown=[ONLINE])
    for id, name in enumerate(["Dora", "ann", "Cid", "bob"]):
        table.upsert(id, name, -id, attrs=[STAFF] if id % 2 else [])
    groups = [(Clause(all=[ONLINE]), "online")]
    everyone = table.add_list(ListSpec("everyone", "offline", groups=groups))
    staff = table.add_list(ListSpec("staff", "staff", sort_by=AGE, admit=[Clause(all=[STAFF])]))
    table.build()
    return table, everyone, staff


class Lists(unittest.TestCase):
    def test_a_list_shows_the_members_it_admits(self) -> None:
        table, everyone, staff = chat()
        self.assertEqual((ids(everyone), ids(staff)), ([1, 3, 2, 0], [3, 1]))
        self.assertEqual((len(table), len(everyone), staff.member_count()), (4, 5, 2))
        self.assertEqual((staff.index(3), staff.index_of(0), 0 in staff, 0 in table), (1, None, False, True))
        self.assertEqual(staff[-1], staff[2])
        self.assertEqual(staff[::-1], list(reversed(staff)))
        self.assertEqual((staff.group_of(3), staff.group_of(0)), ("staff", None))
        self.assertEqual(everyone.find_prefix("c"), [("offline", 3)])
        self.assertEqual(everyone.search_prefix("c"), [("offline", 1, 3)])
        self.assertEqual(repr(staff), "<ListView 'staff' 2 staff=2>")
        self.assertEqual(repr(table), "<MemberTable 4 lists=2>")
        with self.assertRaises(headcount.UnknownMember):
            staff.index(0)
        for absent in (4, "0", None, -1):
            self.assertNotIn(absent, staff)

    def test_many_rows_of_a_list_are_those_of_single_calls(self) -> None:
        table, everyone, staff = chat()
        everyone.set_group_hidden("offline")
        table.set_attrs(2, set=[ONLINE])
        some = [*range(70), 3, 3]
        for view in (everyone, staff):
            rows = [view.index_of(id) for id in some]
            self.assertEqual(view.index_of_many(some), rows)
            found = [None if row is None else (row, view[row]) for row in rows]
            self.assertEqual(view.rows_of(some), found)
        table.remove_list(staff)
        with self.assertRaises(headcount.UnknownList):
            staff.index_of_many(some)
        with self.assertRaises(headcount.UnknownList):
            staff.rows_of(some)

    def test_writes_say_where_a_member_has_moved(self) -> None:
        table, everyone, staff = chat()
        moved = table.set_attrs(3, set=[ONLINE])
        self.assertEqual([(m.list, m.old_index, m.index) for m in moved], [(everyone, 2, 1)])
        moved = table.set_attrs(3, clear=[STAFF])
        self.assertEqual([(m.list, m.old_index, m.index) for m in moved], [(staff, 1, None)])
        self.assertEqual(table.set_key(1, AGE, -100), [])  # It is alone in the list of this key.
        upsert = table.upsert(9, "Eve", 0, attrs=[STAFF])
        self.assertEqual((upsert.is_new, len(upsert.moves)), (True, 2))
        self.assertEqual(table.upsert(9, "Eve", 0, attrs=[STAFF]).moves, [])
        removed = table.remove(9)
        assert removed is not None
        self.assertEqual({m.list for m in removed}, {everyone, staff})
        self.assertIsNone(table.remove(9))

    def test_a_member_knows_its_attributes(self) -> None:
        table, _, _ = chat()
        table.set_attrs(1, set=[MUTED, ONLINE])
        member = table.get(1)
        assert member is not None
        self.assertEqual(member.attrs, {ONLINE, STAFF, MUTED})
        self.assertEqual((member.id, member.keys[0], len(member.keys), member.revision), (1, b"ann", 2, 1))
        table.set_attrs(1, clear=[MUTED])
        self.assertEqual(table.get(1).revision, 1)  # type: ignore[union-attr]
        self.assertIsNone(table.get(77))
        self.assertEqual(table.attr_sets(), 3)

    def test_many_members_change_at_once(self) -> None:
        table, everyone, staff = chat()
        self.assertEqual(table.set_attrs_many([0, 1, 1, 77], set=[ONLINE, STAFF]), 2)
        self.assertEqual([(g.name, g.count) for g in everyone.groups()], [("online", 2), ("offline", 2)])
        self.assertEqual(ids(staff), [3, 1, 0])

    def test_lists_are_built_in_steps(self) -> None:
        table, _, _ = chat()
        spec = ListSpec[int]("late", "all", sort_by=AGE, descending=True, headers=False)
        late = table.add_list(spec)
        self.assertEqual((table.is_built(late), repr(late)), (False, "<ListView 'late' building>"))
        for read in (lambda: len(late), lambda: late[0], lambda: 1 in late, late.snapshot, late.groups):
            with self.assertRaises(headcount.ListBuilding):
                read()
        with self.assertRaises(headcount.ListBuilding):
            late.viewer().open("c:0")
        self.assertEqual((table.build(0), table.build(3)), (4, 1))
        self.assertNotIn(late, table.snapshot())
        self.assertEqual(table.build(), 0)
        self.assertEqual(ids(late), [0, 1, 2, 3])
        self.assertIn(late, table.snapshot())

    def test_lists_are_counted_by_their_specs(self) -> None:
        table, everyone, staff = chat()
        spec = ListSpec[int]("staff", "staff", sort_by=AGE, admit=[Clause(all=[STAFF])])
        again = table.add_list(spec)
        self.assertEqual((again, hash(again), again is staff), (staff, hash(staff), False))
        with self.assertRaises(headcount.ListError) as caught:
            table.set_spec(staff, ListSpec("other", "staff"))
        self.assertEqual(caught.exception.kind, "list_shared")
        self.assertEqual((table.remove_list(staff), table.remove_list(again)), (False, True))
        self.assertEqual(table.lists(), [everyone])
        self.assertEqual((table.list_named("staff"), table.list_named("everyone")), (None, everyone))
        after = table.add_list(spec)
        self.assertNotEqual(after, staff)
        for gone in (lambda: len(staff), lambda: staff.name, lambda: table.remove_list(staff)):
            with self.assertRaises(headcount.UnknownList):
                gone()
        self.assertEqual(repr(staff), "<ListView removed>")

    def test_another_spec_takes_the_place_of_a_list(self) -> None:
        table, everyone, staff = chat()
        by_name = ListSpec[int]("staff", "staff", admit=[Clause(all=[STAFF])], never=[1], always=[0])
        table.set_spec(staff, by_name)
        self.assertEqual(ids(staff), [3, 1])
        with self.assertRaises(headcount.ListBuilding):
            table.set_spec(staff, by_name)
        table.build()
        self.assertEqual(ids(staff), [3, 0])
        table.revoke(staff, ListSpec("nobody", "staff", admit=[]))
        self.assertEqual((ids(staff), table.build(), ids(staff), staff.name), ([], 0, [], "nobody"))
        self.assertEqual(len(ids(everyone)), 4)

    def test_groups_are_hidden_and_collapsed(self) -> None:
        _, everyone, staff = chat()
        everyone.set_group_collapsed("offline")
        self.assertEqual((len(everyone), everyone.index_of(1), len(staff)), (1, None, 3))
        with self.assertRaises(headcount.HiddenMember):
            everyone.index(1)
        everyone.set_group_hidden("offline")
        self.assertEqual(len(everyone), 0)
        everyone.set_group_hidden("offline", False)
        everyone.set_group_collapsed("offline", False)
        self.assertEqual(len(everyone), 5)
        with self.assertRaises(headcount.UnknownGroup):
            everyone.set_group_hidden("nobody")

    def test_a_snapshot_is_of_one_moment(self) -> None:
        table, everyone, staff = chat()
        before = table.snapshot()
        table.remove(1)
        self.assertEqual([len(before[everyone]), len(before[staff])], [5, 3])
        self.assertEqual([len(table.snapshot()[view]) for view in (everyone, staff)], [4, 2])

    def test_specs_are_values(self) -> None:
        clause = Clause(all=range(3), any={7}, none=(9,))
        spec = ListSpec[int]("a", "b", admit=[clause], always=[1], never=iter([2]), groups=[(clause, "g")])
        same = ListSpec[int]("a", "b", admit=iter([clause]), always={1}, never=[2], groups=[(clause, "g")])
        self.assertEqual(spec, same)
        self.assertNotEqual(spec, ListSpec("a", "b"))
        self.assertEqual((spec.name, spec.default_group, spec.sort_by, spec.headers), ("a", "b", 0, True))
        self.assertEqual((spec.admit, spec.always, spec.never, spec.groups), ([clause], [1], [2], [(clause, "g")]))
        self.assertEqual((clause.all, clause.any, clause.none), ({0, 1, 2}, {7}, {9}))
        self.assertTrue(clause.holds([0, 1, 2, 7]) and not clause.holds([0, 1, 2, 7, 9]))
        self.assertEqual({clause, Clause(all=[0, 1, 2], any=[7], none=[9])}, {clause})


class Viewers(unittest.TestCase):
    def test_a_viewer_sees_one_list_and_switches_to_another(self) -> None:
        table, everyone, staff = chat()
        viewer, client = staff.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))

        def shown() -> list[str]:
            return [row["id"] for row in client.windows["c:0"].rows if "id" in row]

        self.assertEqual(shown(), ["3", "1"])
        table.set_attrs(0, set=[STAFF])
        tick = table.tick(0.25)
        self.assertTrue(tick)
        bundle = viewer.bundle(tick)
        assert bundle is not None
        client.apply(bundle.to_json())
        self.assertEqual(shown(), ["3", "1", "0"])
        self.assertFalse(table.tick(0.5))

        request = client.switch(["c:0"])
        client.apply(viewer.switch(everyone, ["c:0"]), request)
        self.assertEqual(shown(), ["1", "3", "2", "0"])
        table.set_attrs(1, clear=[STAFF])
        self.assertIsNone(viewer.bundle(table.tick(0.75)))
        table.set_attrs(1, set=[ONLINE])
        bundle = viewer.bundle(table.tick(1.0))
        assert bundle is not None
        client.apply(bundle)
        self.assertEqual(client.windows["c:0"].rows[1]["attrs"], 1)

        other, others, _ = chat()
        with self.assertRaises(ValueError):
            viewer.bundle(other.tick(1.25))
        with self.assertRaises(headcount.UnknownList):
            table.remove_list(others)
        table.remove_list(staff)
        with self.assertRaises(headcount.UnknownList):
            viewer.switch(staff, ["c:0"])
        self.assertEqual(viewer.windows(), ["c:0"])
        texts = MemberTable()
        with self.assertRaises(TypeError):
            viewer.switch(texts.add_list(ListSpec("a", "b")))

    def test_a_permission_that_is_taken_away_empties_the_windows(self) -> None:
        table, _, staff = chat()
        viewer, client = staff.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        table.revoke(staff, ListSpec("staff", "staff", admit=[Clause(all=[MUTED])]))
        bundle = viewer.bundle(table.tick(0.25))
        assert bundle is not None
        client.apply(bundle)
        self.assertEqual(client.windows["c:0"].rows, [])
        table.build()
        table.set_attrs(2, set=[MUTED])
        bundle = viewer.bundle(table.tick(0.5))
        assert bundle is not None
        client.apply(bundle)
        self.assertEqual([row.get("id") for row in client.windows["c:0"].rows], [None, "2"])

    def test_bodies_are_the_payloads(self) -> None:
        table = MemberTable(payloads="json")
        table.upsert("é", "Zoé")
        view = table.add_list(ListSpec("all", "members"))
        table.build()
        table.set_payload("é", {"name": "Zoé"})
        viewer = view.viewer()
        rows = viewer.open("c:0").to_dict()["frames"][0]["rows"]
        self.assertEqual(rows[1]["body"], {"name": "Zoé"})
        table.touch("é")
        self.assertIsNotNone(viewer.bundle(table.tick(0.25)))
        with self.assertRaises(headcount.ListError):
            MemberTable().set_payload("é", b"x")
        with self.assertRaises(headcount.UnknownMember):
            table.touch("e")


class Refused(unittest.TestCase):
    def test_a_refused_call_changes_nothing(self) -> None:
        table, everyone, staff = chat()
        before = list(everyone), list(staff), [table.get(id) for id in range(4)]
        split = ListSpec[int]("x", "x", always=range(4_000), never=range(4_000, 5_000))
        calls: list[tuple[type[BaseException], Callable[[], object]]] = [
            (headcount.LimitError, lambda: MemberTable(key_columns=0)),
            (headcount.LimitError, lambda: MemberTable(key_columns=5)),
            (headcount.LimitError, lambda: MemberTable(shown=[32])),
            (headcount.ListError, lambda: table.upsert(0, "one key")),
            (headcount.ListError, lambda: table.upsert(0, "three", 3, "keys")),
            (headcount.LimitError, lambda: table.upsert(0, "a", 1, attrs=[512])),
            (OverflowError, lambda: table.upsert(0, "a", 1, attrs=[-1])),
            (headcount.LimitError, lambda: table.upsert(0, "a", 1, attrs=[1] * 600)),
            (TypeError, lambda: table.upsert(0, "a", 1, attrs="1")),  # type: ignore[arg-type]
            (TypeError, lambda: table.upsert("0", "a", 1)),  # type: ignore[arg-type]
            (headcount.ListError, lambda: table.set_key(0, 2, "a")),
            (headcount.UnknownMember, lambda: table.set_key(77, 0, "a")),
            (headcount.UnknownMember, lambda: table.set_attrs(77, set=[1])),
            (headcount.ListError, lambda: table.add_list(ListSpec("", "x"))),
            (headcount.ListError, lambda: table.add_list(ListSpec("x" * 65, "x"))),
            (headcount.ListError, lambda: table.add_list(ListSpec("x", "a\n"))),
            (headcount.ListError, lambda: table.add_list(ListSpec("staff", "other"))),
            (headcount.ListError, lambda: table.add_list(ListSpec("x", "x", sort_by=2))),
            (headcount.LimitError, lambda: ListSpec("x", "x", admit=[Clause()] * 17)),
            (headcount.LimitError, lambda: ListSpec("x", "x", always=range(4_097))),
            (headcount.LimitError, lambda: table.add_list(split)),
            (headcount.ListError, lambda: table.add_list(ListSpec("x", "x", always=[1], never=[1]))),
            (TypeError, lambda: table.add_list(ListSpec("x", "x", always=["1"]))),  # type: ignore[list-item]
            (TypeError, lambda: ListSpec("x", "x", admit=["1"])),  # type: ignore[list-item]
            (TypeError, lambda: ListSpec("x", "x", always=[None])),  # type: ignore[type-var]
            (headcount.LimitError, lambda: Clause(all=[512])),
        ]
        for number, (error, call) in enumerate(calls):
            with self.subTest(number), self.assertRaises(error):
                call()
        self.assertEqual((list(everyone), list(staff), [table.get(id) for id in range(4)]), before)
        self.assertEqual(len(table.lists()), 2)

    def test_a_table_has_a_limit_of_lists(self) -> None:
        table = MemberTable(int)
        views = [table.add_list(ListSpec(f"list {n}", "g")) for n in range(512)]
        with self.assertRaises(headcount.LimitError) as caught:
            table.add_list(ListSpec("one more", "g"))
        self.assertEqual(caught.exception.limit, 512)
        table.upsert(1, "a")
        self.assertTrue(all(1 in view for view in views))


class Threads(unittest.TestCase):
    def test_long_work_releases_the_interpreter(self) -> None:
        table = MemberTable(int)
        for id in range(30_000):
            table.upsert(id, id * 7919 % 30_000)
        view = table.add_list(ListSpec("all", "g", groups=[(Clause(all=[1]), "one")]))
        turns, end = [0], threading.Event()

        def turn() -> None:
            while not end.is_set():
                turns[0] += 1
                time.sleep(0)

        # Only a release lets the other thread run, though it may miss a short one.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        thread = threading.Thread(target=turn)
        thread.start()
        # A thread that a failure leaves behind would keep the process from ending.
        self.addCleanup(thread.join)
        self.addCleanup(end.set)
        sys.setswitchinterval(1_000)
        works: list[Callable[[], object]] = [
            table.build,
            lambda: table.set_attrs_many(range(30_000), set=[1]),
            lambda: table.set_attrs_many(range(30_000), clear=[1]),
            lambda: view[:],
            lambda: table.tick(0),
            # So few that no reading of them releases it.
            lambda: table.apply_batch([("set_key", n, 0, turns[0]) for n in range(1_000)]),
            lambda: table.bulk_load([(turns[0] * 1_000 + n, 7) for n in range(1_000)]),
        ]
        for number, work in enumerate(works):
            before, tries_end = turns[0], time.monotonic() + 60
            # A busy machine may let the other thread run only now and then, and never without a
            # release.
            while turns[0] == before and time.monotonic() < tries_end:
                work()
            with self.subTest(number):
                self.assertGreater(turns[0], before)

    def test_writers_readers_and_builders(self) -> None:
        table = MemberTable(int)

        def build(n: int) -> None:
            view = table.add_list(ListSpec(f"list {n}", "g", admit=[Clause(all=[n % 8])]))
            table.build(50)
            table.build()
            rows = view.snapshot()
            self.assertEqual(len(list(rows)), len(rows))
            table.remove_list(view)

        all_view = table.add_list(ListSpec("all", "g"))
        viewer = all_view.viewer()
        viewer.open("c:0")
        works: list[Callable[[int], object]] = [
            lambda n: table.upsert(n % 50, n, attrs=[n % 8]),
            lambda n: table.remove(n % 50),
            build,
            lambda n: list(all_view),
            lambda n: viewer.bundle(table.tick(n)),
        ]
        self.assertEqual(failures_of(works, 200), [])


KEYS: list[str | int | bytes | tuple[int, int]] = [
    "", "a", "A", "ä", "Ä", "aa", "a\0", "ß", "ẞ", "日本", "\U0010ffff", "x" * 63, "x" * 64, "x" * 65,
    "x" * 63 + "é", "shared prefix of names 1", "shared prefix of names 2", "Shared Prefix", b"", b"\0",
    b"\xff" * 64, b"x" * 63 + b"\xff", 0, -1, 2**63 - 1, -(2**63), (0, 0), (-1, 5),
]  # fmt: skip


@dataclasses.dataclass
class Kept(Generic[_I]):
    keys: list[bytes]
    attrs: set[int]


class Copy(Generic[_I]):
    """A plain copy of a table: lists are filtered and sorted when they are compared."""

    def __init__(self, kind: type[_I], ids: list[_I], seed: int) -> None:
        self.rng = random.Random(seed)
        self.ids: list[_I] = ids
        self.table: MemberTable[_I] = MemberTable(kind, key_columns=2)
        self.members: dict[_I, Kept[_I]] = {}
        self.lists: dict[ListView[_I], ListSpec[_I]] = {}

    def bits(self) -> list[int]:
        return self.rng.sample([0, 1, 2, 63, 64, 511], self.rng.randrange(4))

    def clause(self) -> Clause:
        rng = self.rng
        return Clause(all=self.bits()[:1], any=self.bits() if rng.random() < 0.5 else [], none=self.bits()[:1])

    def spec(self, name: str) -> ListSpec[_I]:
        rng = self.rng
        personal = rng.sample(self.ids, 6)
        return ListSpec(
            name,
            rng.choice(["rest", "one"]),
            sort_by=rng.randrange(2),
            descending=rng.random() < 0.3,
            headers=rng.random() < 0.7,
            admit=[self.clause() for _ in range(rng.randrange(3))] if rng.random() < 0.7 else None,
            always=personal[:3],
            never=personal[3:],
            groups=[(self.clause(), rng.choice(["one", "two", "three"])) for _ in range(rng.randrange(4))],
        )

    def upsert(self, id: _I) -> None:
        first, second = self.rng.choices(KEYS, k=2)
        attrs = self.bits()
        self.assert_equal(self.table.upsert(id, first, second, attrs=attrs).is_new, id not in self.members)
        member = self.table.get(id)
        assert member is not None
        self.members[id] = Kept(member.keys, set(attrs))

    def change(self) -> None:
        rng, table = self.rng, self.table
        id, bits = rng.choice(self.ids), self.bits()
        match rng.randrange(10):
            case 0 | 1 | 2:
                self.upsert(id)
            case 3:
                self.assert_equal(table.remove(id) is not None, self.members.pop(id, None) is not None)
            case 4 | 5 if id in self.members:
                table.set_attrs(id, clear=bits, set=bits[:1])
                self.members[id].attrs = self.members[id].attrs - set(bits) | set(bits[:1])
            case 6 if id in self.members:
                column = rng.randrange(2)
                table.set_key(id, column, rng.choice(KEYS))
                self.members[id].keys = table.get(id).keys  # type: ignore[union-attr]
            case 7:
                many = rng.choices(self.ids, k=20)
                known = {id for id in many if id in self.members}
                self.assert_equal(table.set_attrs_many(many, clear=bits[1:], set=bits), len(known))
                for id in known:
                    self.members[id].attrs |= set(bits)
            case 8:
                self.change_lists()
            case _:
                table.build(rng.randrange(30))

    def change_lists(self) -> None:
        rng, table = self.rng, self.table
        spec = self.spec(f"list {rng.random()}")
        if len(self.lists) < 4:
            self.lists[table.add_list(spec)] = spec
            return
        view = rng.choice(list(self.lists))
        match rng.randrange(3):
            case 0 if table.is_built(view):
                table.set_spec(view, spec)
                table.build()
                self.lists[view] = spec
            case 1:
                table.revoke(view, spec)
                self.lists[view] = spec
            case _:
                table.remove_list(view)
                del self.lists[view]

    def expected(self, spec: ListSpec[_I]) -> list[Any]:
        names = list(dict.fromkeys([*(name for _, name in spec.groups), spec.default_group]))
        groups: dict[str, list[_I]] = {name: [] for name in names}
        for id, member in self.members.items():
            admitted = spec.admit is None or any(clause.holds(member.attrs) for clause in spec.admit)
            if id in spec.never or not (admitted or id in spec.always):
                continue
            names_it = (name for clause, name in spec.groups if clause.holds(member.attrs))
            groups[next(names_it, spec.default_group)].append(id)
        rows: list[Any] = []
        for name, found in groups.items():
            found.sort(key=lambda id: (self.members[id].keys[spec.sort_by], sort_of(id)), reverse=spec.descending)
            rows += [(name, len(found))] if found and spec.headers else []
            rows += found
        return rows

    def check(self) -> None:
        self.table.build()
        for view, spec in self.lists.items():
            rows = [row.id if isinstance(row, Member) else (row.group, row.count) for row in view]
            self.assert_equal(rows, self.expected(spec))
            for index, row in enumerate(rows):
                if not isinstance(row, tuple):
                    self.assert_equal(view.index(row), index)
            for id in self.ids:
                self.assert_equal(id in view, id in rows)
        for id, member in self.members.items():
            self.assert_equal(self.table.get(id).attrs, member.attrs)  # type: ignore[union-attr]

    @staticmethod
    def assert_equal(one: object, other: object) -> None:
        unittest.TestCase().assertEqual(one, other)


def sort_of(id: Any) -> Any:
    return id.encode() if isinstance(id, str) else id


class Model(unittest.TestCase):
    def check(self, kind: type[_I], ids: list[_I]) -> None:
        for seed in range(4):
            with self.subTest(seed=seed):
                copy = Copy(kind, ids, seed)
                for step in range(600):
                    copy.change()
                    if step % 50 == 0:
                        copy.check()
                copy.check()

    def test_lists_of_numbers_equal_a_filtered_and_sorted_copy(self) -> None:
        self.check(int, [*range(-30, 30), 2**64 - 1, 2**63, -(2**63)])

    def test_lists_of_uuids_equal_a_filtered_and_sorted_copy(self) -> None:
        rng = random.Random(1)
        self.check(uuid.UUID, [uuid.UUID(int=rng.getrandbits(128)) for _ in range(60)] + [uuid.UUID(int=0)])

    def test_lists_of_text_ids_equal_a_filtered_and_sorted_copy(self) -> None:
        odd = ["é", "日本", "z" * 64, "z" * 63 + "a", "\U0010ffff", "a", "aa"]
        self.check(str, [*odd, *(f"a long id that many share {n}" for n in range(50))])


if __name__ == "__main__":
    unittest.main()
