"""What tests of saved lists and of saved tables share."""

import io
import pathlib
import tempfile
import unittest
from collections.abc import Callable
from typing import BinaryIO

from headcount import DecodeError


class SavedFiles(unittest.TestCase):
    """Has a path in a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "gespeicherte Mitglieder.bin"

    def assert_broken_files_are_refused(self, whole: bytes, load: Callable[[BinaryIO], object]) -> None:
        for cut in range(len(whole)):
            with self.assertRaises(DecodeError) as raised:
                load(io.BytesIO(whole[:cut]))
            self.assertLessEqual(raised.exception.offset, cut)
            self.assertEqual(raised.exception.kind, "cut" if cut else "not_a_save")
        for at in range(len(whole)):
            altered = bytearray(whole)
            altered[at] ^= 1 << at % 8
            with self.assertRaises(DecodeError):
                load(io.BytesIO(altered))
        with self.assertRaises(DecodeError) as raised:
            load(io.BytesIO(whole + b"x"))
        self.assertEqual((raised.exception.kind, raised.exception.offset), ("damaged", len(whole)))
        newer = whole[:8] + b"\x03" + whole[9:]
        with self.assertRaisesRegex(DecodeError, "version 3"):
            load(io.BytesIO(newer))
