"""The frames that every language reads and writes alike, and the bundles that every client refuses."""

import copy
import json
import pathlib
import unittest
from typing import Any

import headcount
from headcount import Client, Presence, Tracker

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "core" / "tests" / "golden"
FRAMES = GOLDEN / "frames"


def golden(name: str) -> bytes:
    lines = (FRAMES / name).read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


class Golden(unittest.TestCase):
    def test_the_worked_example_is_written_byte_for_byte(self) -> None:
        a = Tracker("a", incarnation=1, salt=0)
        a.track("room", "ann", "phone", {})
        beginning = a.delta_since()
        assert beginning is not None
        a.track("room", "bob", "laptop")
        a.update("room", "ann", "phone", {}, status=2)
        a.untrack("room", "bob", "laptop")
        frame = golden("state-delta.hex")
        self.assertEqual(a.delta_since(1), frame)
        reader = Tracker("reader")
        with self.assertRaises(headcount.GapError) as caught:
            reader.apply(frame)
        self.assertEqual((caught.exception.clock, caught.exception.start), (0, 1))
        reader.apply(beginning)
        diff = reader.apply(frame)
        self.assertEqual([(u.key, u.new.status) for u in diff.updates], [("ann", 2)])
        self.assertEqual(reader.list("room"), a.list("room"))

    def test_a_full_state_of_every_encoding_is_read(self) -> None:
        reader = Tracker("reader")
        reader.apply(golden("state-repair-full.hex"))
        self.assertEqual(reader.topics(), ["bin", "crowd", "erl"])
        self.assertEqual(reader.count("crowd"), 30)
        (binary,) = reader.list("bin")
        self.assertEqual((binary.key, binary.owner, binary.meta), (b"\0\xff", b"\7", b"\xa5" * 300))
        (term,) = reader.list("erl")
        self.assertEqual((term.key, term.status), (bytes([131, 97, 7]), 1))
        crowd = {entry.key: entry for entry in reader.list("crowd")}
        self.assertIn("user 290", crowd)
        (node,) = {entry.node for entry in crowd.values()}
        self.assertEqual(node, "node-ä")
        (_, (replica, clock)) = reader.clocks()
        self.assertEqual((replica.incarnation, replica.salt), (1_700_000_000_000_000, 0xDEADBEEF))
        self.assertGreater(clock, 300)

    def test_a_relative_repair_needs_what_it_builds_on(self) -> None:
        reader = Tracker("reader")
        with self.assertRaises(headcount.GapError):
            reader.apply(golden("state-repair-relative.hex"))
        reader.apply(golden("state-repair-full.hex"))
        self.assertFalse(reader.apply(golden("state-repair-relative.hex")), "it is known already")

    def test_a_frame_of_elixir_is_read(self) -> None:
        reader = Tracker("reader")
        reader.apply(golden("state-elixir-json.hex"))
        owners = {str(entry.key): str(entry.owner) for entry in reader.list("room")}
        self.assertEqual(owners["ann"], "erlang:7.4294967295.4294967295")
        self.assertEqual(owners["bob"], "erlang:8.4294967295.4294967295@other@10.0.0.1")
        self.assertRegex(owners["cid"], r"^erlang:9\.4294967295\.4294967295@n@host.~[0-9a-f]{16}$")
        self.assertEqual(owners["dan"][:7], "erlang:")
        self.assertTrue(all(len(owner) <= 64 for owner in owners.values()))
        (ann,) = reader.get_by_key("room", "ann")
        self.assertEqual(ann.json(), {"device": "phone"})
        self.assertLessEqual(len(ann.node), 64)

    def test_a_keyed_frame_needs_the_key(self) -> None:
        frame = golden("state-delta-keyed.hex")
        with self.assertRaises(headcount.DecodeError):
            Tracker("reader").apply(frame)
        strangers = [
            Presence("b", cluster="cluster"),
            Presence("b", cluster="cluster", key=b"fedcba9876543210"),
            Presence("b", cluster="another", key=b"0123456789abcdef"),
        ]
        for stranger in strangers:
            with self.assertRaises(headcount.DecodeError):
                stranger.handle_message(1, "a", frame)
        friend = Presence("b", cluster="cluster", key=b"0123456789abcdef")
        with self.assertRaises(headcount.DecodeError):
            friend.handle_message(1, "a", frame[:-1])


def faulty(good: dict[str, Any], fault: dict[str, Any]) -> dict[str, Any]:
    """Return the good bundle with one fault."""
    bundle = copy.deepcopy(good)
    holder: Any = bundle
    *path, field = fault["at"].split("/")[1:]
    for name in path:
        holder = holder[int(name) if isinstance(holder, list) else name]
    place = int(field) if isinstance(holder, list) else field
    if fault.get("is") == "missing":
        del holder[place]
    elif "nested" in fault:
        holder[place] = json.loads("[" * fault["nested"] + "]" * fault["nested"])
    else:
        holder[place] = fault["value"]
    return bundle


class MalformedBundles(unittest.TestCase):
    def test_the_malformed_bundles_of_all_clients_are_refused_whole(self) -> None:
        vectors = json.loads((GOLDEN / "malformed-bundles" / "refused.json").read_text())
        client = Client()
        client.open("c:0")
        client.apply(vectors["good"])
        counts = client.counts
        self.assertIsNotNone(counts)
        for fault in vectors["refused"]:
            bundle = faulty(vectors["good"], fault)
            for form in (bundle, json.dumps(bundle)):
                with self.subTest(fault), self.assertRaises(headcount.DecodeError):
                    client.apply(form)
                self.assertEqual(client.counts, counts)


if __name__ == "__main__":
    unittest.main()
