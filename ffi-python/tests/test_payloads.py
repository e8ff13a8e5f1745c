"""What JSON becomes on its way: numbers that stay as they are, and nesting that has a limit."""

import json
import math
import random
import struct
import unittest
from typing import Any

from headcount import LimitError, MemberList, MemberTable, Tracker

DEPTH_MAX = 128


def nested(depth: int) -> Any:
    value: Any = []
    for level in range(depth - 1):
        value = [value] if level % 2 else {"[": value}
    return value


def floats(count: int) -> list[float]:
    """Return floats of any bits: every exponent is as likely."""
    rng = random.Random(11)
    found: list[float] = []
    while len(found) < count:
        (number,) = struct.unpack("<d", rng.randbytes(8))
        if math.isfinite(number):
            found.append(number)
    return found


class Json(unittest.TestCase):
    def test_every_float_comes_back_as_it_was(self) -> None:
        numbers = floats(20_000)
        tracker, ml = Tracker("a"), MemberList(int, groups=["g"], payloads="json")
        for id in range(0, len(numbers), 100):
            some = numbers[id : id + 100]
            tracker.track("room", str(id), "c", {"n": some})
            ml.upsert(id, "g", "name")
            ml.set_payload(id, {"n": some})
            (entry,) = tracker.get_by_key("room", str(id))
            self.assertEqual(entry.json(), {"n": some})
            ml.set_payload(id, json.dumps({"n": some}).encode())
            member = ml.get(id)
            assert member is not None and member.payload is not None
            self.assertEqual(json.loads(member.payload), {"n": some})

    def test_payloads_that_nest_too_deep_for_clients_are_refused(self) -> None:
        ml: MemberList[int] = MemberList(int, groups=["g"], payloads="json")
        table: MemberTable[int] = MemberTable(int, payloads="json")
        ml.upsert(1, "g", "ann")
        table.upsert(1, "ann")
        for target in (ml, table):
            for encode in (lambda value: value, lambda value: json.dumps(value).encode()):
                target.set_payload(1, encode(nested(DEPTH_MAX)))
                target.set_payload(1, encode("[" * 1_000 + '\\"' + "{" * 1_000))
                target.apply_batch([("set_payload", 1, encode(nested(DEPTH_MAX)))])
                for depth in (DEPTH_MAX + 1, 400):
                    with self.assertRaisesRegex(LimitError, "nests deeper than 128") as raised:
                        target.set_payload(1, encode(nested(depth)))
                    self.assertEqual(raised.exception.limit, DEPTH_MAX)
                    with self.assertRaises(LimitError):
                        target.apply_batch([("set_payload", 1, encode(nested(depth)))])


if __name__ == "__main__":
    unittest.main()
