"""Lists in files; lists and tables in pickles and copies."""

import copy
import io
import multiprocessing
import os
import pickle
import random
import threading
import unittest
from typing import Any

from headcount import DecodeError, ListError, ListSpec, MemberList, MemberTable, Roster, Tracker
from saved_files import SavedFiles
from test_member_table_files import KINDS, NAMES, content, table_of

GROUPS = ["online", "away", "offline", "staff"]


def list_of(kind: type, make: Any, members: int, payloads: Any = "json") -> MemberList[Any]:
    ml: MemberList[Any] = MemberList(kind, groups=GROUPS, payloads=payloads)
    ml.begin_epoch("raum:7", 40, node="node-1")
    for n in range(members):
        ml.upsert(make(n), GROUPS[n % 3], NAMES[n % len(NAMES)], attrs=n * 0x0101_0101 % 2**32)
        if payloads and n % 3 == 0:
            ml.set_payload(make(n), {"n": n, "name": "é" * n} if payloads == "json" else bytes([n % 256]))
    ml.remove(make(2))
    ml.move_group("staff", 0)
    ml.set_group_hidden("away")
    ml.set_group_collapsed("offline")
    return ml


def whole(ml: MemberList[Any], make: Any, members: int) -> Any:
    """All that reads of a list return."""
    of_each = [(ml.get(make(n)), ml.key(make(n)) if make(n) in ml else None) for n in range(members)]
    groups = [(group.name, group.count, group.hidden, group.collapsed) for group in ml.groups()]
    return list(ml), groups, of_each, ml.member_count()


def change(ml: MemberList[Any], make: Any) -> None:
    rng = random.Random(7)
    for _ in range(300):
        n = rng.randrange(350)
        if rng.random() < 0.3:
            ml.remove(make(n))
        else:
            ml.upsert(make(n), rng.choice(GROUPS), rng.choice(NAMES), attrs=rng.randrange(9))
    for name in ("away", "offline"):
        ml.set_group_hidden(name, False)
        ml.set_group_collapsed(name, False)


def epoch(ml: MemberList[Any]) -> int:
    return ml.viewer().open("c:0").epoch


class Files(SavedFiles):
    def test_a_list_is_loaded_as_it_was_and_goes_on(self) -> None:
        for kind, make in KINDS:
            with self.subTest(kind):
                ml = list_of(kind, make, 300)
                ml.save(self.path)
                self.assertEqual(os.listdir(self.folder), [self.path.name])
                loaded: MemberList[Any] = MemberList.load(str(self.path), payloads="json")
                self.assertEqual(whole(loaded, make, 301), whole(ml, make, 301))
                change(ml, make)
                change(loaded, make)
                self.assertEqual(whole(loaded, make, 350), whole(ml, make, 350))

    def test_names_payloads_and_epochs(self) -> None:
        kind, make = KINDS[0]
        for payloads in ("json", "raw", None):
            ml = list_of(kind, make, 20, payloads)
            ml.save(self.path)
            loaded = MemberList.load(self.path, payloads=payloads, epoch=2, node="node-2")
            self.assertEqual(whole(loaded, make, 20), whole(ml, make, 20))
            bundle = loaded.viewer(resumable=True).open("c:0")
            self.assertEqual((bundle.node, bundle.epoch), ("node-2", 41))
            self.assertEqual(bundle.to_dict()["list"], "raum:7")
            self.assertEqual(epoch(MemberList.load(self.path, payloads=payloads, epoch=50)), 50)
            self.assertGreater(epoch(MemberList.load(self.path, payloads=payloads)), 1_600_000_000_000)
            with self.assertRaises(ListError) as raised:
                MemberList.load(self.path, payloads=None if payloads else "raw")
            self.assertEqual(raised.exception.kind, "other_payloads")

    def test_lists_without_headers_or_members(self) -> None:
        ml = MemberList(str, groups=["a"], headers=False)
        for _ in range(2):
            ml.save(self.path)
            loaded: MemberList[str] = MemberList.load(self.path)
            self.assertEqual((list(loaded), repr(loaded)), (list(ml), repr(ml)))
            ml.upsert("ann", "a", "Ann")
        self.assertEqual(len(ml), 1)

    def test_the_list_of_a_roster_is_saved(self) -> None:
        ml = MemberList(str, groups=["online", "offline"])
        roster = Roster(ml, lambda entry: ("online", entry.key), offline="offline")
        node = Tracker("node-1")
        node.track("room", "ann", "phone")
        roster.apply(node.take_diff()["room"])
        ml.save(self.path)
        self.assertEqual(list(MemberList.load(self.path)), list(ml))
        self.assertEqual(list(copy.copy(ml)), list(ml))

    def test_cut_altered_and_other_files_are_refused(self) -> None:
        kind, make = KINDS[1]
        file = io.BytesIO()
        list_of(kind, make, 6).save(file)
        whole = file.getvalue()
        self.assert_broken_files_are_refused(whole, lambda file: MemberList.load(file, payloads="json"))
        with self.assertRaises(DecodeError) as raised:
            MemberTable.load(io.BytesIO(whole), payloads="json")
        self.assertEqual(raised.exception.kind, "other_kind")
        table = io.BytesIO()
        MemberTable(int).save(table)
        with self.assertRaisesRegex(DecodeError, "table of integers, not a list of integers"):
            MemberList.load(io.BytesIO(table.getvalue()))

    def test_a_save_goes_where_a_link_leads(self) -> None:
        kind, make = KINDS[0]
        old, new = list_of(kind, make, 5), list_of(kind, make, 9)
        old.save(self.path)
        link = self.folder / "link"
        link.symlink_to(self.path)
        new.save(link)
        self.assertTrue(link.is_symlink())
        self.assertEqual(list(MemberList.load(self.path, payloads="json")), list(new))

    def test_a_write_says_how_much_it_took(self) -> None:
        class File(io.BytesIO):
            answer: Any = None

            def write(self, data: Any) -> Any:
                super().write(data)
                return self.answer

        ml = list_of(*KINDS[0], 5)
        size = len(pickle.dumps(ml))
        for answer, error in ((None, TypeError), ("5", TypeError), (-1, ValueError), (size, ValueError)):
            file = File()
            file.answer = answer
            with self.subTest(answer), self.assertRaisesRegex(error, "how many it took"):
                ml.save(file)
        file.answer = 0
        with self.assertRaises(OSError):
            ml.save(file)

    def test_a_save_that_fails_changes_nothing(self) -> None:
        kind, make = KINDS[2]
        ml = list_of(kind, make, 5)
        ml.save(self.path)
        old, before = self.path.read_bytes(), whole(ml, make, 5)
        os.mkdir(f"{self.path}.part")
        with self.assertRaises(OSError):
            ml.save(self.path)
        with self.assertRaises(FileNotFoundError):
            MemberList.load(self.folder / "none")
        for wrong in (7, None, object()):
            with self.assertRaises(TypeError):
                ml.save(wrong)  # type: ignore[arg-type]
        self.assertEqual((self.path.read_bytes(), whole(ml, make, 5)), (old, before))
        ml.save(io.BytesIO())  # None of these saves goes on.

    def test_other_threads_write_while_a_list_is_saved(self) -> None:
        ml = MemberList(int, groups=["a", "b"])
        ml.bulk_load((id, "a", f"member {id}") for id in range(20_000))
        stop = threading.Event()

        def write() -> None:
            to = "b"
            while not stop.is_set():
                # All of them or none are in a group at any moment.
                ml.set_group_many(range(20_000), to)
                to = "a" if to == "b" else "b"
                for id in range(20):
                    ml.set_key(id, f"x{id}")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(5):
                ml.save(self.path)
                loaded: MemberList[int] = MemberList.load(self.path)
                copied: MemberList[int] = copy.copy(ml)
                for other in (loaded, copied):
                    self.assertIn([group.count for group in other.groups()], ([20_000, 0], [0, 20_000]))
        finally:
            stop.set()
            writer.join()

    def test_one_save_at_a_time(self) -> None:
        ml = MemberList(int, groups=["a"])
        ml.bulk_load((id, "a", f"member {id:060}") for id in range(5_000))
        seen: list[str] = []

        class Nosy(io.BytesIO):
            def write(self, data: Any, /) -> int:
                for save in (lambda: ml.save(io.BytesIO()), lambda: pickle.dumps(ml)):
                    try:
                        save()
                    except ListError as error:
                        seen.append(error.kind)
                return super().write(data)

        ml.save(Nosy())
        self.assertIn("running", seen)


def count(ml: MemberList[Any], table: MemberTable[Any]) -> tuple[int, int]:
    """Run in another process."""
    return ml.member_count(), len(table)


class Copies(unittest.TestCase):
    def test_lists_are_pickled_and_copied(self) -> None:
        for kind, make in KINDS:
            for payloads in ("json", "raw", None):
                with self.subTest(kind=kind, payloads=payloads):
                    ml = list_of(kind, make, 100, payloads)
                    before = whole(ml, make, 100)
                    copies = [pickle.loads(pickle.dumps(ml, protocol)) for protocol in range(6)]
                    copies += [copy.copy(ml), copy.deepcopy(ml), copy.deepcopy([ml, ml])[1]]
                    for other in copies:
                        self.assertIs(type(other), MemberList)
                        self.assertEqual(whole(other, make, 100), before)
                        change(other, make)
                    self.assertEqual(whole(ml, make, 100), before, "a copy has members of its own")
                    change(ml, make)
                    for other in copies:
                        self.assertEqual(whole(other, make, 350), whole(ml, make, 350))

    def test_payloads_of_copies_are_of_the_same_kind(self) -> None:
        ml = MemberList(int, groups=["a"], payloads="json")
        ml.upsert(1, "a", 1)
        for other in (copy.copy(ml), pickle.loads(pickle.dumps(ml))):
            other.set_payload(1, {"n": 1})
            with self.assertRaises(ValueError):
                other.set_payload(1, b"{")
            self.assertIn(b'{"n":1}', other.viewer().open("c:0").to_json())

    def test_a_copy_has_no_viewers_and_an_epoch_of_its_own(self) -> None:
        kind, make = KINDS[0]
        ml = list_of(kind, make, 20)
        viewer = ml.viewer()
        viewer.open("c:0")
        other = copy.copy(ml)
        other.remove(make(0))
        other.tick(1.0)
        self.assertFalse(viewer.bundle(ml.tick(1.0)) and viewer.bundle(ml.tick(1.1)))
        self.assertGreater(epoch(other), epoch(ml))
        self.assertEqual(viewer.windows(), ["c:0"])

    def test_tables_are_pickled_and_copied(self) -> None:
        for kind, make in KINDS:
            with self.subTest(kind):
                table = table_of(kind, make, 100)
                before = content(table, make, 100)
                for other in (pickle.loads(pickle.dumps(table)), copy.copy(table), copy.deepcopy(table)):
                    self.assertIs(type(other), MemberTable)
                    self.assertEqual(content(other, make, 100), before)
                    for changed in (other, table_of(kind, make, 100)):
                        changed.upsert(make(3), "neu", 7, attrs=[63, 511])
                        changed.remove(make(4))
                        changed.set_payload(make(3), {"n": 1})
                    self.assertEqual(content(other, make, 100), content(changed, make, 100))
                self.assertEqual(content(table, make, 100), before)

    def test_lists_of_a_table_that_are_being_built_begin_again(self) -> None:
        table = MemberTable(int)
        for id in range(100):
            table.upsert(id, id)
        table.add_list(ListSpec("all", "all"))
        table.build(40)
        other = copy.copy(table)
        view = other.list_named("all")
        assert view is not None
        self.assertFalse(other.is_built(view))
        self.assertEqual(other.build(), 0)
        self.assertEqual(view.member_count(), 100)

    def test_another_process_gets_lists_and_tables(self) -> None:
        kind, make = KINDS[2]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            counts = pool.apply(count, (list_of(kind, make, 50), table_of(kind, make, 50)))
        self.assertEqual(counts, (49, 49))

    def test_altered_pickles_are_refused(self) -> None:
        kind, make = KINDS[0]
        for made in (list_of(kind, make, 20), table_of(kind, make, 20)):
            reduced: Any = made.__reduce__()
            load, (file, payloads) = reduced
            self.assertEqual(payloads, "json")
            for wrong in (b"", file[:-1], file[:50] + b"x" + file[51:], file + b"x"):
                with self.assertRaises(DecodeError):
                    load(wrong, payloads)
            with self.assertRaises(ListError):
                load(file, None)
            with self.assertRaises(TypeError):
                load(7, payloads)


if __name__ == "__main__":
    unittest.main()
