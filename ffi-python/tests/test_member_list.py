import copy
import pickle
import random
import threading
import unittest
import uuid
import weakref
from typing import Any

import headcount
from headcount import Clause, Group, Header, ListSpec, Member, MemberList, MemberTable


def people() -> MemberList[int]:
    ml = MemberList(int, groups=["online", "offline"])
    for number, name in enumerate(["Dora", "ann", "Cid", "bob"]):
        ml.upsert(number, "online", name)
    ml.upsert(9, "offline", "Zoe")
    return ml


class Collection(unittest.TestCase):
    def setUp(self) -> None:
        self.ml = people()

    def test_rows_are_headers_and_members(self) -> None:
        rows = [row.id if isinstance(row, Member) else f"{row.group} {row.count}" for row in self.ml]
        self.assertEqual(rows, ["online 4", 1, 3, 2, 0, "offline 1", 9])
        self.assertEqual((len(self.ml), self.ml.member_count()), (7, 5))

    def test_indexes_and_slices_are_those_of_a_list(self) -> None:
        plain = list(self.ml)
        for i in range(-7, 7):
            self.assertEqual(self.ml[i], plain[i])
        for i in (-8, 7, 1 << 80, -1 << 80):
            with self.assertRaises(IndexError):
                self.ml[i]
        bounds: list[int | None] = [None, -9, -3, -1, 0, 2, 6, 7, 20, 1 << 90]
        for start in bounds:
            for stop in bounds:
                for step in (None, 1, 2, -1, -3):
                    cut = slice(start, stop, step)
                    self.assertEqual(self.ml[cut], plain[cut], cut)
        with self.assertRaises(ValueError):
            self.ml[::0]
        with self.assertRaises(TypeError):
            self.ml["a"]  # type: ignore[call-overload]

    def test_in_get_and_index_speak_of_ids(self) -> None:
        self.assertIn(3, self.ml)
        for absent in (4, -1, 1 << 64, -1 << 64, "3", None, 3.0):
            self.assertNotIn(absent, self.ml)
        self.assertEqual(self.ml.index(3), 2)
        self.assertEqual(self.ml[self.ml.index(3)], self.ml.get(3))
        self.assertIsNone(self.ml.get(77))
        self.assertIsNone(self.ml.index_of(77))
        with self.assertRaises(ValueError):
            self.ml.index(77)
        with self.assertRaises(headcount.UnknownMember):
            self.ml.index(77)
        self.assertEqual(self.ml.key(0), b"dora")

    def test_repr(self) -> None:
        self.assertEqual(repr(self.ml), "<MemberList 5 online=4 offline=1>")
        self.assertEqual(repr(self.ml[0]), "Header(group='online', count=4)")
        self.assertEqual(repr(self.ml[1]), "Member(id=1, group='online', revision=0, attrs=0)")
        big = MemberList(int, groups=["online"])
        big.bulk_load((i, "online", i) for i in range(1_234_5))
        self.assertEqual(repr(big), "<MemberList 12_345 online=12_345>")

    def test_rows_match_patterns(self) -> None:
        match self.ml[0], self.ml[1]:
            case Header(group, count), Member(id, other):
                self.assertEqual((group, count, id, other), ("online", 4, 1, "online"))
            case _:
                self.fail("no match")

    def test_iteration_sees_the_list_as_it_was(self) -> None:
        rows = iter(self.ml)
        next(rows)
        self.ml.remove(9)
        self.assertEqual(sum(1 for _ in rows), 6)
        self.assertEqual(len(list(self.ml)), 5)


class Writes(unittest.TestCase):
    def test_a_write_says_where(self) -> None:
        ml = people()
        up = ml.upsert(4, "online", "abe")
        self.assertEqual((up.index, up.is_new, up.old_index), (1, True, None))
        up = ml.upsert(4, "online", "zed", attrs=5)
        self.assertEqual((up.index, up.is_new, up.old_index), (5, False, 1))
        member = ml.get(4)
        assert member is not None
        self.assertEqual((member.attrs, member.revision), (5, 1))
        self.assertEqual(ml.set_group(4, "offline").index, 6)
        self.assertEqual(ml.set_key(4, "aaa").index, 6)
        self.assertEqual(ml.set_attrs(4, 6), 6)
        self.assertEqual(ml.touch(4), 6)
        self.assertEqual(ml.remove(4), 6)
        self.assertIsNone(ml.remove(4))
        for call in (ml.touch, ml.index, ml.key):
            with self.assertRaises(headcount.UnknownMember) as caught:
                call(4)
            self.assertEqual(caught.exception.kind, "unknown_member")

    def test_groups(self) -> None:
        ml = people()
        ml.set_group_hidden("offline")
        self.assertEqual((len(ml), ml.index_of(9)), (5, None))
        ml.set_group_hidden("offline", False)
        ml.set_group_collapsed("online")
        self.assertEqual([g.first_index for g in ml.groups()], [0, 1])
        self.assertTrue(ml.groups()[0].collapsed)
        ml.set_group_collapsed("online", False)
        ml.move_group("offline", 0)
        self.assertEqual((ml.index(9), ml.header_index("online")), (1, 2))
        ml.rename_group("offline", "away")
        self.assertEqual(ml.merge_group("away", "online"), 1)
        self.assertEqual([(g.name, g.count) for g in ml.groups()], [("away", 0), ("online", 5)])
        ml.remove_group("away")
        ml.set_groups(["staff", "online"])
        self.assertEqual([g.name for g in ml.groups()], ["staff", "online"])
        self.assertIsInstance(ml.groups()[0], Group)
        for call in (ml.remove_group, ml.set_group_hidden, ml.header_index):
            with self.assertRaises(headcount.UnknownGroup):
                call("nobody")
        with self.assertRaises(headcount.ListError) as caught:
            ml.remove_group("online")
        self.assertEqual(caught.exception.kind, "group_not_empty")
        with self.assertRaises(headcount.ListError):
            ml.add_group("online")
        with self.assertRaises(headcount.ListError):
            ml.add_group("x\n")

    def test_reordering_names_each_group_once(self) -> None:
        ml = people()
        ml.add_group("staff")
        ml.reorder_groups(iter(["staff", "offline", "online"]))
        names = ["staff", "offline", "online"]
        self.assertEqual([g.name for g in ml.groups()], names)
        self.assertEqual((ml.index(9), ml.header_index("online")), (1, 2))
        for order in (["online"], ["online", "online", "staff"], ["online", "offline", "staff", "online"]):
            with self.subTest(order), self.assertRaises(headcount.ListError) as caught:
                ml.reorder_groups(order)
            self.assertEqual(caught.exception.kind, "bad_group_order")
        with self.assertRaises(headcount.UnknownGroup):
            ml.reorder_groups(["online", "offline", "nobody"])
        with self.assertRaises(TypeError):
            ml.reorder_groups("online")
        self.assertEqual([g.name for g in ml.groups()], names)

    def test_payloads(self) -> None:
        ml = MemberList(groups=["online"], payloads="raw")
        ml.upsert("u1", "online", "Ann")
        ml.set_payload("u1", memoryview(b"##{}##")[2:-2])
        member = ml.get("u1")
        assert member is not None
        self.assertEqual((member.payload, member.revision), (b"{}", 1))
        with self.assertRaises(headcount.LimitError) as caught:
            ml.set_payload("u1", bytes(100_000))
        self.assertEqual(caught.exception.limit, 64 * 1024)
        with self.assertRaises(headcount.ListError):
            people().set_payload(1, b"x")

    def test_payloads_of_json(self) -> None:
        ml = MemberList(int, groups=["online"], payloads="json")
        ml.upsert(1, "online", "Ann")
        cases: list[tuple[Any, bytes]] = [
            ({"name": "Ann", "n": [1, None]}, b'{"name":"Ann","n":[1,null]}'),
            (b' {"as": "it is"}', b' {"as": "it is"}'),
            ("Änn", '"Änn"'.encode()),
        ]
        for given, kept in cases:
            ml.set_payload(1, given)
            member = ml.get(1)
            assert member is not None
            self.assertEqual(member.payload, kept)
        wrong: list[Any] = [b"{", b"", b"1 2", b"NaN", b'"\xff"', float("inf"), {1: object()}]
        for bad in [*wrong, "\ud800", memoryview(b"1 2")[::2]]:
            with self.assertRaises((ValueError, TypeError, BufferError)):
                ml.set_payload(1, bad)
        ml.apply_batch([("set_payload", 1, {"x": 1})])
        self.assertEqual(ml.get(1), ml[1])
        with self.assertRaises(ValueError):
            ml.apply_batch([("set_payload", 1, b"{")])
        with self.assertRaises(ValueError):
            MemberList(payloads="yaml")  # type: ignore[call-overload]

    def test_moving_many(self) -> None:
        ml = people()
        self.assertEqual(ml.set_group_many([1, 2, 77], "offline"), 2)
        self.assertEqual([g.count for g in ml.groups()], [2, 3])

    def test_a_batch_is_all_or_nothing(self) -> None:
        ml = people()
        report = ml.apply_batch(
            [
                ("upsert", 20, "online", "Eve"),
                ("upsert", 21, "online", "Fay", 3),
                ("set_group", 1, "offline"),
                ("set_key", 3, "zzz"),
                ("set_attrs", 2, 9),
                ("touch", 77),
                ("remove", 0),
            ]
        )
        self.assertEqual(
            (report.inserted, report.updated, report.removed, report.missing), (2, 3, 1, 1)
        )
        self.assertEqual(len(report.rows), 7)
        self.assertEqual(report.rows[0], (None, 5))
        self.assertEqual(report.rows[5], (None, None))
        before = list(ml)
        with self.assertRaisesRegex(headcount.UnknownGroup, "change 1 of the batch"):
            ml.apply_batch([("remove", 20), ("set_group", 21, "nowhere")])
        bad: list[object] = [("fly", 1), ("remove",), ("remove", 1, 2), (), "remove", ("remove", "x")]
        for change in bad:
            with self.assertRaises((ValueError, TypeError, IndexError)):
                ml.apply_batch([("remove", 20), change])  # type: ignore[list-item]
        self.assertEqual(list(ml), before)

    def test_bulk_load_reports_duplicates(self) -> None:
        ml = people()
        report = ml.bulk_load([(50, "online", "x"), (1, "online", "y"), (50, "offline", "z", 1)])
        self.assertEqual((report.loaded, report.duplicates), (1, [(1, 1), (2, 50)]))
        self.assertEqual(ml.find_prefix("x"), [("online", ml.index(50))])
        with self.assertRaisesRegex(headcount.UnknownGroup, "^change 1 of the batch"):
            ml.bulk_load([(60, "online", "x"), (61, "nowhere", "x")])
        self.assertNotIn(60, ml)
        with self.assertRaises(ZeroDivisionError):
            ml.bulk_load((1 // 0, "online", "x") for _ in range(3))


class Hidden(unittest.TestCase):
    def test_searches_count_and_show_matches(self) -> None:
        ml = headcount.MemberList(int, groups=["online", "offline"])
        for id, name in enumerate(["Max", "Moritz", "Zoe"]):
            ml.upsert(id, "online", name)
        ml.upsert(7, "offline", "mo")
        ml.set_group_collapsed("offline")
        self.assertEqual(ml.search_prefix("M"), [("online", 2, 1), ("offline", 1, None)])
        viewer, client = ml.viewer(), headcount.Client()
        for window, rows in [
            (ml.search_window("m"), 5),
            (ml.search_window("mo", group="online"), 1),
        ]:
            client.open(window)
            client.apply(viewer.open(window))
            self.assertEqual(len(client.windows[window].rows), rows)
        self.assertEqual(client.windows[ml.search_window("m")].matches, 3)
        with self.assertRaises(headcount.LimitError):
            viewer.open(ml.search_window("z"))

    def test_the_index_of_a_member_without_a_row_says_why(self) -> None:
        ml = people()
        ml.set_group_collapsed("offline")
        with self.assertRaises(headcount.HiddenMember) as caught:
            ml.index(9)
        self.assertEqual(caught.exception.kind, "hidden_member")
        self.assertIn("hidden or collapsed", str(caught.exception))
        self.assertIsNone(ml.index_of(9))
        with self.assertRaises(headcount.UnknownMember):
            ml.index(77)

    def test_many_rows_are_those_of_single_calls(self) -> None:
        ml = people()
        ml.bulk_load([(id, "online", id) for id in range(100, 3_000)])
        ml.set_group_collapsed("offline")
        some = [9, 7, 77, 7, *range(5_000, 50, -1)]
        rows = [ml.index_of(id) for id in some]
        self.assertEqual(ml.index_of_many(some), rows)
        self.assertEqual(ml.index_of_many(iter(some)), rows)
        found = [None if row is None else (row, ml[row]) for row in rows]
        self.assertEqual(ml.rows_of(some), found)
        self.assertEqual((ml.index_of_many([]), ml.rows_of([])), ([], []))
        with self.assertRaises(TypeError):
            ml.index_of_many(["7"])  # type: ignore[list-item]

    def test_rows_backwards(self) -> None:
        ml = people()
        ml.bulk_load([(id, "online", id) for id in range(100, 1_000)])
        frozen = ml.snapshot()
        backwards, rows = reversed(ml), list(ml)
        ml.remove(100)
        self.assertEqual(list(backwards), rows[::-1])
        self.assertEqual(list(reversed(frozen)), rows[::-1])
        self.assertEqual(list(reversed(MemberList())), [])

    def test_weak_references(self) -> None:
        ml = people()
        roster = headcount.Roster(ml, lambda entry: ("online", 1))
        for kept in (ml, headcount.Tracker("a"), headcount.Presence("a"), roster):
            self.assertIs(weakref.ref(kept)(), kept)


class Index:
    """Stands for an integer, as those of NumPy do, which are no `int`."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def index(value: int) -> Any:
    return Index(value)


class Kinds(unittest.TestCase):
    def test_uuids(self) -> None:
        ml = MemberList(uuid.UUID, groups=["online"])
        ids = [uuid.UUID(int=random.Random(i).getrandbits(128)) for i in range(20)]
        for id in ids:
            ml.upsert(id, "online", (1, 2))
        self.assertEqual([row.id for row in ml if isinstance(row, Member)], sorted(ids))
        self.assertIn(f"id={ids[0]!r}", repr(ml.get(ids[0])))

    def test_keys_sort_as_what_they_are(self) -> None:
        ml = MemberList(headers=False, groups=["g"])
        for key in (300, 2, (1 << 63) - 1, -1, -(1 << 63), index(-5)):
            ml.upsert(str(int(key)), "g", key)
        order = [str(-(1 << 63)), "-5", "-1", "2", "300", str((1 << 63) - 1)]
        self.assertEqual([row.id for row in ml if isinstance(row, Member)], order)
        for one in (-1, 0, 1):
            for two in (index(-1), 0, 1):
                ml.upsert(f"{one} {int(two)}", "g", (one, two))
        pairs = [row.id for row in ml if isinstance(row, Member) and " " in row.id]
        self.assertEqual(pairs, [f"{one} {two}" for one in (-1, 0, 1) for two in (-1, 0, 1)])
        ml.upsert("raw", "g", b"")
        self.assertEqual(ml.index("raw"), 0)

    def test_whatever_stands_for_an_integer_is_one(self) -> None:
        ml = MemberList(int, groups=["g"])
        ml.upsert(index(7), "g", index(1))
        self.assertEqual((index(7) in ml, ml.index(index(7)), ml[index(1)]), (True, 1, ml.get(7)))
        self.assertEqual(ml[index(1) : index(2)], [ml.get(7)])

    def test_wrong_ids_and_keys(self) -> None:
        ml = people()
        for bad_id in ("1", 1.0, None, b"1", uuid.uuid4()):
            with self.assertRaises(TypeError):
                ml.upsert(bad_id, "online", "x")  # type: ignore[arg-type]
        for huge in (-(1 << 63) - 1, 1 << 64):
            with self.assertRaisesRegex(OverflowError, r"^an id is from -2\*\*63 to 2\*\*64 - 1$"):
                ml.upsert(huge, "online", "x")
            with self.assertRaises(OverflowError):
                ml.upsert(1, "online", huge * 2**63)
            with self.assertRaises(OverflowError):
                ml.upsert(1, "online", "x", attrs=huge)
        with self.assertRaises(headcount.LimitError):
            ml.upsert(1, "online", bytes(65))
        for bad_key in (None, 1.5, ("a", 1)):
            with self.assertRaises(TypeError):
                ml.upsert(1, "online", bad_key)  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            ml.upsert(1, "online", (1, 2, 3))  # type: ignore[arg-type]
        with self.assertRaises(UnicodeEncodeError):
            ml.upsert(1, "online", "\ud800")
        with self.assertRaises(UnicodeEncodeError):
            ml.upsert(1, "\ud800", "x")
        with self.assertRaises(TypeError):
            MemberList(float)  # type: ignore[type-var]
        texts = MemberList(groups=["g"])
        for bad in ("", "x" * 65, "a\nb"):
            with self.assertRaises(headcount.ListError):
                texts.upsert(bad, "g", "x")
        self.assertEqual(list(ml), list(people()))


class Model(unittest.TestCase):
    def test_against_a_sorted_list(self) -> None:
        rng = random.Random(5)
        ml = MemberList(int, groups=["a", "b", "c"])
        model: dict[int, tuple[str, int]] = {}
        for _ in range(3_000):
            id, group, key = rng.randrange(200), rng.choice("abc"), rng.randrange(50)
            if rng.random() < 0.7:
                self.assertEqual(ml.upsert(id, group, key).is_new, id not in model)
                model[id] = (group, key)
            else:
                self.assertEqual(ml.remove(id) is not None, id in model)
                model.pop(id, None)
            if rng.random() < 0.05:
                self.check(ml, model)
        self.check(ml, model)

    def check(self, ml: MemberList[int], model: dict[int, tuple[str, int]]) -> None:
        rows: list[int | str] = []
        for group in "abc":
            members = sorted((key, id) for id, (g, key) in model.items() if g == group)
            rows += [f"{group}{len(members)}"] if members else []
            rows += [id for _, id in members]
        shown = [r.id if isinstance(r, Member) else f"{r.group}{r.count}" for r in ml]
        self.assertEqual(shown, rows)
        for index, row in enumerate(rows):
            if isinstance(row, int):
                self.assertEqual(ml.index(row), index)


class Threads(unittest.TestCase):
    def test_readers_and_writers(self) -> None:
        ml = MemberList(int, groups=["g"])
        failures: list[BaseException] = []

        def write(n: int) -> None:
            for i in range(500):
                ml.upsert(n * 1_000 + i, "g", i)

        def read() -> None:
            try:
                for _ in range(200):
                    snapshot = ml.snapshot()
                    self.assertEqual(len(list(snapshot)), len(snapshot))
                    ml[-5:]
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        threads += [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(ml.member_count(), 1_500)



class SnapshotsById(unittest.TestCase):
    def test_ids_mean_what_they_mean_in_the_list(self) -> None:
        ml = MemberList(int, groups=["online", "away", "offline"], payloads="raw")
        for number in range(300):
            ml.upsert(number, ("online", "away", "offline")[number % 3], number // 7, attrs=number)
            ml.set_payload(number, str(number).encode())
        ml.set_group_hidden("away")
        ml.set_group_collapsed("offline")
        before = ml.snapshot()
        known = range(-1, 302)
        found = {id: (id in ml, ml.index_of(id)) for id in known}
        members = {id: ml.get(id) for id in range(302)}
        ml.apply_batch([("remove", number) for number in range(300)])
        self.assertEqual({id: (id in before, before.index_of(id)) for id in known}, found)
        self.assertEqual({id: before.get(id) for id in range(302)}, members)
        self.assertEqual([before.index(id) for id in (0, 3)], [found[0][1], found[3][1]])
        for other in ("0", None, 0.0, uuid.UUID(int=0), -1):
            self.assertNotIn(other, before)
        with self.assertRaises(headcount.UnknownMember):
            before.index(300)
        with self.assertRaises(headcount.HiddenMember):
            before.index(1)
        with self.assertRaises(TypeError):
            before.get("0")  # type: ignore[arg-type]
        with self.assertRaises(OverflowError):
            before.index(-(1 << 63) - 1)

    def test_ids_of_each_kind(self) -> None:
        ids: list[Any] = [7, "seven", uuid.UUID(int=7)]
        for id in ids:
            ml: MemberList[Any] = MemberList(type(id), groups=["g"])
            ml.upsert(id, "g", 1)
            before = ml.snapshot()
            self.assertEqual(before.index(id), 1)
            self.assertEqual(before[1], before.get(id))
            self.assertEqual([other in before for other in ids], [other == id for other in ids])

    def test_a_snapshot_of_a_table_finds_what_the_list_admits(self) -> None:
        table = MemberTable(int)
        for number in range(100):
            table.upsert(number, number, attrs=[number % 2])
        view = table.add_list(ListSpec("odd", "all", admit=[Clause(all=[1])]))
        table.build()
        before = view.snapshot()
        self.assertEqual([id for id in range(100) if id in before], list(range(1, 100, 2)))
        self.assertEqual([before.index_of(id) for id in range(100)], view.index_of_many(range(100)))
        self.assertEqual(before.get(7), view[view.index(7)])
        self.assertEqual(table.snapshot()[view].index(7), view.index(7))

    def test_threads_that_are_first_at_once(self) -> None:
        ml = MemberList(int, groups=["g"])
        ml.bulk_load((number, "g", number) for number in range(20_000))
        before, told = ml.snapshot(), [0] * 8

        def ask(at: int) -> None:
            told[at] = before.index(at)

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(told, list(range(1, 9)))

    def test_a_copy_is_the_snapshot_itself(self) -> None:
        before = people().snapshot()
        self.assertIs(copy.copy(before), before)
        self.assertIs(copy.deepcopy([before])[0], before)
        self.assertIs(weakref.ref(before)(), before)
        with self.assertRaises(TypeError):
            pickle.dumps(before)


class ManyGroups(unittest.TestCase):
    def test_reads_name_the_right_one_of_4096_groups(self) -> None:
        names = [f"group {number}" for number in range(4_096)]
        ml = MemberList(int, groups=names)
        ml.bulk_load((number, names[number * 7919 % 4_096], b"a%d" % (number % 10)) for number in range(8_192))
        for number in range(0, 4_096, 3):
            ml.rename_group(names[number], f"renamed {number}")
            names[number] = f"renamed {number}"
        ml.set_groups(names[::-1])
        group_of = {number: names[number * 7919 % 4_096] for number in range(8_192)}
        expected: list[str] = [name for name in names[::-1] for _ in range(3)]
        snapshot = ml.snapshot()
        for reads in (ml, snapshot):
            self.assertEqual([row.group for row in reads], expected)
            self.assertEqual([row.group for row in reversed(reads)], expected[::-1])
            self.assertEqual([reads[at].group for at in range(len(reads))], expected)
            self.assertEqual([row.group for row in reads[::-1]], expected[::-1])
            self.assertEqual([row.group for row in reads[5_000:5_100]], expected[5_000:5_100])
            for id, name in group_of.items():
                member = reads.get(id)
                assert member is not None
                self.assertEqual(member.group, name)
        rows = ml.rows_of(range(8_192))
        self.assertEqual([row and row[1].group for row in rows], list(group_of.values()))
        self.assertEqual(ml.find_prefix(b"a"), [(name, 3 * at + 1) for at, name in enumerate(names[::-1])])
        self.assertEqual([(name, count) for name, count, _ in ml.search_prefix(b"a")], [(n, 2) for n in names[::-1]])

    def test_a_group_that_is_gone_has_no_rows_and_its_place_another_name(self) -> None:
        ml = MemberList(int, groups=["a", "b"])
        ml.upsert(1, "a", 1)
        before = ml.snapshot()
        ml.remove(1)
        ml.remove_group("a")
        ml.add_group("c")
        ml.upsert(1, "c", 1)
        self.assertEqual([row.group for row in before], ["a", "a"])
        self.assertEqual([row.group for row in ml], ["c", "c"])
        self.assertEqual([found and found.group for found in (before.get(1), ml.get(1))], ["a", "c"])

if __name__ == "__main__":
    unittest.main()
