import io
import os
import random
import threading
import unittest
import uuid
from typing import Any

import headcount
from headcount import Clause, DecodeError, ListError, ListSpec, MemberTable
from saved_files import SavedFiles

ONLINE, STAFF, LAST = 0, 63, 511
NAMES = ["", "a", "Ä", "日本", "👩‍👩‍👧", "x" * 65, "shared prefix 1", "Shared Prefix 2", "ß" * 40]
KINDS: list[tuple[type, Any]] = [
    (int, lambda n: n * 0xFFFF_FFFF_FFFF),
    (uuid.UUID, lambda n: uuid.UUID(int=n * 0x9E37_79B9_7F4A_7C15_F39C_C060)),
    (str, lambda n: f"mitglied-{n}-ü"),
    (int, lambda n: (n * 0x55_5555_5555_5555) * (-1) ** n if n else -(2**63)),
]


def table_of(kind: type, make: Any, members: int) -> MemberTable[Any]:
    table: MemberTable[Any] = MemberTable(kind, key_columns=2, payloads="json", shown=[ONLINE])
    for n in range(members):
        attrs = [bit for bit in (ONLINE, STAFF, LAST) if (n * 7 + bit) % 3 == 0]
        table.upsert(make(n), NAMES[n % len(NAMES)], members - n, attrs=attrs)
        if n % 3 == 0:
            table.set_payload(make(n), {"n": n, "name": "é" * n})
    table.remove(make(2))
    table.add_list(ListSpec("all", "offline", groups=[(Clause(all=[ONLINE]), "online")]))
    table.add_list(
        ListSpec("staff", "staff", sort_by=1, descending=True, admit=[Clause(any=[LAST])], always=[make(1)])
    )
    table.build()
    lists = {view.name: view for view in table.lists()}
    lists["all"].set_group_collapsed("online")
    return table


def content(table: MemberTable[Any], make: Any, members: int) -> Any:
    rows = {view.name: [repr(row) for row in view] for view in table.lists()}
    return [table.get(make(n)) for n in range(members)], rows


class Files(SavedFiles):
    def test_a_table_is_loaded_as_it_was_and_goes_on(self) -> None:
        for kind, make in KINDS:
            with self.subTest(kind):
                table = table_of(kind, make, 300)
                table.save(self.path)
                self.assertEqual(os.listdir(self.folder), [self.path.name])
                loaded: MemberTable[Any] = MemberTable.load(str(self.path), payloads="json")
                self.assertEqual(content(loaded, make, 301), content(table, make, 301))
                for changed in (table, loaded):
                    rng = random.Random(7)
                    for _ in range(300):
                        n = rng.randrange(350)
                        if rng.random() < 0.3:
                            changed.remove(make(n))
                        else:
                            name = rng.choice(NAMES)
                            changed.upsert(make(n), name, rng.randrange(9), attrs=[rng.choice([0, 63, 511])])
                self.assertEqual(content(loaded, make, 350), content(table, make, 350))

    def test_objects_are_files_too(self) -> None:
        kind, make = KINDS[0]
        table = table_of(kind, make, 50)
        file = io.BytesIO()
        table.save(file)

        class Slow:
            """Takes and gives a few bytes at a time, as sockets and raw files do."""

            def __init__(self, data: bytes) -> None:
                self.data = data

            def write(self, data: bytes) -> int:
                self.data += bytes(data[:100])
                return min(100, len(data))

            def read(self, length: int = -1, /) -> bytes:
                data, self.data = self.data[: min(length, 7)], self.data[min(length, 7) :]
                return data

        slow = Slow(b"")
        table.save(slow)
        self.assertEqual(slow.data, file.getvalue())
        loaded = MemberTable.load(Slow(file.getvalue()), payloads="json")
        self.assertEqual(content(loaded, make, 50), content(table, make, 50))

    def test_the_exceptions_of_files_are_raised(self) -> None:
        class Broken(io.RawIOBase):
            def write(self, data: Any, /) -> int:
                raise KeyError("write")

            def read(self, length: int = -1, /) -> bytes:
                raise KeyError("read")

        kind, make = KINDS[0]
        table = table_of(kind, make, 5)
        with self.assertRaisesRegex(KeyError, "write"):
            table.save(Broken())
        with self.assertRaisesRegex(KeyError, "read"):
            MemberTable.load(Broken())
        for wrong in (7, None, object(), io.StringIO("text")):
            with self.assertRaises(TypeError):
                MemberTable.load(wrong)  # type: ignore[arg-type]
        for wrong in (7, None, object()):
            with self.assertRaises(TypeError):
                table.save(wrong)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            table.save(io.StringIO())  # type: ignore[arg-type]
        with self.assertRaises(FileNotFoundError):
            MemberTable.load(self.path)
        with self.assertRaises(OSError):
            table.save(self.folder / "none" / "file")
        with self.assertRaises(OSError):
            table.save(self.folder)
        self.assertEqual(os.listdir(self.folder), [])
        table.save(self.path)  # None of these saves goes on.

    def test_a_save_that_fails_keeps_the_old_file(self) -> None:
        kind, make = KINDS[2]
        table = table_of(kind, make, 5)
        table.save(self.path)
        old = self.path.read_bytes()
        self.assertEqual(content(MemberTable.load(self.path, payloads="json"), make, 5), content(table, make, 5))
        os.mkdir(f"{self.path}.part")
        with self.assertRaises(OSError):
            table.save(self.path)
        self.assertEqual(self.path.read_bytes(), old)

    def test_cut_and_altered_files_are_refused(self) -> None:
        kind, make = KINDS[1]
        file = io.BytesIO()
        table_of(kind, make, 6).save(file)
        whole = file.getvalue()
        self.assert_broken_files_are_refused(whole, lambda file: MemberTable.load(file, payloads="json"))

    def test_payloads_and_epochs(self) -> None:
        kind, make = KINDS[0]
        table = table_of(kind, make, 20)
        table.save(self.path)
        with self.assertRaises(ListError) as raised:
            MemberTable.load(self.path)
        self.assertEqual(raised.exception.kind, "other_payloads")
        raw = MemberTable.load(self.path, payloads="raw")
        member = raw.get(make(3))
        assert member is not None
        self.assertEqual(member.payload, '{"n":3,"name":"ééé"}'.encode())
        plain = MemberTable(int)
        plain.save(self.path)
        with self.assertRaises(ListError):
            MemberTable.load(self.path, payloads="raw")
        epochs = []
        for first_epoch in (40, 2, None):
            table = MemberTable.load(self.path, first_epoch=first_epoch)
            view = table.add_list(ListSpec("all", "all"))
            table.build()
            epochs.append(view.viewer().open("c:0").epoch)
        self.assertEqual(epochs[:2], [40, 2])
        self.assertGreater(epochs[2], 1_600_000_000_000)

    def test_other_threads_write_while_a_table_is_saved(self) -> None:
        table = MemberTable(int)
        for id in range(20_000):
            table.upsert(id, f"member {id}", attrs=[1 + id % 500])
        table.add_list(ListSpec("one", "one", admit=[Clause(all=[ONLINE])]))
        table.build()
        stop = threading.Event()

        def write() -> None:
            on = True
            while not stop.is_set():
                # All of them or none are in the list at any moment.
                change: Any = {"set": [ONLINE]} if on else {"clear": [ONLINE]}
                table.set_attrs_many(range(20_000), **change)
                on = not on
                for id in range(20):
                    table.set_key(id, 0, f"x{id}")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(5):
                table.save(self.path)
                loaded: MemberTable[int] = MemberTable.load(self.path)
                one = loaded.list_named("one")
                assert one is not None
                self.assertIn(one.member_count(), (0, 20_000))
                self.assertEqual(len(loaded), 20_000)
        finally:
            stop.set()
            writer.join()

    def test_one_save_at_a_time(self) -> None:
        table = MemberTable(int)
        for id in range(5_000):
            table.upsert(id, f"member {id:060}")
        seen: list[str] = []

        class Nosy(io.BytesIO):
            def write(self, data: Any, /) -> int:
                try:
                    table.save(io.BytesIO())
                except ListError as error:
                    seen.append(error.kind)
                return super().write(data)

        file = Nosy()
        table.save(file)
        # The last block is written after the end of the save.
        self.assertIn("running", seen)
        self.assertEqual(len(headcount.MemberTable.load(io.BytesIO(file.getvalue()))), 5_000)


if __name__ == "__main__":
    unittest.main()
