"""Why entries left: in Diffs of presences, of trackers and of running nodes."""

import asyncio
import unittest
from collections.abc import Iterable
from typing import Any

import headcount
from headcount import Diff, Entry, Leave, MemoryNetwork, Presence, TopicDiff, Tracker, aio
from test_presence import Cluster
from waiting import until, wait_until

FAST: dict[str, Any] = {"heartbeat": 0.05, "down_after": 1.0}


def reasons(changes: Iterable[Diff | TopicDiff]) -> list[tuple[Any, Any, str]]:
    """Return (key, meta, reason) of all leaves, sorted."""
    return sorted((leave.key, leave.json(), leave.reason) for change in changes for leave in change.leaves)


class Presences(unittest.TestCase):
    def setUp(self) -> None:
        self.cluster = Cluster("a", "b")
        for key in ["ann", "bob", "cleo", "dan"]:
            self.a.track("room", key, f"conn of {key}", 1)
        self.cluster.run(2)
        self.assertEqual([len(node.list("room")) for node in self.cluster.nodes.values()], [4, 4])

    @property
    def a(self) -> Presence:
        return self.cluster.nodes["a"]

    def left(self, name: str) -> list[tuple[Any, Any, str]]:
        outputs = self.cluster.outputs[name]
        return reasons(output for output in outputs if isinstance(output, Diff))

    def test_the_origin_says_why(self) -> None:
        self.assertTrue(self.a.untrack("room", "ann", "conn of ann"))
        self.a.untrack_owner("conn of bob")
        self.a.lease(self.cluster.now, "room", "cleo", "conn of cleo", 1)
        self.a.update("room", "dan", "conn of dan", 2)
        self.a.update("room", "dan", "conn of dan", 3)
        self.cluster.run(2)
        shared = [("ann", 1, "untracked"), ("bob", 1, "owner_gone"), ("cleo", 1, "expired")]
        self.assertEqual(self.left("a"), [*shared, ("dan", 2, "updated")])
        self.assertEqual(self.left("b"), shared)

    def test_a_node_that_is_silent_and_one_that_leaves(self) -> None:
        self.cluster.cut = {"a"}
        self.cluster.run(2)
        keys = ["ann", "bob", "cleo", "dan"]
        self.assertEqual(self.left("b"), [(key, 1, "replica_down") for key in keys])
        self.cluster.cut = set()
        self.cluster.run(2)
        self.cluster.outputs["b"].clear()
        self.a.leave_gracefully(self.cluster.now)
        self.cluster.run(1)
        self.assertEqual(self.left("b"), [(key, 1, "replica_left") for key in keys])


class Trackers(unittest.TestCase):
    def test_a_leave_is_an_entry_with_a_reason(self) -> None:
        a, b = Tracker("a"), Tracker("b")
        a.track("room", "ann", "conn", {"n": 1})
        (entry,) = a.list("room")
        a.take_diff()
        frame = a.delta_since()
        assert frame is not None
        b.apply(frame)
        (forgotten,) = b.forget(a.replica).leaves
        self.assertEqual(forgotten.reason, "replica_forgotten")
        a.untrack("room", "ann", "conn")
        diff = a.take_diff()
        (leave,) = diff.leaves
        self.assertIsInstance(leave, Leave)
        self.assertIsInstance(leave, Entry)
        self.assertEqual(leave, entry)
        self.assertEqual({leave, entry}, {entry})
        self.assertEqual((leave.ref, leave.json(), leave.reason), (entry.ref, {"n": 1}, "untracked"))
        self.assertEqual(repr(leave), f"Leave({repr(entry)[len('Entry('):-1]}, reason='untracked')")
        self.assertEqual(diff["room"].leaves, [entry])


class Nodes(unittest.IsolatedAsyncioTestCase):
    async def test_changes_of_two_nodes_in_asyncio(self) -> None:
        network = MemoryNetwork()
        async with aio.connect(network, name="a", **FAST) as a, aio.connect(network, name="b", **FAST) as b:
            a.track("room", "ann", "conn of ann", 1)
            a.track("room", "bob", "conn of bob", 1)
            await until(lambda: len(b.list("room")) == 2)
            async with b.subscribe("room") as changes:
                await anext(changes)
                a.untrack_owner("conn of ann")
                self.assertEqual(reasons([await anext(changes)]), [("ann", 1, "owner_gone")])
                await a.stop()
                last = await asyncio.wait_for(anext(changes), 10)
                self.assertEqual(reasons([last]), [("bob", 1, "replica_left")])

    def test_changes_of_two_nodes_in_threads(self) -> None:
        network = MemoryNetwork()
        with (
            headcount.connect(network, name="a", **FAST) as a,
            headcount.connect(network, name="b", **FAST) as b,
        ):
            a.track("room", "ann", "conn of ann", 1)
            wait_until(lambda: len(b.list("room")) == 1)
            with b.subscribe("room") as changes:
                next(changes)
                a.untrack("room", "ann", "conn of ann")
                self.assertEqual(reasons([next(changes)]), [("ann", 1, "untracked")])
