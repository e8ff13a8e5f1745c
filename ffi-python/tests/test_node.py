"""Nodes over the network in memory: for asyncio, and for threads."""

import asyncio
import gc
import logging
import random
import threading
import time
import unittest
from typing import Any

import headcount
from headcount import (
    AlreadyTracked,
    DuplicateName,
    Event,
    LagError,
    MemoryNetwork,
    NodeStopped,
    Presence,
    TopicDiff,
    aio,
)
from waiting import keys, until, wait_until

FAST: dict[str, Any] = {"heartbeat": 0.05, "down_after": 1.0}
SLOW: dict[str, Any] = {"heartbeat": 600.0, "down_after": 6_000.0, "forget_after": 9_000.0}
"""What arrives between such nodes was not carried by a heartbeat."""


def connect(network: MemoryNetwork, name: str, **options: Any) -> aio.Node:
    return aio.connect(network, name=name, **(options or FAST))


class Mirror:
    """A copy of a topic that takes every change once."""

    def __init__(self) -> None:
        self.refs: set[str] = set()

    def apply(self, change: TopicDiff) -> None:
        for entry in [*change.joins, *(update.new for update in change.updates)]:
            assert entry.ref not in self.refs, "an entry came twice"
            self.refs.add(entry.ref)
        for entry in [*change.leaves, *(update.old for update in change.updates)]:
            self.refs.discard(entry.ref)


class AsyncNodes(unittest.IsolatedAsyncioTestCase):
    async def test_two_nodes_see_each_other(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a, connect(network, "b") as b:
            a.track("room", "ann", "c-1", {"n": 1})
            await until(lambda: b.count("room") == 1)
            async with b.subscribe("room") as changes, b.events() as events:
                first = await anext(changes)
                self.assertEqual([(e.key, e.json()) for e in first.joins], [("ann", {"n": 1})])
                a.update("room", "ann", "c-1", {"n": 2})
                change = await anext(changes)
                self.assertEqual([u.new.json() for u in change.updates], [{"n": 2}])
                a.upsert("room", "ann", "c-2")
                self.assertEqual((await anext(changes)).joins[0].owner, "c-2")
                self.assertEqual((b.count("room"), b.count_keys("room").at_most, b.topics()), (2, 1, ["room"]))
                self.assertEqual(len(b.get_by_key("room", "ann")), 2)
                self.assertEqual(b.replicas(), [(a.replica, True)])
                self.assertIn(("room", "ann"), b)
                a.signal("room", "ann", 1, b"typing", ttl=3)
                event = await anext(events)
                assert event.signal is not None
                self.assertEqual((event.kind, event.signal.payload), ("signal", b"typing"))
                a.untrack_owner("c-1")
                self.assertEqual(len((await anext(changes)).leaves), 1)
            await asyncio.wait_for(b.synced(), 60)
            self.assertTrue(b.is_synced())
            with self.assertRaises(AlreadyTracked):
                a.track("room", "ann", "c-2")
            self.assertRegex(repr(b), r"^<Node b@\d+\.[0-9a-f]+ 1 peers=1/1>$")

    async def test_a_subscription_has_every_change_once(self) -> None:
        network = MemoryNetwork()
        end = threading.Event()
        async with connect(network, "a") as a, connect(network, "b") as b:

            def write(node: aio.Node) -> None:
                for n in range(100_000):
                    if end.is_set():
                        return
                    node.upsert("room", f"{n % 7}", node.replica.name, n)
                    if n % 3 == 0:
                        node.untrack("room", f"{n % 7}", node.replica.name)
                    time.sleep(0.0001)

            threads = [threading.Thread(target=write, args=(node,)) for node in (a, b)]
            for thread in threads:
                thread.start()
            copies = []
            for n in range(100):
                if n % 25 == 10:
                    network.cut("a", "b")
                if n % 25 == 20:
                    network.heal()
                copies.append((Mirror(), b.subscribe("room")))
                for mirror, changes in copies[-3:]:
                    mirror.apply(await anext(changes))
                await asyncio.sleep(0.01)
            network.heal()
            end.set()
            for thread in threads:
                thread.join()

            def refs_of(node: aio.Node) -> set[str]:
                return {entry.ref for entry in node.list("room")}

            await until(lambda: refs_of(a) == refs_of(b))
            refs = refs_of(b)
            for mirror, changes in copies:
                async with asyncio.timeout(60):
                    while mirror.refs != refs:
                        mirror.apply(await anext(changes))

    async def test_a_cut_hides_and_heals(self) -> None:
        network = MemoryNetwork()
        with self.assertLogs("headcount", logging.INFO) as logged:
            async with connect(network, "a") as a, connect(network, "b") as b:
                a.track("room", "ann", "c")
                await until(lambda: b.count("room") == 1)
                network.cut("a", "b")
                await until(lambda: b.count("room") == 0)
                a.track("room", "eve", "c")
                self.assertEqual([up for _, up in b.replicas()], [False])
                network.heal()
                await until(lambda: keys(b, "room") == ["ann", "eve"])
                stats = b.stats()
        self.assertEqual((stats["ups"], stats["downs"], stats["entries"], stats["topics"]), (2, 1, 2, 1))
        (peer,) = stats["peers"]
        self.assertEqual((peer["name"], peer["up"], peer["partitions_behind"]), ("a", True, 0))
        self.assertLess(peer["silence"], 60)
        self.assertGreaterEqual(stats["leave_log_bytes"], 0)
        self.assertGreater(stats["received"]["beat"]["bytes"], 0)
        text = "\n".join(logged.output)
        for part in ("joined the cluster", "is up", "is silent; its entries are hidden"):
            self.assertIn(part, text)

    async def test_writes_of_any_thread_are_sent_at_once(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a", **SLOW) as a, connect(network, "b", **SLOW) as b:
            await until(lambda: len(a.replicas()) == len(b.replicas()) == 1)
            for n in range(5):
                thread = threading.Thread(target=a.track, args=("room", f"{n}", "c"))
                thread.start()
                thread.join()
                await until(lambda: b.count("room") == n + 1)

    async def test_a_stopped_node_says_so(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a", **SLOW) as a, connect(network, "b", **SLOW) as b:
            a.track("room", "ann", "c")
            await until(lambda: b.count("room") == 1)
            changes, events = b.subscribe("room"), a.events()
            await anext(changes)
            waiting = asyncio.create_task(anext(events))
            await asyncio.sleep(0)
            await a.stop()
            await a.stop()
            with self.assertRaises(StopAsyncIteration):
                await waiting
            self.assertEqual([e.key for e in (await anext(changes)).leaves], ["ann"])
            calls = (
                lambda: a.track("room", "late", "c"),
                lambda: a.list("room"),
                lambda: a.subscribe("room"),
                lambda: len(a),
            )
            for call in calls:
                with self.assertRaises(NodeStopped):
                    call()
            self.assertIn("not running", repr(a))
        with self.assertRaises(StopAsyncIteration):
            await anext(changes)
        with self.assertRaises(NodeStopped):
            connect(network, "c").track("room", "early", "c")

    async def test_cancelled_readers_leave_nothing_behind(self) -> None:
        async with connect(MemoryNetwork(), "a") as a:
            before = a.stats()["subscriptions"]

            async def read() -> None:
                async for _ in a.subscribe("room"):
                    pass

            tasks = [asyncio.create_task(read()) for _ in range(2_000)]
            await until(lambda: len(a._waiting) == 2_000)
            self.assertEqual(a.stats()["subscriptions"], before + 2_000)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            del tasks, task
            await asyncio.sleep(0)
            self.assertEqual((a.stats()["subscriptions"], a._waiting), (before, {}))

    async def test_a_cancelled_read_loses_nothing(self) -> None:
        async with connect(MemoryNetwork(), "a") as a, a.subscribe("room") as changes:
            await anext(changes)
            for n in range(50):
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0):
                        await anext(changes)
                a.track("room", f"{n}", "c")
                self.assertEqual([e.key for e in (await anext(changes)).joins], [f"{n}"])
            first = asyncio.create_task(anext(changes))
            await asyncio.sleep(0)
            with self.assertRaisesRegex(RuntimeError, "another task"):
                await anext(changes)
            first.cancel()

    async def test_a_reader_that_lags_is_told(self) -> None:
        async with connect(MemoryNetwork(), "a", flush=0.0) as a:
            slow, quick = a.subscribe("room"), a.subscribe("room")
            await anext(quick)
            for n in range(1_030):
                a.upsert("room", "ann", "c", n)
                await anext(quick)
            self.assertEqual((await anext(slow)).joins, [])
            with self.assertRaises(LagError):
                await anext(slow)
            with self.assertRaises(StopAsyncIteration):
                await anext(slow)
            self.assertEqual(a.stats()["lagged"], 1)
            async with a.subscribe("room") as again:
                self.assertEqual([e.json() for e in (await anext(again)).joins], [1_029])

    async def test_a_reader_of_events_that_lags_reads_on(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a, connect(network, "b", flush=0.0) as b:
            events, quick = b.events(), b.events()
            await until(lambda: b.stats()["replicas_up"] == 1)
            for n in range(4_100):
                a.signal("room", f"{n}", 1, ttl=1.0)
                if n % 100 == 99:
                    async for event in quick:
                        if event.signal is not None and event.signal.key == str(n).encode():
                            break
            with self.assertRaisesRegex(LagError, "the others follow"):
                await anext(events)
            read = [await anext(events) for _ in range(4_096)]
            self.assertEqual({event.kind for event in read[-4_000:]}, {"signal"})

    async def test_leases_and_attendances_end(self) -> None:
        async with connect(MemoryNetwork(), "a") as a:
            a.track("room", "ann", "c-1", ttl=0.1)
            a.track("room", "bob", "c-2", ttl=600)
            self.assertTrue(a.lease("room", "bob", "c-2", 600))
            self.assertFalse(a.lease("room", "eve", "c-2", 600))
            await until(lambda: keys(a, "room") == ["bob"])
            a.lease_owner("c-2", 0.05)
            await until(lambda: a.count("room") == 0)
            async with a.presence("room", "cat", {"n": 1}) as cat, a.presence("room", b"dan", owner=b"x"):
                self.assertEqual(a.count("room"), 2)
                cat.update({"n": 2})
                self.assertEqual([e.json() for e in a.get_by_key("room", "cat")], [{"n": 2}])
            self.assertEqual(a.count("room"), 0)
            with self.assertRaises(KeyError):
                async with a.presence("room", "cat"):
                    raise KeyError
            self.assertEqual(a.count("room"), 0)
            async with a.presence("room", "cat"):
                await a.stop()

    async def test_a_lost_owner_has_a_grace(self) -> None:
        async with connect(MemoryNetwork(), "a", grace=0.2) as a:
            a.track("room", "ann", "c")
            a.owner_lost("c")
            self.assertTrue(a.owner_back("c"))
            self.assertFalse(a.owner_back("c"))
            a.owner_lost("c")
            await until(lambda: a.count("room") == 0)

    async def test_a_name_that_is_used_twice_is_logged_and_raised_to_waiters(self) -> None:
        network = MemoryNetwork()
        options = {"heartbeat": 0.02, "down_after": 0.2}
        with self.assertLogs("headcount", logging.ERROR) as logged:
            async with connect(network, "web", **options) as one, connect(network, "db", **options):
                await one.synced()
                async with connect(network, "web", **options) as two:
                    await until(lambda: bool(logged.records))
                    told = [node for node in (one, two) if node._duplicate is not None]
                    for node in told:
                        with self.assertRaises(DuplicateName):
                            await node.synced()
        self.assertIn("'web'", logged.output[0])

    async def test_a_snapshot_returns_to_the_next_life(self) -> None:
        network = MemoryNetwork()
        async with connect(network, "a") as a:
            async with connect(network, "b") as b:
                self.assertFalse(b.restored)
                a.track("room", "ann", "c-1")
                b.track("room", "bob", "c-2", {"n": 1})
                await until(lambda: b.count("room") == 2)
                snapshot = b.snapshot()
            again = aio.connect(network, name="b", snapshot=snapshot, **FAST)
            self.assertFalse(again.restored)
            async with again as b:
                self.assertEqual([(e.key, e.json()) for e in b.restored.joins], [("bob", {"n": 1})])
                await until(lambda: keys(b, "room") == ["ann"])
                for topic, change in b.restored.items():
                    for entry in change.joins:
                        b.track(topic, entry.key, entry.owner, entry.json(), ttl=600)
                await until(lambda: keys(a, "room") == ["ann", "bob"])
            self.assertEqual(len(b.restored), 1)
            with self.assertRaises(headcount.DecodeError):
                await aio.connect(network, name="c", snapshot=b"no snapshot")

    async def test_what_is_wrong_with_a_cluster_is_logged(self) -> None:
        network = MemoryNetwork()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            async with connect(network, "a") as a, connect(network, "b", partitions=64) as b:
                events = a.events()
                event = await anext(event async for event in events if event.kind == "shape_mismatch")
                self.assertEqual(event.shapes, ((32, "all", False, False), (64, "all", False, False)))
                async with a.events() as later, connect(network, "c", cluster="chat") as c:
                    other = await anext(event async for event in later if event.kind == "unreadable")
                    self.assertIn("another cluster", str(other.reason))
                    self.assertEqual((a.replicas(), b.replicas(), c.replicas()), ([], [], []))
                self.assertGreater(a.stats()["refused"]["other_shape"], 0)
        text = "\n".join(logged.output)
        self.assertIn("it has 64 partitions in mode all, this node has 32", text)
        self.assertIn("the frame belongs to another cluster", text)

    async def test_what_cannot_be_connected_is_refused(self) -> None:
        for where in ("redis://localhost", "localhost:4222", ""):
            with self.assertRaisesRegex(ValueError, "begins with nats://"):
                await aio.connect(where)
        with self.assertRaises(TypeError):
            aio.connect("memory://x", hartbeat=1)  # type: ignore[call-arg]
        with self.assertRaises(headcount.LimitError):
            aio.connect("memory://x", partitions=1 << 17)

    async def test_urls_of_memory_name_one_network(self) -> None:
        async with aio.connect("memory://urls", name="a") as a, aio.connect("memory://urls", name="b") as b:
            a.track("room", "ann", "c")
            await until(lambda: b.count("room") == 1)
            async with aio.connect("memory://others", name="b") as other:
                self.assertEqual(other.count("room"), 0)


class ThreadNodes(unittest.TestCase):
    def connect(self, network: MemoryNetwork, name: str, **options: Any) -> headcount.Node:
        return headcount.connect(network, name=name, **(options or FAST))

    def test_threads_write_and_read(self) -> None:
        network = MemoryNetwork()
        with self.connect(network, "a", **SLOW) as a, self.connect(network, "b", **SLOW) as b:
            wait_until(lambda: len(a.replicas()) == len(b.replicas()) == 1)
            seen: list[str] = []

            def read() -> None:
                for change in b.subscribe("room"):
                    seen.extend(str(entry.key) for entry in change.joins)

            readers = [threading.Thread(target=read) for _ in range(3)]
            for thread in readers:
                thread.start()
            writers = [
                threading.Thread(target=lambda n=n: [a.track("room", f"{n}-{i}", "c") for i in range(50)])
                for n in range(4)
            ]
            for thread in writers:
                thread.start()
            for thread in writers:
                thread.join()
            wait_until(lambda: len(seen) == 3 * 200)
            self.assertEqual(len(set(seen)), 200)
            with a.presence("room", "eve"):
                wait_until(lambda: b.count("room") == 201)
            wait_until(lambda: b.count("room") == 200)
            b.stop()
            for thread in readers:
                thread.join(60)
                self.assertFalse(thread.is_alive())
            with self.assertRaises(NodeStopped):
                b.track("room", "late", "c")
            wait_until(lambda: a.replicas() == [])

    def test_reads_wait_as_long_as_they_are_told(self) -> None:
        network = MemoryNetwork()
        with self.connect(network, "a") as a, self.connect(network, "b") as b:
            b.synced(60)
            self.assertTrue(b.is_synced())
            with self.connect(MemoryNetwork(), "alone") as alone, self.assertRaises(TimeoutError):
                alone.synced(0)
        with self.connect(MemoryNetwork(), "a") as a, a.subscribe("room") as changes:
            self.assertEqual(changes.next(60).joins, [])
            with self.assertRaises(TimeoutError):
                changes.next(0.01)
            a.track("room", "ann", "c")
            self.assertEqual(changes.next(60).joins[0].key, "ann")
            changes.close()
            self.assertEqual(list(changes), [])
            events = a.events()
        self.assertEqual([event for event in events if isinstance(event, Event)], [])

    def test_a_node_that_nothing_refers_to_ends(self) -> None:
        network = MemoryNetwork()
        a = self.connect(network, "a")
        self.connect(network, "b").track("room", "ann", "c")
        wait_until(lambda: a.count("room") == 1)
        gc.collect()
        wait_until(lambda: a.count("room") == 0)
        a.stop()
        wait_until(lambda: not any(t.name == "headcount-news" for t in threading.enumerate()))


class Carriers(unittest.IsolatedAsyncioTestCase):
    async def test_a_transport_that_raises_is_tried_again(self) -> None:
        class Bad:
            """A link to a peer that raises in three of ten calls."""

            frame_max = 10_000

            def __init__(self) -> None:
                self.random = random.Random(5)
                self.peer = Presence("b", **FAST)
                self.start = time.monotonic()

            def send(self, to: str | None, frame: bytes) -> None:
                if self.random.random() < 0.3:
                    raise ConnectionResetError("socket gone")
                self.peer.handle_message(time.monotonic() - self.start, "a", frame)

            async def receive(self) -> tuple[str, bytes | None]:
                while True:
                    await asyncio.sleep(0.005)
                    self.peer.handle_timeout(time.monotonic() - self.start)
                    transmit = self.peer.poll_transmit()
                    if transmit is not None and self.random.random() < 0.3:
                        raise OSError("no route")
                    if transmit is not None:
                        return "b", transmit.frame

            async def close(self) -> None:
                pass

        bad = Bad()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            async with aio.connect(bad, name="a", **FAST) as a:
                a.track("room", "ann", "c")
                bad.peer.track("room", "bob", "c")
                await until(lambda: bad.peer.count("room") == a.count("room") == 2)
                await until(lambda: len({line.split(": ")[-1] for line in logged.output}) == 2)
                self.assertGreater(a.stats()["transport_errors"], 1)
        text = "\n".join(logged.output)
        self.assertIn("socket gone", text)
        self.assertIn("no route", text)

    async def test_a_goodbye_of_which_the_first_frame_is_lost(self) -> None:
        class Lossy:
            """A link to a peer that loses the first Goodbye."""

            frame_max = 10_000
            goodbyes = 0

            def __init__(self) -> None:
                self.peer = Presence("b", **SLOW)

            def send(self, to: str | None, frame: bytes) -> None:
                is_goodbye = frame[4] == 8
                self.goodbyes += is_goodbye
                if not is_goodbye or self.goodbyes > 1:
                    self.peer.handle_message(1.0, "a", frame)

            async def receive(self) -> tuple[str, bytes | None]:
                await asyncio.sleep(3_600)
                raise EOFError

            async def close(self) -> None:
                pass

        lossy = Lossy()
        async with aio.connect(lossy, name="a", **SLOW) as a:
            a.track("room", "ann", "c")
            await until(lambda: lossy.peer.count("room") == 1)
            start = time.monotonic()
            await a.stop()
            self.assertGreater(time.monotonic() - start, 0.03)
        self.assertEqual(lossy.goodbyes, 3)
        self.assertEqual((len(lossy.peer), lossy.peer.replicas()), (0, []))

    async def test_a_flood_of_frames_does_not_hold_deadlines_up(self) -> None:
        class Flood:
            frame_max = 1_024
            sent = 0

            def send(self, to: str | None, frame: bytes) -> None:
                self.sent += 1

            async def receive(self) -> tuple[str, bytes | None]:
                await asyncio.sleep(0)
                return "x", b"no frame"

            async def close(self) -> None:
                pass

        flood = Flood()
        async with aio.connect(flood, name="a", heartbeat=0.01) as a:
            await until(lambda: flood.sent >= 4)
            self.assertGreater(sum(a.stats()["refused"].values()), 0)


if __name__ == "__main__":
    unittest.main()
