import os
import random
import threading
import unittest

import headcount
from headcount import Diff, Event, Presence, Signal, Transmit


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
            Presence.restore(good, "b", hartbeat=1)  # type: ignore[call-arg]


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


class Names(unittest.TestCase):
    def test_names_are_unique_when_left_out(self) -> None:
        names = {Presence().replica.name for _ in range(100)}
        self.assertEqual(len(names), 100)
        self.assertIn(f"-{os.getpid()}-", names.pop())


if __name__ == "__main__":
    unittest.main()
