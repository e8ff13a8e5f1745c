"""Mode `interest`: nodes hold and are sent what they watch, over memory, TCP and transports of one's own."""

import asyncio
import contextlib
import gc
import logging
import threading
import unittest
from typing import Any

import headcount
from headcount import (
    Diff,
    Event,
    MemoryNetwork,
    NodeStopped,
    NotReady,
    NotWatched,
    Presence,
    Transmit,
    aio,
)
from headcount.aio import StreamTransport
from interest import FAST, Carried, connect, deltas, event_of
from waiting import keys, until, wait_until


class SansIo(Carried):
    def test_a_node_holds_what_it_watches_and_nothing_else(self) -> None:
        a, b, c = self.nodes.values()
        for n in range(100):
            a.track("room", f"ann {n}", "conn")
            b.track("hall", f"bob {n}", "conn")
        self.run_for(3)
        self.assertEqual((len(a), len(b), len(c)), (100, 100, 0))
        for node in (a, c):
            for read in (node.list, node.count, node.count_keys):
                with self.assertRaisesRegex(NotWatched, '"room" is not watched'):
                    read("room")
        with self.assertRaises(NotWatched):
            c.get_by_key("room", "ann 1")
        own = a.get_own("room", "ann 1", "conn")
        assert own is not None
        self.assertEqual((own.key, own.node, a.count_own("room"), c.count_own("room")), ("ann 1", "a", 100, 0))
        self.assertIsNone(c.get_own("room", "ann 1", "conn"))
        self.assertEqual((a.topics(), c.topics()), (["room"], []))
        with self.assertRaises(NotWatched):
            print(("room", "ann 1") in c)
        c.watch(self.now, "room")
        c.watch(self.now, "room")
        with self.assertRaises(NotReady) as raised:
            c.list("room")
        self.assertEqual(raised.exception.topic, "room")
        self.assertIsInstance(raised.exception, headcount.ReadError)
        self.run_for(0.1)
        (ready,) = [out for out in self.outputs["c"] if isinstance(out, Event) and out.kind == "topic_ready"]
        self.assertEqual((ready.topic, ready.missing), ("room", []))
        assert ready.age is not None
        self.assertLess(ready.age, 1.1)
        self.assertRegex(repr(ready), r'<Event topic_ready "room" missing=\[\]>')
        self.assertEqual((c.count("room"), len(c)), (100, 100))

        self.outputs["c"].clear()
        before = self.sent["c"]
        for n in range(1_000):
            b.track("hall", f"eve {n}", "conn")
        self.run_for(3)
        self.assertLess(self.sent["c"] - before, 3 * 4 * 100, "the Beats of two nodes, and no change")
        a.track("room", "cleo", "conn")
        self.run_for(0.1)
        (change,) = [out for out in self.outputs["c"] if isinstance(out, Diff)]
        self.assertEqual(([e.key for e in change.joins], list(change)), (["cleo"], ["room"]))

        c.unwatch(self.now, "room")
        self.assertEqual(c.count("room"), 101, "it is watched twice")
        c.unwatch(self.now, "room")
        c.unwatch(self.now, "room")
        with self.assertRaises(NotWatched):
            c.count("room")
        self.run_for(9)
        self.assertEqual(len(c), 101)
        self.run_for(2)
        self.assertEqual((len(c), self.groups["c"]), (0, set()))

    def test_what_a_transport_is_told(self) -> None:
        a = self.nodes["a"]
        self.assertIsNone(a.poll_subscription())
        a.watch(0.0, "room")
        change = a.poll_subscription()
        assert change is not None
        self.assertTrue(change.is_wanted)
        self.assertEqual(repr(change), f"<GroupSubscription partition={change.partition} is_wanted=True>")
        again = Presence("a", mode="interest", partitions=4_096)
        again.watch(0.0, "room")
        self.assertEqual(change, again.poll_subscription())
        self.nodes["b"].watch(0.0, "room")
        self.nodes["b"].track("room", "bob", "conn")
        self.nodes["b"].handle_timeout(0.0)
        self.nodes["b"].handle_timeout(0.1)
        frames = [out for out in self.nodes["b"].poll() if isinstance(out, Transmit)]
        (delta,) = [frame for frame in frames if frame.partition is not None]
        self.assertEqual((delta.partition, delta.to), (change.partition, None))
        self.assertEqual(repr(delta), f"<Transmit partition={change.partition} {len(delta.frame)} bytes>")

    def test_modes_that_cannot_be(self) -> None:
        with self.assertRaisesRegex(ValueError, 'mode is "all" or "interest"'):
            Presence("a", mode="some")  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, 'relay is for mode "all"'):
            Presence("a", mode="interest", relay=True)
        with self.assertRaises(TypeError):
            Presence("a", mode=1)  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            Presence("a", unwatch_after=-1.0)

    def test_mode_all_reads_every_topic(self) -> None:
        a = Presence("a", mode="all")
        a.track("room", "ann", "conn")
        a.watch(0.0, "room")
        a.unwatch(0.0, "room")
        self.assertEqual((a.count("room"), a.count("hall"), a.poll_subscription()), (1, 0, None))


class Memory(unittest.IsolatedAsyncioTestCase):
    async def test_three_nodes_hold_what_they_watch(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a, connect(network, "b") as b, connect(network, "c") as c:
            for n in range(50):
                a.track("room", f"ann {n}", "conn")
                b.track("room", f"bob {n}", "conn")
                b.track("hall", f"bob {n}", "conn")
            await asyncio.wait_for(c.synced(), 20)
            self.assertEqual(len(c), 0)
            for read in (c.list, c.count, c.subscribe, a.list):
                with self.assertRaises(NotWatched):
                    read("room")
            async with c.events() as events, c.watch("room") as watch:
                await asyncio.wait_for(watch.ready(), 20)
                await watch.ready()
                self.assertEqual(repr(watch), "<Watch 'room'>")
                self.assertEqual((c.count("room"), len(c), c.stats()["watches"]), (100, 100, 1))
                ready = await event_of(events, "topic_ready")
                self.assertEqual((ready.topic, ready.missing), ("room", []))
                async with c.subscribe("room") as changes:
                    self.assertEqual(len((await anext(changes)).joins), 100)
                    before = deltas(c)
                    for n in range(20):
                        a.track("hall", f"ann {n}", "conn")
                        await asyncio.sleep(0.01)
                    a.untrack("room", "ann 7", "conn")
                    self.assertEqual([e.key for e in (await anext(changes)).leaves], ["ann 7"])
                    self.assertEqual(deltas(c), before + 1, "what is not watched does not arrive")
                await b.stop(graceful=False)
                await until(lambda: c.count("room") == 49)
            with self.assertRaises(NotWatched):
                c.list("room")
            self.assertGreater(len(c), 0, "a watch that begins again costs nothing")
            await until(lambda: len(c) == 0)
            self.assertEqual((c.stats()["watches"], c.topics()), (0, []))

    async def test_a_node_that_watches_nothing_is_sent_beats_alone(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a, connect(network, "b") as b:
            await until(lambda: a.is_synced() and b.is_synced())
            for n in range(1_000):
                a.track(f"room {n % 100}", f"user {n}", "conn")
            await until(lambda: "delta" in a.stats()["sent"])
            self.assertEqual(a.stats()["unsent"], 0)
            before = b.stats()["received"]["beat"]["frames"]
            for n in range(1_000):
                a.update(f"room {n % 100}", f"user {n}", "conn", {"n": n})
            await until(lambda: b.stats()["received"]["beat"]["frames"] > before + 3)
            self.assertEqual((deltas(b), len(b)), (0, 0))
            self.assertLessEqual(b.stats()["received"].keys(), {"hello", "beat", "index", "index_full"})

    async def test_nodes_that_are_missing_are_named_until_they_are_down(self) -> None:
        network = MemoryNetwork()
        options = {"ready_after": 0.2, "down_after": 3.0}
        nodes = [connect(network, name, **options) for name in "abc"]
        async with nodes[0] as a, nodes[1] as b, nodes[2] as c, b.events() as events:
            a.track("room", "ann", "conn")
            c.track("room", "cleo", "conn")
            await until(lambda: b.is_synced() and len(b.replicas()) == 2)
            network.cut("b", "c")
            with self.assertLogs("headcount", logging.WARNING) as logged:
                async with b.watch("room") as watch:
                    await watch.ready()
                    self.assertEqual(keys(b, "room"), ["ann"])
                    first = await event_of(events, "topic_ready")
                    self.assertEqual([replica.name for replica in first.missing or []], ["c"])
                    self.assertIn("missing=[", repr(first))
                    second = await event_of(events, "topic_ready")
                    self.assertEqual((second.topic, second.missing), ("room", []))
                    self.assertEqual([up for replica, up in b.replicas() if replica.name == "c"], [False])
        self.assertIn("the topic 'room' can be read, but without c", "\n".join(logged.output))

    async def test_watches_are_counted(self) -> None:
        async with connect(MemoryNetwork(), "a") as a:
            with self.assertRaises(headcount.LimitError):
                a.watch("x" * 257)
            with self.assertRaises(headcount.LimitError):
                Presence("a", mode="interest").watch(0.0, "x" * 257)
            first, second = a.watch("room"), a.watch("room")
            await first.ready()
            first.close()
            first.close()
            with self.subTest("the other one still watches"):
                await first.ready()
                self.assertEqual((a.list("room"), a.stats()["watches"]), ([], 1))
            del second
            gc.collect()
            with self.assertRaises(NotWatched):
                await first.ready()
            self.assertEqual(a.stats()["watches"], 0)

    async def test_a_subscription_ends_with_the_last_watch_of_its_topic(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a, connect(network, "b", unwatch_after=60.0) as b:
            for user in ("ann", "bob"):
                a.track("room", user, "1")
            first, second = b.watch("room"), b.watch("room")
            await first.ready()
            changes, others = b.subscribe("room"), b.subscribe("room")
            self.assertEqual(len((await anext(changes)).joins), 2)
            others.close()
            first.close()
            a.track("room", "cid", "1")
            self.assertEqual([entry.key for entry in (await anext(changes)).joins], ["cid"])
            waiting = asyncio.create_task(anext(changes, None))
            await until(lambda: len(b._waiting) == 1)
            second.close()
            self.assertIsNone(await asyncio.wait_for(waiting, 20))
            # Nobody is told that ann has left: what is read with the next watch has her no more.
            a.untrack("room", "ann", "1")
            async with b.watch("room") as watch:
                await watch.ready()
                await until(lambda: keys(b, "room") == ["bob", "cid"])
                self.assertIsNone(await anext(changes, None))
                async with b.subscribe("room") as changes:
                    self.assertEqual(len((await anext(changes)).joins), 2)
        async with aio.connect(MemoryNetwork(), **{**FAST, "mode": "all"}) as all:
            changes = all.subscribe("room")
            all.watch("room").close()
            await anext(changes)
            all.track("room", "ann", "1")
            self.assertEqual([entry.key for entry in (await anext(changes)).joins], ["ann"])

    async def test_a_wait_ends_with_its_watch_and_with_the_node(self) -> None:
        network = MemoryNetwork()
        # It is ready after two heartbeats.
        never = {"heartbeat": 600.0, "down_after": 6_000.0, "forget_after": 9_000.0}
        async with connect(network, "a", **never) as a:
            watch = a.watch("room")
            waiting = asyncio.create_task(watch.ready())
            await until(lambda: len(a._waiting) == 1)
            watch.close()
            with self.assertRaises(NotWatched):
                await waiting
            other = a.watch("hall")
            waiting = asyncio.create_task(other.ready())
            await until(lambda: len(a._waiting) == 1)
            await a.stop()
            with self.assertRaises(NodeStopped):
                await waiting
            with self.assertRaises(NodeStopped):
                a.watch("room")
            other.close()

    async def test_cancelled_watchers_leave_nothing_behind(self) -> None:
        never = {"heartbeat": 600.0, "down_after": 6_000.0, "forget_after": 9_000.0}
        async with connect(MemoryNetwork(), "a", **never) as a:

            async def look(topic: str) -> None:
                async with a.watch(topic) as watch:
                    await watch.ready()

            tasks = [asyncio.create_task(look(f"room {n % 500}")) for n in range(2_000)]
            await until(lambda: len(a._waiting) == 2_000)
            self.assertEqual(a.stats()["watches"], 2_000)
            with self.assertRaises(NotReady):
                a.list("room 7")
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            self.assertEqual({type(end) for end in ends}, {asyncio.CancelledError})
            self.assertEqual((a.stats()["watches"], a._waiting), (0, {}))
            with self.assertRaises(NotWatched):
                a.list("room 7")

    async def test_watchers_that_are_cancelled_at_any_moment_leave_nothing_behind(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a, connect(network, "b") as b:
            b.track("room 3", "bob", "conn")
            await until(lambda: a.is_synced() and b.is_synced())

            async def look(n: int) -> None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(n % 7 / 1_000), a.watch(f"room {n % 11}") as watch:
                        await watch.ready()
                        await asyncio.sleep(1)

            for _ in range(10):
                await asyncio.gather(*(look(n) for n in range(200)))
            self.assertEqual((a.stats()["watches"], a._waiting), (0, {}))
            await until(lambda: len(a) == 0)
            async with a.watch("room 3") as watch:
                await watch.ready()
                self.assertEqual(keys(a, "room 3"), ["bob"])


class Threads(unittest.TestCase):
    def test_a_node_for_threads_watches(self) -> None:
        network = MemoryNetwork()
        with (
            headcount.connect(network, name="a", **FAST) as a,
            headcount.connect(network, name="b", **FAST) as b,
        ):
            a.track("room", "ann", "conn")
            with self.assertRaises(NotWatched):
                b.list("room")
            with b.watch("room") as watch:
                watch.ready(timeout=20)
                self.assertEqual(keys(b, "room"), ["ann"])
                with b.subscribe("room") as changes:
                    next(changes)
                    a.track("room", "bob", "conn")
                    self.assertEqual([e.key for e in changes.next(20).joins], ["bob"])
                self.assertEqual((repr(watch), b.stats()["watches"]), ("<Watch 'room'>", 1))
            with self.assertRaises(NotWatched):
                watch.ready()
            wait_until(lambda: len(b) == 0)
            self.assertEqual(b.stats()["watches"], 0)

    def test_a_wait_has_a_timeout_and_ends_with_the_watch(self) -> None:
        never = {**FAST, "heartbeat": 600.0, "down_after": 6_000.0, "forget_after": 9_000.0}
        with headcount.connect(MemoryNetwork(), name="a", **never) as a:
            watch = a.watch("room")
            with self.assertRaises(TimeoutError):
                watch.ready(timeout=0.05)
            threading.Timer(0.1, watch.close).start()
            with self.assertRaises(NotWatched):
                watch.ready(timeout=20)
            self.assertEqual((a.stats()["watches"], a._waiting), (0, {}))


class Streams(unittest.IsolatedAsyncioTestCase):
    async def test_nodes_over_tcp_are_sent_what_they_watch(self) -> None:
        ends = [StreamTransport(name) for name in "abc"]
        ports = [await end.listen() for end in ends]
        await ends[1].connect("127.0.0.1", ports[0])
        await ends[2].connect("127.0.0.1", ports[0])
        await ends[2].connect("127.0.0.1", ports[1])
        nodes = [connect(end, end.name) for end in ends]
        async with nodes[0] as a, nodes[1] as b, nodes[2] as c:
            await until(lambda: all(len(node.replicas()) == 2 and node.is_synced() for node in nodes))
            for n in range(100):
                a.track("room", f"ann {n}", "conn")
                b.track("hall", f"bob {n}", "conn")
            async with c.watch("room") as watch:
                await watch.ready()
                await until(lambda: c.count("room") == 100)
                await until(lambda: len(ends[0]._links["c"].groups) == 1)
                before = deltas(c)
                for n in range(20):
                    a.track("hall", f"ann {n}", "conn")
                    await asyncio.sleep(0.01)
                a.track("room", "cleo", "conn")
                await until(lambda: c.count("room") == 101)
                self.assertEqual((deltas(c), deltas(b)), (before + 1, 0))
            await until(lambda: len(c) == 0 and not ends[0]._links["c"].groups)

    async def test_what_is_wanted_is_said_again_over_a_new_connection(self) -> None:
        there, here = StreamTransport("there"), StreamTransport("here")
        port = await there.listen()
        wanted = {*range(0, 65_536, 3), 65_535}
        for partition in wanted:
            here.subscribe(partition)
        here.subscribe(1)
        here.unsubscribe(1)
        await here.connect("127.0.0.1", port)
        await until(lambda: "here" in there._links and there._links["here"].groups == wanted)
        there.publish(3, b"for three")
        there.publish(4, b"for four")
        there.send(None, b"for all")
        self.assertEqual(await here.receive(), ("there", b"for three"))
        self.assertEqual(await here.receive(), ("there", b"for all"))
        first = there._links["here"]
        first.writer.transport.abort()
        here.unsubscribe(3)
        self.assertEqual(await here.receive(), ("there", None))
        await until(lambda: there._links.get("here", first).groups == wanted - {3})
        for partition in (-1, 65_536):
            with self.assertRaisesRegex(ValueError, "from 0 to 65535"):
                here.subscribe(partition)
        await here.close()
        await there.close()

    async def test_a_peer_that_was_slow_is_told_later(self) -> None:
        there, here = StreamTransport("there", silence=0.6), StreamTransport("here", silence=0.6)
        port = await there.listen()
        await here.connect("127.0.0.1", port)
        here._backlog = 0
        for partition in range(1_000):
            here.subscribe(partition)
        here.unsubscribe(7)
        await asyncio.sleep(0.1)
        self.assertEqual(there._links["here"].groups, set())
        here._backlog = 1
        await until(lambda: there._links["here"].groups == {*range(1_000)} - {7})
        await here.close()
        await there.close()

    async def test_a_peer_that_says_nonsense_of_groups_is_dropped(self) -> None:
        end = StreamTransport("a")
        port = await end.listen()
        for nonsense in (b"\0\0\0\3\1abc", b"\0\0\0\2\3ab", b"\0\0\0\0\xff"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\0\0\0\1\0b")
            await until(lambda: "b" in end._links)
            with self.assertLogs("headcount", logging.WARNING) as logged:
                writer.write(nonsense)
                await asyncio.wait_for(reader.read(), 5)
                await until(lambda: "b" not in end._links)
            self.assertIn("the connection to 'b' is dropped: a frame of type", logged.output[0])
            writer.close()
        await end.close()


class Link:
    """A transport without groups, to a peer that the test holds."""

    frame_max = 10_000

    def __init__(self, peer: Presence) -> None:
        self.peer = peer
        self.now = 0.0
        self.sent: list[bytes] = []

    def send(self, to: str | None, frame: bytes) -> None:
        self.sent.append(frame)
        self.peer.handle_message(self.now, "a", frame)

    async def receive(self) -> tuple[str, bytes | None]:
        while True:
            await asyncio.sleep(0.005)
            self.now += 0.005
            self.peer.handle_timeout(self.now)
            while self.peer.poll_subscription() is not None:
                pass
            if (transmit := self.peer.poll_transmit()) is not None:
                return "b", transmit.frame

    async def close(self) -> None:
        pass


class GroupLink(Link):
    """One with groups, which refuses the first of each call."""

    def __init__(self, peer: Presence) -> None:
        super().__init__(peer)
        self.calls: list[str] = []
        self.groups: set[int] = set()
        self.published: list[int] = []

    def publish(self, partition: int, frame: bytes) -> None:
        self.published.append(partition)
        self.peer.handle_message(self.now, "a", frame)

    def subscribe(self, partition: int) -> None:
        self.note(f"subscribe {partition}")
        self.groups.add(partition)

    def unsubscribe(self, partition: int) -> None:
        self.note(f"unsubscribe {partition}")
        self.groups.remove(partition)

    def note(self, call: str) -> None:
        self.calls.append(call)
        if self.calls.count(call) == 1:
            raise ConnectionResetError(call)


class Carriers(unittest.IsolatedAsyncioTestCase):
    def peer(self) -> Presence:
        return Presence("b", **FAST)

    async def test_a_transport_without_groups_carries_everything_to_all(self) -> None:
        link = Link(self.peer())
        link.peer.track("room", "bob", "conn")
        async with connect(link, "a") as a:
            a.track("room", "ann", "conn")
            async with a.watch("room") as watch:
                await watch.ready()
                self.assertEqual(keys(a, "room"), ["ann", "bob"])
            link.peer.watch(link.now, "room")
            await until(lambda: len(link.peer) == 2)

    async def test_subscriptions_that_a_transport_refuses_are_made_again(self) -> None:
        link = GroupLink(self.peer())
        with self.assertLogs("headcount", logging.WARNING) as logged:
            async with connect(link, "a") as a:
                async with a.watch("room") as watch:
                    await until(lambda: len(link.groups) == 1)
                    await watch.ready()
                    (partition,) = link.groups
                    self.assertEqual(link.calls, [f"subscribe {partition}"] * 2)
                    a.track("room", "ann", "conn")
                    await until(lambda: partition in link.published)
                await until(lambda: not link.groups)
                self.assertEqual(link.calls[2:], [f"unsubscribe {partition}"] * 2)
                self.assertEqual(a.stats()["transport_errors"], 2)
        self.assertIn(f"ConnectionResetError: subscribe {partition}", "\n".join(logged.output))

    async def test_a_transport_with_half_of_the_groups_is_refused(self) -> None:
        class Half(Link):
            def publish(self, partition: int, frame: bytes) -> None: ...

        with self.assertRaisesRegex(TypeError, "this one lacks subscribe, unsubscribe"):
            await connect(Half(self.peer()), "a")


if __name__ == "__main__":
    unittest.main()
