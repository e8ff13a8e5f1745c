"""What a meta may be, and with which keys."""

import unittest
from typing import Any

from headcount import LimitError, Tracker


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Depth(unittest.TestCase):
    def test_a_meta_of_bytes_that_nests_deeper_than_128_is_no_json(self) -> None:
        t = Tracker("a")
        for depth in (1, 64, 65, 128):
            t.upsert("room", "ann", "conn", b"[" * depth + b"]" * depth)
            self.assertEqual(t.list("room")[0].json(), nested(depth))
        for json in (b"[" * 129 + b"]" * 129, b"[" * 1_000 + b"]" * 1_000, b"[" * 10_000, b'{"a":' * 3_000):
            t.upsert("room", "ann", "conn", json)
            entry = t.list("room")[0]
            self.assertRaisesRegex(ValueError, "^the meta nests deeper than 128$", entry.json)
            self.assertEqual(entry.meta, json)
        t.upsert("room", "ann", "conn", b'"' + b"[" * 1_000 + b'"')
        self.assertEqual(t.list("room")[0].json(), "[" * 1_000)

    def test_what_could_not_be_read_is_not_written(self) -> None:
        t = Tracker("a")
        t.track("room", "ann", "conn", nested(128))
        for depth in (129, 500):
            for write in (t.update, t.upsert):
                with self.assertRaisesRegex(LimitError, "^the meta nests deeper than 128$") as refused:
                    write("room", "ann", "conn", nested(depth))
                self.assertEqual(refused.exception.limit, 128)
        self.assertEqual(t.list("room")[0].json(), nested(128))


class KeysOfBytes(unittest.TestCase):
    def test_go_with_owners_and_metas_of_bytes(self) -> None:
        t = Tracker("a")
        for key, owner in ((b"a", "o"), ("a", b"o")):
            with self.assertRaisesRegex(TypeError, "must both be str or both be bytes"):
                t.track("room", key, owner)
        with self.assertRaisesRegex(TypeError, "the meta of a key of bytes must be bytes"):
            t.track("room", b"a", b"o", {"x": 1})
        t.track("room", b"a", b"o", b"\x00")
        t.track("room", "a", "o", {"x": 1})
        self.assertEqual(t.count_keys("room").at_least, 2)
        self.assertEqual(t.untrack_owner("o"), 2)


if __name__ == "__main__":
    unittest.main()
