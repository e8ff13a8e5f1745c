"""Nodes in mode `interest`, which notice soon what others do, and stop doing."""

import unittest
from typing import Any

import headcount
from headcount import Diff, Event, GroupSubscription, MemoryNetwork, Presence, Transmit, aio

FAST: dict[str, Any] = {
    "mode": "interest",
    "partitions": 4_096,
    "heartbeat": 0.05,
    "down_after": 1.0,
    "unwatch_after": 0.3,
}


def connect(where: "MemoryNetwork | aio.Transport", name: str, **options: Any) -> aio.Node:
    return aio.connect(where, name=name, **{**FAST, **options})


def deltas(node: headcount.Node | aio.Node) -> int:
    """The frames of changes that a node was sent."""
    received = node.stats()["received"]
    return received["delta"]["frames"] if "delta" in received else 0


async def event_of(events: aio.Subscription[Event], kind: str) -> Event:
    """The next event of a kind."""
    return await anext(event async for event in events if event.kind == kind)


class Carried(unittest.TestCase):
    """Presences whose frames a test carries, by groups."""

    counts = False

    def setUp(self) -> None:
        options: dict[str, Any] = {"mode": "interest", "partitions": 4_096, "unwatch_after": 10.0}
        self.nodes = {name: Presence(name, counts=self.counts, **options) for name in "abc"}
        self.groups: dict[str, set[int]] = {name: set() for name in self.nodes}
        self.sent: dict[str, int] = dict.fromkeys(self.nodes, 0)
        self.outputs: dict[str, list[Event | Diff]] = {name: [] for name in self.nodes}
        self.now = 0.0

    def run_for(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            for name, node in self.nodes.items():
                node.handle_timeout(self.now)
                for output in node.poll():
                    self.take(name, output)

    def take(self, name: str, output: GroupSubscription | Transmit | Event | Diff) -> None:
        match output:
            case GroupSubscription(partition, True):
                self.groups[name].add(partition)
            case GroupSubscription(partition, _):
                self.groups[name].remove(partition)
            case Transmit():
                for to, groups in self.groups.items():
                    is_meant = output.to in (None, to)
                    if output.partition is not None:
                        is_meant = output.partition in groups
                    if to != name and is_meant:
                        self.sent[to] += len(output.frame)
                        self.nodes[to].handle_message(self.now, name, output.frame)
            case _:
                self.outputs[name].append(output)

    def events(self, name: str, kind: str) -> list[Event]:
        return [out for out in self.outputs[name] if isinstance(out, Event) and out.kind == kind]
