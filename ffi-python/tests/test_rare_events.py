"""Events that come of nodes that are not well, and of very many: what a program and its log are told."""

import asyncio
import logging
import pathlib
import unittest
from collections.abc import Iterable
from typing import Any

import headcount
from headcount import Event, Presence, Transmit, aio
from interest import event_of
from waiting import until

EVENTS = pathlib.Path(__file__).resolve().parents[2] / "core" / "tests" / "golden" / "events"
PEERS_MAX = 4_096
AT_ONCE = 256


def vector(name: str) -> list[bytes]:
    """Return the frames of a shared vector."""
    lines = (EVENTS / name).read_text().splitlines()
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]


def hello(number: int) -> list[bytes]:
    """Return the first frames of a node."""
    node = Presence(f"node {number}", cluster="events")
    node.handle_timeout(0.0)
    return [output.frame for output in node.poll() if isinstance(output, Transmit)]


class Wire:
    """A transport whose frames come from a test."""

    frame_max = 65_536

    def __init__(self) -> None:
        self.arrivals: asyncio.Queue[bytes] = asyncio.Queue()

    def carry(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.arrivals.put_nowait(frame)

    def send(self, to: str | None, frame: bytes) -> None:
        pass

    async def receive(self) -> tuple[str, bytes | None]:
        return "peer", await self.arrivals.get()

    async def close(self) -> None:
        pass


class RareEvents(unittest.IsolatedAsyncioTestCase):
    async def told(self, kind: str, name: str) -> tuple[Event, headcount.Stats, list[str]]:
        """Return the event of this kind that the frames of a vector cause, the counts then, and the log."""
        wire = Wire()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            async with aio.connect(wire, name="reader", cluster="events") as node, node.events() as events:
                wire.carry(vector(name))
                event = await asyncio.wait_for(event_of(events, kind), 20)
                await until(lambda: bool(logged.records))
                return event, node.stats(), logged.output

    async def test_entries_over_a_limit_are_refused(self) -> None:
        event, stats, logged = await self.told("refused", "refused.hex")
        assert event.replica is not None and event.partition is not None and event.reason is not None
        self.assertEqual(event.replica.name, "wide")
        self.assertIn(event.partition, range(32))
        self.assertIn("length 200 is above the limit of 64", event.reason)
        self.assertEqual((stats["refused_entries"], stats["divergences"], stats["entries"]), (1, 0, 0))
        self.assertEqual(logged, [f"WARNING:headcount:node 'reader': {event!r}"])

    async def test_two_nodes_of_one_identity_diverge(self) -> None:
        event, stats, logged = await self.told("divergence", "divergence.hex")
        assert event.replica is not None
        self.assertEqual(event.replica.name, "twin")
        self.assertIn(event.partition, range(32))
        self.assertEqual((stats["divergences"], stats["refused_entries"]), (1, 0))
        self.assertEqual(
            logged,
            [f"ERROR:headcount:node 'reader': the entries of {event.replica} differed and are fetched again"],
        )

    async def test_two_ids_of_one_hash_collide(self) -> None:
        event, _, logged = await self.told("handle_collision", "handle_collision.hex")
        assert event.replica is not None
        self.assertEqual(event.replica.name, "bob-07")
        self.assertEqual(logged, [f"ERROR:headcount:node 'reader': {event!r}"])

    async def test_a_node_too_many_is_not_let_in(self) -> None:
        wire = Wire()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            times: dict[str, Any] = {"down_after": 3_600.0, "forget_after": 9_000.0}
            async with aio.connect(wire, name="reader", cluster="events", **times) as node:
                # Events that nobody reads in time are lost, so they come in bunches.
                for first in range(0, PEERS_MAX, AT_ONCE):
                    for number in range(first, first + AT_ONCE):
                        wire.carry(hello(number))
                    await until(lambda count=first + AT_ONCE: len(node.replicas()) == count)  # type: ignore[misc]
                async with node.events() as events:
                    wire.carry(hello(PEERS_MAX))
                    event = await asyncio.wait_for(event_of(events, "peer_limit"), 20)
                    await until(lambda: bool(logged.records))
                assert event.replica is not None
                self.assertEqual(event.replica.name, f"node {PEERS_MAX}")
                self.assertEqual(len(node.replicas()), PEERS_MAX)
        self.assertEqual(logged.output, [f"WARNING:headcount:node 'reader': {event!r}"])


if __name__ == "__main__":
    unittest.main()
