import asyncio
import logging
import os
import random
import threading
import time
import unittest
from collections.abc import Callable

import headcount
from headcount import Diff, Event, Presence, Signal, Transmit
from headcount.aio import LagError, MemoryNetwork, Node, StreamTransport, Subscription


class Cluster:
    """Presences on a network that loses, doubles and reorders frames, on a clock of its own."""

    def __init__(self, *names: str, loss: float = 0.0, seed: int = 1) -> None:
        self.nodes = {name: Presence(name, heartbeat=0.2, down_after=1.0) for name in names}
        self.rng = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.cut: set[str] = set()
        self.outputs: dict[str, list[Diff | Event]] = {name: [] for name in names}
        self.flying: list[tuple[float, str, str, bytes]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            for name, node in self.nodes.items():
                node.handle_timeout(self.now)
                self.drain(name, node)
            due = [flight for flight in self.flying if flight[0] <= self.now]
            self.flying = [flight for flight in self.flying if flight[0] > self.now]
            for _, sender, receiver, frame in due:
                self.nodes[receiver].handle_message(self.now, sender, frame)

    def drain(self, name: str, node: Presence) -> None:
        for output in node.poll():
            if not isinstance(output, Transmit):
                self.outputs[name].append(output)
                continue
            for to in self.nodes if output.to is None else [output.to]:
                copies = 2 if self.rng.random() < self.loss else 1
                if to == name or {to, name} & self.cut or self.rng.random() < self.loss:
                    continue
                for _ in range(copies):
                    delay = self.rng.uniform(0.001, 0.03)
                    self.flying.append((self.now + delay, name, to, output.frame))


def keys(presence: Presence, topic: str) -> list[str]:
    return sorted(str(entry.key) for entry in presence.list(topic))


class Replication(unittest.TestCase):
    def test_nodes_become_equal_over_a_bad_network(self) -> None:
        cluster = Cluster("a", "b", "c", loss=0.3)
        rng = random.Random(4)
        for i in range(60):
            node = rng.choice(list(cluster.nodes))
            cluster.nodes[node].upsert(f"room-{i % 5}", f"user-{rng.randrange(30)}", f"at-{node}")
            if i % 4 == 0:
                cluster.nodes[node].untrack(f"room-{i % 5}", f"user-{rng.randrange(30)}", f"at-{node}")
            cluster.run(0.02)
        cluster.run(20)
        first, *others = cluster.nodes.values()
        self.assertGreater(len(first), 20)
        for other in others:
            for topic in (f"room-{i}" for i in range(5)):
                self.assertEqual(keys(other, topic), keys(first, topic))
                self.assertEqual(other.count_keys(topic), first.count_keys(topic))
        self.assertTrue(all(node.is_synced() for node in cluster.nodes.values()))

    def test_a_silent_node_is_hidden_and_comes_back(self) -> None:
        cluster = Cluster("a", "b")
        cluster.nodes["a"].track("room", "ann", "c")
        cluster.run(1)
        b = cluster.nodes["b"]
        self.assertEqual(b.count("room"), 1)
        cluster.cut = {"a"}
        cluster.run(3)
        self.assertEqual((b.count("room"), b.list("room")), (0, []))
        self.assertNotIn(("room", "ann"), b)
        self.assertEqual([up for _, up in b.replicas()], [False])
        cluster.cut = set()
        cluster.run(3)
        self.assertEqual(b.count("room"), 1)
        kinds = [out.kind for out in cluster.outputs["b"] if isinstance(out, Event)]
        self.assertEqual(kinds, ["replica_up", "replica_down", "replica_up"])
        self.assertRegex(repr(b), r"^<Presence b@\d+\.[0-9a-f]+ 1 peers=1/1>$")

    def test_goodbye(self) -> None:
        cluster = Cluster("a", "b")
        cluster.nodes["a"].track("room", "ann", "c")
        cluster.run(1)
        cluster.nodes["a"].leave_gracefully(cluster.now)
        cluster.run(0.1)
        self.assertEqual(len(cluster.nodes["b"]), 0)

    def test_signals_pass_by(self) -> None:
        cluster = Cluster("a", "b")
        cluster.run(1)
        cluster.nodes["a"].signal("room", "ann", 1, b"typing", ttl=3)
        cluster.run(0.2)
        signals = [out.signal for out in cluster.outputs["b"] if isinstance(out, Event) and out.signal]
        self.assertEqual(len(signals), 1)
        signal = signals[0]
        self.assertIsInstance(signal, Signal)
        self.assertEqual(
            (signal.topic, signal.key, signal.kind, signal.payload, signal.ttl),
            ("room", b"ann", 1, b"typing", 3.0),
        )

    def test_a_key_keeps_strangers_out(self) -> None:
        inside = Presence("a", key=b"0123456789abcdef")
        for stranger in (Presence("b"), Presence("b", key=b"fedcba9876543210")):
            stranger.track("room", "mallory", "c")
            stranger.handle_timeout(1)
            frames = [out.frame for out in stranger.poll() if isinstance(out, Transmit)]
            self.assertTrue(frames)
            for frame in frames:
                with self.assertRaises(headcount.DecodeError):
                    inside.handle_message(1, "b", frame)
        self.assertEqual((len(inside), inside.replicas()), (0, []))


class Timers(unittest.TestCase):
    def test_a_lease_runs_out_unless_renewed(self) -> None:
        p = Presence("a")
        p.track("room", "ann", "c-1")
        p.track("room", "bob", "c-2")
        p.lease_owner(0, "c-1", 30)
        p.lease_owner(20, "c-1", 30)
        self.assertTrue(p.lease(0, "room", "bob", "c-2", 40))
        self.assertFalse(p.lease(0, "room", "eve", "c-2", 40))
        self.assertEqual(p.poll_timeout(), 0)
        p.handle_timeout(39.9)
        self.assertEqual(keys(p, "room"), ["ann", "bob"])
        p.handle_timeout(40.1)
        self.assertEqual(keys(p, "room"), ["ann"])
        p.handle_timeout(50.1)
        self.assertEqual(keys(p, "room"), [])

    def test_own_changes_are_flushed_once(self) -> None:
        p = Presence("a", flush=0.5, push_after=9, heartbeat=9)
        p.handle_timeout(0)
        list(p.poll())
        p.track("room", "ann", "c-1", 1)
        p.update("room", "ann", "c-1", 2)
        p.handle_timeout(0.25)
        self.assertEqual(p.poll_timeout(), 0.75)
        self.assertIsNone(p.poll_diff())
        p.handle_timeout(0.75)
        diff = p.poll_diff()
        assert diff is not None
        self.assertEqual([e.json() for e in diff.joins], [2])
        self.assertIsNone(p.poll_diff())
        self.assertFalse(p.take_diff())
        p.untrack("room", "ann", "c-1")
        self.assertEqual(len(p.take_diff().leaves), 1)
        p.handle_timeout(9)
        p.handle_timeout(10)
        self.assertIsNone(p.poll_diff())

    def test_a_lost_owner_has_a_grace(self) -> None:
        p = Presence("a", grace=10)
        p.track("room", "ann", "c-1")
        p.take_diff()
        p.owner_lost(0, "c-1")
        self.assertEqual(p.count("room"), 1)
        self.assertTrue(p.owner_back("c-1"))
        self.assertFalse(p.owner_back("c-1"))
        p.handle_timeout(20)
        self.assertFalse(p.take_diff())
        p.owner_lost(20, "c-1")
        p.handle_timeout(31)
        self.assertEqual([e.key for e in p.take_diff().leaves], ["ann"])


class Snapshots(unittest.TestCase):
    def test_a_restart_starts_from_what_was_known(self) -> None:
        cluster = Cluster("a", "b")
        for i in range(50):
            cluster.nodes["a"].track("room", f"user-{i}", "c")
        cluster.nodes["b"].track("room", "own", "c")
        cluster.run(2)
        old = cluster.nodes["b"]
        snapshot = old.snapshot()
        new = Presence.restore(snapshot, "b", now=cluster.now, heartbeat=0.2)
        self.assertGreater(new.replica, old.replica)
        self.assertEqual((len(new), new.count("room")), (50, 0), "hidden until it is heard")
        cluster.nodes["b"] = new
        cluster.run(3)
        self.assertEqual((new.count("room"), cluster.nodes["a"].count("room")), (50, 50))

    def test_broken_snapshots(self) -> None:
        p = Presence("a")
        p.track("room", "ann", "c")
        good, rng = p.snapshot(), random.Random(8)
        self.assertEqual(len(Presence.restore(good, "b")), 1)
        for bad in (b"", b"HC", good[:-1], good + b"x"):
            with self.assertRaises(headcount.DecodeError):
                Presence.restore(bad, "b")
        for _ in range(300):
            broken = bytearray(good)
            broken[rng.randrange(len(broken))] ^= rng.randrange(1, 256)
            with self.assertRaises(headcount.DecodeError):
                Presence.restore(broken, "b")
        with self.assertRaises(TypeError):
            Presence.restore(good, "b", hartbeat=1)


class Refusals(unittest.TestCase):
    def test_names_that_other_nodes_would_refuse(self) -> None:
        with self.assertRaisesRegex(headcount.LimitError, "cluster has 65 bytes, at most 64"):
            Presence("a", cluster="x" * 65)
        with self.assertRaisesRegex(ValueError, "replica name has 65 bytes, at most 64"):
            Presence("x" * 65)
        a = Presence("x" * 64, cluster="x" * 64)
        with self.assertRaisesRegex(headcount.LimitError, "owner has 65 bytes, at most 64"):
            a.track("room", "ann", "x" * 65)

    def test_bad_arguments(self) -> None:
        p = Presence("a")
        for now in (-1.0, float("nan"), float("inf"), 1e300):
            with self.assertRaises(ValueError):
                p.handle_timeout(now)
        with self.assertRaises(TypeError):
            p.handle_timeout("now")  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            Presence("a", key=b"short")
        with self.assertRaises(ValueError):
            Presence("a", heartbeat=-1)
        with self.assertRaises(headcount.DecodeError):
            p.signal("room", "ann", 1, bytes(1_000))
        with self.assertRaises(OverflowError):
            p.signal("room", "ann", 256)
        with self.assertRaises(OverflowError):
            p.signal("room", "ann", 1, ttl=1e9)

    def test_broken_frames_change_nothing(self) -> None:
        cluster = Cluster("a", "b")
        cluster.nodes["a"].track("room", "ann", "c")
        cluster.nodes["a"].handle_timeout(1)
        frames = [o.frame for o in cluster.nodes["a"].poll() if isinstance(o, Transmit)]
        b, rng = cluster.nodes["b"], random.Random(2)
        for _ in range(1_000):
            bad = bytearray(rng.choice(frames))
            bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
            with self.assertRaises(headcount.DecodeError):
                b.handle_message(1, "a", bad)
        self.assertEqual((len(b), b.replicas()), (0, []))

    def test_threads_share_one_presence(self) -> None:
        p = Presence("a")

        def work(n: int) -> None:
            for i in range(200):
                p.track(f"room-{i % 9}", f"user-{i}", f"owner-{n}")
                p.handle_timeout(i / 1_000)
                list(p.poll())
                p.count(f"room-{i % 9}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(p), 800)


def presence(name: str) -> Presence:
    return Presence(name, heartbeat=0.05, down_after=0.4)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class Nodes(unittest.IsolatedAsyncioTestCase):
    async def test_two_nodes_see_each_other(self) -> None:
        network = MemoryNetwork(loss=0.2, seed=3)
        async with (
            Node(presence("a"), network.join("a")) as a,
            Node(presence("b"), network.join("b")) as b,
        ):
            changes, events = b.changes("room"), b.events()
            a.track("room", "ann", "c-1", {"n": 1})
            change = await asyncio.wait_for(anext(changes), 10)
            self.assertEqual([(e.key, e.json()) for e in change.joins], [("ann", {"n": 1})])
            event = await asyncio.wait_for(anext(events), 10)
            self.assertEqual((event.kind, event.replica), ("replica_up", a.presence.replica))
            await asyncio.wait_for(b.synced(), 10)
            a.update("room", "ann", "c-1", {"n": 2})
            change = await asyncio.wait_for(anext(changes), 10)
            self.assertEqual([u.new.json() for u in change.updates], [{"n": 2}])
            own = a.diffs()
            a.untrack_owner("c-1")
            self.assertEqual(len((await asyncio.wait_for(anext(own), 10)).leaves), 1)
            await until(lambda: b.list("room") == [])
        self.assertEqual([change async for change in changes][-1].leaves[0].key, "ann")

    async def test_a_cut_hides_and_heals(self) -> None:
        network = MemoryNetwork()
        async with (
            Node(presence("a"), network.join("a")) as a,
            Node(presence("b"), network.join("b")) as b,
        ):
            a.track("room", "ann", "c")
            await until(lambda: b.presence.count("room") == 1)
            network.cut("a", "b")
            await until(lambda: b.presence.count("room") == 0)
            a.track("room", "eve", "c")
            network.heal()
            await until(lambda: keys(b.presence, "room") == ["ann", "eve"])

    async def test_over_tcp_streams(self) -> None:
        ends = [StreamTransport(name) for name in "abc"]
        ports = [await end.listen() for end in ends]
        await ends[1].connect("127.0.0.1", ports[0])
        await ends[2].connect("127.0.0.1", ports[0])
        await ends[2].connect("127.0.0.1", ports[1])
        nodes = [Node(presence(end.name), end) for end in ends]
        for node in nodes:
            await node.__aenter__()
        for i in range(300):
            nodes[i % 3].track(f"room-{i % 4}", f"user-{i}", "c", {"i": i})
        await until(lambda: all(len(node.presence) == 300 for node in nodes))
        await nodes[0].stop(graceful=False)
        await until(lambda: nodes[1].presence.count("room-0") == 50)
        await nodes[1].stop()
        await until(lambda: nodes[2].presence.count("room-0") == 25)
        await nodes[2].stop()

    async def test_a_lost_connection_is_made_again(self) -> None:
        there, here = StreamTransport("there"), StreamTransport("here")
        port = await there.listen()
        self.assertEqual(await here.connect("127.0.0.1", port), "there")
        with self.assertRaises(OSError):
            await here.connect("127.0.0.1", 1)
        async with Node(presence("here"), here) as node:
            first = Node(presence("there"), there)
            await first.__aenter__()
            first.track("room", "ann", "c")
            await until(lambda: node.presence.count("room") == 1)
            await first.stop(graceful=False)
            await until(lambda: node.presence.count("room") == 0)
            again = StreamTransport("there")
            await again.listen(port=port)
            async with Node(presence("there"), again) as second:
                second.track("room", "bob", "c")
                await until(lambda: keys(node.presence, "room") == ["bob"])

    async def test_nodes_that_connect_to_each_other_keep_one_connection(self) -> None:
        a, b = StreamTransport("a"), StreamTransport("b")
        ports = await a.listen(), await b.listen()
        names = await asyncio.gather(
            a.connect("127.0.0.1", ports[1]), b.connect("127.0.0.1", ports[0])
        )
        self.assertEqual(names, ["b", "a"])
        await asyncio.sleep(0.3)
        kept = a._links["b"], b._links["a"]
        self.assertEqual([link.ours for link in kept], [True, False])
        await asyncio.sleep(0.5)
        self.assertEqual((a._links["b"], b._links["a"]), kept)
        a.send("b", b"frame")
        self.assertEqual(await b.receive(), ("a", b"frame"))
        with self.assertRaisesRegex(ValueError, "called 'a' too"):
            await a.connect("127.0.0.1", ports[0])
        await a.close()
        self.assertEqual(await b.receive(), ("a", None))
        await b.close()

    async def test_strangers_on_the_port_do_no_harm(self) -> None:
        end = StreamTransport("a", frame_max=1_000)
        port = await end.listen()
        async with Node(presence("a"), end) as node:
            node.track("room", "ann", "c")
            for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\1\xff", b"\xff\xff\xff\xff", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(junk)
                if writer.can_write_eof():
                    writer.write_eof()
                await asyncio.wait_for(reader.read(), 5)
                writer.close()
                await writer.wait_closed()
            other = StreamTransport("b")
            await other.connect("127.0.0.1", port)
            other.send(None, b"not a frame")
            await until(lambda: node.refused == 1)
            await other.close()
            self.assertEqual(len(node.presence), 1)

    async def test_frames_that_wait_come_before_deadlines(self) -> None:
        """A process that was paused hid everyone whose heartbeats waited in sockets."""
        peer, ours, theirs = Presence("b"), StreamTransport("a"), StreamTransport("b")
        peer.track("room", "bob", "conn-1")
        port = await ours.listen()

        def beat(now: float) -> None:
            peer.handle_timeout(now)
            for output in peer.poll():
                if isinstance(output, Transmit):
                    theirs.send(output.to, output.frame)

        async with Node(Presence("a", heartbeat=0.2, down_after=1.0), ours) as node:
            await theirs.connect("127.0.0.1", port)
            gone: list[Event] = []
            events = node.events()
            for now in range(3):
                beat(now)
                await asyncio.sleep(0.05)
                for _ in range(2):
                    try:
                        async with asyncio.timeout(0.01):
                            sender, frame = await theirs.receive()
                    except TimeoutError:
                        break
                    peer.handle_message(now, sender, frame or b"")
                    beat(now)
                    await asyncio.sleep(0.05)
            self.assertEqual(keys(node.presence, "room"), ["bob"])
            time.sleep(1.5)
            beat(3)
            await asyncio.sleep(0.1)
            self.assertEqual(keys(node.presence, "room"), ["bob"])
        async for event in events:
            gone += [event] if event.kind == "replica_down" else []
        self.assertEqual(gone, [])
        await theirs.close()

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
        async with Node(Presence("a", heartbeat=0.01), flood):
            while flood.sent < 4:
                await asyncio.sleep(0)

    async def test_a_reader_that_lags_is_told(self) -> None:
        subscription = Subscription[Diff](lambda out: out if isinstance(out, Diff) else None, limit=2)
        for i in range(4):
            tracker = headcount.Tracker("a")
            tracker.track("room", f"{i}", "c")
            subscription._offer(tracker.take_diff())
        self.assertEqual([(await anext(subscription)).joins[0].key for _ in range(2)], ["0", "1"])
        with self.assertRaises(LagError):
            await anext(subscription)
        with self.assertRaises(StopAsyncIteration):
            await anext(subscription)


class Names(unittest.IsolatedAsyncioTestCase):
    async def test_a_name_that_is_used_twice_is_logged_and_raised_to_waiters(self) -> None:
        network = MemoryNetwork()

        def node(name: str, place: str) -> Node:
            return Node(Presence(name, heartbeat=0.02, down_after=0.1), network.join(place))

        with self.assertLogs("headcount", logging.ERROR) as logged:
            async with node("web", "1") as one, node("db", "3"):
                await one.synced()
                async with node("web", "2") as two:
                    async with asyncio.timeout(60):
                        while not logged.records:
                            await asyncio.sleep(0.01)
                    told = [made for made in (one, two) if made._duplicate is not None]
                    self.assertTrue(told)
                    for made in told:
                        with self.assertRaises(headcount.DuplicateName):
                            await made.synced()
        self.assertIn("'web'", logged.output[0])

    def test_names_are_unique_when_left_out(self) -> None:
        names = {Presence().replica.name for _ in range(100)}
        self.assertEqual(len(names), 100)
        self.assertIn(f"-{os.getpid()}-", names.pop())


if __name__ == "__main__":
    unittest.main()
