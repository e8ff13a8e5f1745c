"""Counts without entries, in mode `interest`: over memory, TCP and frames that a test carries."""

import asyncio
import gc
import logging
import threading
import unittest
from typing import Any

import headcount
from headcount import (
    Diff,
    Keys,
    LimitError,
    MemoryNetwork,
    NodeStopped,
    NotReady,
    NotWatched,
    Presence,
    Tracker,
    aio,
)
from headcount.aio import StreamTransport
from interest import FAST, Carried, connect, event_of
from waiting import keys, until, wait_until

COUNTS: dict[str, Any] = {"counts": True}
TOPICS = ["room", "", "é" * 128, "Ζωή 🦀 \0 * > . #"]
"""The longest name, and others that a program might trip over."""
NEVER: dict[str, Any] = {"heartbeat": 600.0, "down_after": 6_000.0, "forget_after": 9_000.0, **COUNTS}
"""A watch is ready after two heartbeats."""


def counted(node: Presence | headcount.Node | aio.Node, topic: str) -> tuple[int, int, int]:
    """The entries, and the bounds of the keys."""
    bounds = node.count_keys(topic)
    return node.count(topic), bounds.at_least, bounds.at_most


class Bounds(unittest.TestCase):
    def test_a_tracker_has_the_exact_number(self) -> None:
        tracker = Tracker("a")
        for owner in ("phone", "laptop"):
            tracker.track("room", "ann", owner)
        one, none = tracker.count_keys("room"), tracker.count_keys("hall")
        self.assertEqual((one.at_least, one.at_most, one.is_exact), (1, 1, True))
        self.assertEqual(repr(one), "<Keys at_least=1 at_most=1>")
        self.assertEqual({one, none, tracker.count_keys("room")}, {one, none})
        self.assertNotEqual(one, none)
        match one:
            case Keys(at_least, at_most):
                self.assertEqual((at_least, at_most), (1, 1))
            case _:
                self.fail("it has its bounds by position")
        with self.assertRaises(AttributeError):
            one.at_least = 2  # type: ignore[misc]


class SansIo(Carried):
    counts = True

    def test_a_node_counts_what_it_does_not_hold(self) -> None:
        c = self.nodes["c"]
        self.run_for(3)
        for read in (c.count, c.count_keys):
            with self.assertRaisesRegex(NotWatched, '"room" is not watched'):
                read("room")
        for topic in TOPICS:
            with self.subTest(topic=topic):
                self.count(topic)
        self.run_for(12)
        self.assertEqual((len(c), self.groups["c"]), (0, set()))

    def count(self, topic: str) -> None:
        a, b, c = self.nodes.values()
        for n in range(50):
            a.track(topic, f"Zoë {n}", "phone")
            a.track(topic, f"Zoë {n}", "laptop")
            b.track(topic, f"Åsa {n}", "conn")
        b.track(topic, "Zoë 7", "conn")
        self.run_for(2)
        c.watch_counts(self.now, topic)
        c.watch_counts(self.now, topic)
        with self.assertRaises(NotReady):
            c.count(topic)
        self.run_for(0.1)
        ready = self.events("c", "counts_ready")[-1]
        self.assertEqual((ready.topic, ready.missing), (topic, []))
        assert ready.age is not None
        self.assertLess(ready.age, 1.1)
        self.assertRegex(repr(ready), r"<Event counts_ready .* missing=\[\]>")
        self.assertEqual(counted(c, topic), (151, 51, 101), "a key on two nodes may count twice")
        self.assertFalse(c.count_keys(topic).is_exact)

        a.untrack_owner("laptop")
        b.track(topic, "new", "conn")
        c.track(topic, "own", "conn")
        self.assertEqual(counted(c, topic)[0], 152, "own entries count at once")
        self.run_for(2)
        self.assertEqual(counted(c, topic), (103, 52, 103))
        c.untrack_owner("conn")
        for n in range(50):
            a.upsert(topic, f"Zoë {n}", "laptop")
        self.run_for(2)
        self.assertEqual(counted(c, topic), (152, 52, 102))
        c.unwatch_counts(self.now, "none")
        self.assertEqual(len(c), 0)
        diffs = [out for out in self.outputs["c"] if isinstance(out, Diff) and topic in out]
        self.assertEqual([entry.key for diff in diffs for entry in diff.joins if entry.key != "own"], [])
        for read in (c.list, lambda topic: c.get_by_key(topic, "new"), lambda topic: (topic, "new") in c):
            with self.assertRaises(NotWatched):
                read(topic)

        c.unwatch_counts(self.now, topic)
        self.assertEqual(c.count(topic), 152, "they are watched twice")
        for _ in range(2):
            c.unwatch_counts(self.now, topic)
            with self.assertRaises(NotWatched):
                c.count(topic)

    def test_entries_answer_once_they_are_ready(self) -> None:
        a, b, c = self.nodes.values()
        for node in (a, b):
            node.track("room", "ann", "conn")
        c.watch_counts(self.now, "room")
        self.run_for(3)
        self.assertEqual(counted(c, "room"), (2, 1, 2))
        c.watch(self.now, "room")
        self.assertEqual(counted(c, "room"), (2, 1, 2), "until they are ready")
        self.run_for(0.1)
        self.assertEqual((counted(c, "room"), len(c)), ((2, 1, 1), 2))
        c.unwatch_counts(self.now, "room")
        self.assertEqual(counted(c, "room"), (2, 1, 1))
        c.unwatch(self.now, "room")
        with self.assertRaises(NotWatched):
            c.count("room")

    def test_options_and_topics_that_cannot_be(self) -> None:
        options: dict[str, Any]
        for options in ({}, {"mode": "all"}, {"relay": True}):
            with self.assertRaisesRegex(ValueError, 'counts are for mode "interest"'):
                Presence("a", counts=True, **options)
            with self.assertRaisesRegex(ValueError, 'counts are for mode "interest"'):
                headcount.connect(MemoryNetwork(), counts=True, **options)
        with self.assertRaisesRegex(LimitError, "at most 32768 partitions") as raised:
            Presence("a", mode="interest", counts=True, partitions=65_536)
        self.assertEqual(raised.exception.limit, 32_768)
        Presence("a", mode="interest", counts=True, partitions=32_768)
        with self.assertRaises(TypeError):
            Presence("a", mode="interest", counts=1)  # type: ignore[arg-type]
        a = Presence("a", mode="interest", counts=True)
        with self.assertRaises(LimitError):
            a.watch_counts(0.0, "x" * 257)
        a.unwatch_counts(0.0, "x" * 257)
        with self.assertRaises(NotWatched):
            a.count("x" * 257)
        again, _ = Presence.restore(a.snapshot(), "a", mode="interest", counts=True)
        again.watch_counts(0.0, "room")
        with self.assertRaises(NotReady):
            again.count("room")

    def test_mode_all_counts_every_topic(self) -> None:
        a = Presence("a", mode="all")
        a.track("room", "ann", "conn")
        a.watch_counts(0.0, "room")
        self.assertEqual(counted(a, "room"), (1, 1, 1))
        a.unwatch_counts(0.0, "room")
        self.assertEqual((counted(a, "room"), a.poll_subscription()), ((1, 1, 1), None))


class WithoutCounts(Carried):
    def test_the_entries_are_watched(self) -> None:
        a, _, c = self.nodes.values()
        a.track("room", "ann", "conn")
        c.watch_counts(self.now, "room")
        self.run_for(3)
        self.assertEqual((counted(c, "room"), [e.key for e in c.list("room")]), ((1, 1, 1), ["ann"]))
        self.assertEqual(len(self.events("c", "topic_ready")), 1)
        c.unwatch_counts(self.now, "room")
        with self.assertRaises(NotWatched):
            c.list("room")


class Memory(unittest.IsolatedAsyncioTestCase):
    async def test_three_nodes_count_what_they_do_not_hold(self) -> None:
        network = MemoryNetwork()
        async with (
            connect(network, "a", **COUNTS) as a,
            connect(network, "b", **COUNTS) as b,
            connect(network, "c", **COUNTS) as c,
        ):
            for n in range(50):
                a.track("room", f"user {n}", "conn")
                b.track("room", f"user {n + 25}", "conn")
            await asyncio.wait_for(c.synced(), 20)
            for read in (c.count, c.count_keys):
                with self.assertRaises(NotWatched):
                    read("room")
            async with c.events() as events, c.watch_counts("room") as watch:
                await asyncio.wait_for(watch.ready(), 20)
                await watch.ready()
                self.assertEqual(repr(watch), "<Watch of the counts of 'room'>")
                ready = await event_of(events, "counts_ready")
                self.assertEqual((ready.topic, ready.missing), ("room", []))
                await until(lambda: counted(c, "room") == (100, 50, 100))
                stats = c.stats()
                self.assertEqual((stats["entries"], stats["topics"], stats["watches"], len(c)), (0, 0, 1, 0))
                with self.assertRaises(NotWatched):
                    c.list("room")
                with self.assertRaises(NotWatched):
                    c.subscribe("room")
                a.untrack("room", "user 7", "conn")
                b.track("room", "bob", "conn")
                await until(lambda: counted(c, "room") == (100, 51, 100))
                await b.stop(graceful=False)
                await until(lambda: counted(c, "room") == (49, 49, 49))
                await a.stop()
                await until(lambda: counted(c, "room") == (0, 0, 0))
            with self.assertRaises(NotWatched):
                c.count("room")
            with self.assertRaises(NotWatched):
                await watch.ready()
            self.assertEqual(c.stats()["watches"], 0)

    async def test_watches_are_counted_beside_those_of_entries(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a", **COUNTS) as a, connect(network, "b", **COUNTS) as b:
            a.track("room", "ann", "conn")
            with self.assertRaises(LimitError):
                b.watch_counts("x" * 257)
            first, second, entries = b.watch_counts("room"), b.watch_counts("room"), b.watch("room")
            await first.ready()
            await entries.ready()
            await until(lambda: keys(b, "room") == ["ann"])
            self.assertEqual(b.stats()["watches"], 3)
            entries.close()
            first.close()
            first.close()
            with self.assertRaises(NotWatched):
                b.list("room")
            await until(lambda: counted(b, "room") == (1, 1, 1))
            await until(lambda: len(b) == 0)
            del second
            gc.collect()
            with self.assertRaises(NotWatched):
                b.count("room")
            self.assertEqual(b.stats()["watches"], 0)

    async def test_a_wait_ends_with_its_watch_and_with_the_node(self) -> None:
        async with connect(MemoryNetwork(), "a", **NEVER) as a:
            watch = a.watch_counts("room")
            waiting = asyncio.create_task(watch.ready())
            await until(lambda: len(a._waiting) == 1)
            watch.close()
            with self.assertRaises(NotWatched):
                await waiting
            other = a.watch_counts("hall")
            waiting = asyncio.create_task(other.ready())
            await until(lambda: len(a._waiting) == 1)
            await a.stop()
            with self.assertRaises(NodeStopped):
                await waiting
            with self.assertRaises(NodeStopped):
                a.watch_counts("room")

    async def test_cancelled_watchers_leave_nothing_behind(self) -> None:
        async with connect(MemoryNetwork(), "a", **NEVER) as a:

            async def look(topic: str) -> None:
                async with a.watch_counts(topic) as watch:
                    await watch.ready()

            tasks = [asyncio.create_task(look(f"room {n % 500}")) for n in range(2_000)]
            await until(lambda: len(a._waiting) == 2_000)
            with self.assertRaises(NotReady):
                a.count("room 7")
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            self.assertEqual({type(end) for end in ends}, {asyncio.CancelledError})
            self.assertEqual((a.stats()["watches"], a._waiting), (0, {}))
            with self.assertRaises(NotWatched):
                a.count("room 7")

    async def test_nodes_that_are_missing_are_named_until_they_are_down(self) -> None:
        network = MemoryNetwork()
        options = {"ready_after": 0.2, "down_after": 3.0, **COUNTS}
        nodes = [connect(network, name, **options) for name in "abc"]
        async with nodes[0] as a, nodes[1] as b, nodes[2] as c, b.events() as events:
            a.track("room", "ann", "conn")
            c.track("room", "cleo", "conn")
            await until(lambda: b.is_synced() and len(b.replicas()) == 2)
            network.cut("b", "c")
            with self.assertLogs("headcount", logging.WARNING) as logged:
                async with b.watch_counts("room") as watch:
                    await watch.ready()
                    first = await event_of(events, "counts_ready")
                    self.assertEqual([replica.name for replica in first.missing or []], ["c"])
                    self.assertEqual(b.count("room"), 1)
                    second = await event_of(events, "counts_ready")
                    self.assertEqual((second.topic, second.missing), ("room", []))
        self.assertIn("the topic 'room' can be counted, but without c", "\n".join(logged.output))

    async def test_a_node_that_does_not_count_is_not_heard(self) -> None:
        network = MemoryNetwork()
        with self.assertLogs("headcount", logging.ERROR) as logged:
            async with connect(network, "a", **COUNTS) as a, a.events() as events, connect(network, "b") as b:
                event = await event_of(events, "shape_mismatch")
                self.assertEqual(event.shapes, ((4_096, "interest", True, False), (4_096, "interest", False, False)))
                self.assertEqual((a.replicas(), b.replicas()), ([], []))
        self.assertIn("in mode interest with counts", "\n".join(logged.output))


class Threads(unittest.TestCase):
    def test_a_node_for_threads_counts(self) -> None:
        network = MemoryNetwork()
        with (
            headcount.connect(network, name="a", **FAST, **COUNTS) as a,
            headcount.connect(network, name="b", **FAST, **COUNTS) as b,
        ):
            a.track("room", "ann", "conn")
            with self.assertRaises(NotWatched):
                b.count("room")
            with b.watch_counts("room") as watch:
                watch.ready(timeout=20)
                wait_until(lambda: counted(b, "room") == (1, 1, 1))
                a.track("room", "bob", "conn")
                wait_until(lambda: counted(b, "room") == (2, 2, 2))
                self.assertEqual((len(b), b.stats()["watches"]), (0, 1))
            with self.assertRaises(NotWatched):
                watch.ready()
            with self.assertRaises(NotWatched):
                b.count("room")

    def test_a_wait_has_a_timeout_and_ends_with_the_watch(self) -> None:
        with headcount.connect(MemoryNetwork(), name="a", **{**FAST, **NEVER}) as a:
            watch = a.watch_counts("room")
            with self.assertRaises(TimeoutError):
                watch.ready(timeout=0.05)
            threading.Timer(0.1, watch.close).start()
            with self.assertRaises(NotWatched):
                watch.ready(timeout=20)
            self.assertEqual((a.stats()["watches"], a._waiting), (0, {}))


class Streams(unittest.IsolatedAsyncioTestCase):
    async def test_nodes_over_tcp_count(self) -> None:
        ends = [StreamTransport(name) for name in "ab"]
        port = await ends[0].listen()
        await ends[1].connect("127.0.0.1", port)
        async with connect(ends[0], "a", **COUNTS) as a, connect(ends[1], "b", **COUNTS) as b:
            await until(lambda: len(b.replicas()) == 1 and b.is_synced())
            text = "x" * 1_000
            async with b.watch_counts("room") as watch:
                await watch.ready()
                before = b.stats()["received"]
                for n in range(300):
                    a.track("room", f"user {n}", "conn", {"text": text})
                await until(lambda: counted(b, "room") == (300, 300, 300))
                after = b.stats()["received"]
                sent = sum(of["bytes"] for of in after.values()) - sum(of["bytes"] for of in before.values())
                self.assertLess(sent, 20_000, "entries are not sent to a node that counts")
                await until(lambda: len(ends[0]._links["b"].groups) == 1)
            await until(lambda: not ends[0]._links["b"].groups)


if __name__ == "__main__":
    unittest.main()
