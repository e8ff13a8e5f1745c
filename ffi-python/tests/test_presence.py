import contextlib
import os
import random
import threading
import unittest

import headcount
from headcount import Diff, Event, GroupSubscription, Presence, Signal, Transmit


class Cluster:
    """Presences on a network that loses, doubles and reorders frames, on a clock of its own."""

    def __init__(self, *names: str, loss: float = 0.0, seed: int = 1) -> None:
        self.nodes = {name: Presence(name, heartbeat=0.2, down_after=1.0) for name in names}
        self.rng = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.cut: set[str] = set()
        self.lost: set[tuple[str, str]] = set()
        """The pairs of a sender and a receiver between which frames for that receiver alone are lost."""
        self.refused = False
        """Whether frames may be refused."""
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
                with contextlib.suppress(*[headcount.DecodeError] * self.refused):
                    self.nodes[receiver].handle_message(self.now, sender, frame)

    def drain(self, name: str, node: Presence) -> None:
        for output in node.poll():
            if not isinstance(output, Transmit):
                assert not isinstance(output, GroupSubscription)
                self.outputs[name].append(output)
                continue
            for to in self.nodes if output.to is None else [output.to]:
                copies = 2 if self.rng.random() < self.loss else 1
                if output.to is not None and (name, to) in self.lost:
                    continue
                if to == name or {to, name} & self.cut or self.rng.random() < self.loss:
                    continue
                for _ in range(copies):
                    delay = self.rng.uniform(0.001, 0.03)
                    self.flying.append((self.now + delay, name, to, output.frame))


def kinds(cluster: Cluster, name: str) -> list[str]:
    return [output.kind for output in cluster.outputs[name] if isinstance(output, Event)]


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

    def test_diffs_that_nobody_polls_are_dropped_with_one_event(self) -> None:
        presence = Presence("a", flush=0.0)
        meta = b"m" * (16 << 10)
        for number in range(4_500):
            presence.upsert("room", f"user-{number % 10}", "c", meta)
            presence.handle_timeout(0.0)
        outputs = list(presence.poll())
        events = [output.kind for output in outputs if isinstance(output, Event)]
        self.assertEqual(events.count("diffs_dropped"), 1)
        waiting = sum(isinstance(output, Diff) for output in outputs)
        self.assertLess(waiting, 2_100, "64 MiB are 2,048 updates of two versions")
        self.assertEqual(presence.count("room"), 10)

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
        self.assertEqual(kinds(cluster, "b"), ["replica_up", "ready", "replica_down", "replica_up"])
        self.assertRegex(repr(b), r"^<Presence b@\d+\.[0-9a-f]+ 1 peers=1/1>$")

    def test_goodbye(self) -> None:
        cluster = Cluster("a", "b")
        cluster.nodes["a"].track("room", "ann", "c")
        cluster.run(1)
        self.assertIsNone(cluster.nodes["a"].poll_goodbye())
        cluster.nodes["a"].leave_gracefully(cluster.now)
        cluster.run(0.1)
        self.assertEqual(len(cluster.nodes["b"]), 0)
        self.assertIn("replica_left", kinds(cluster, "b"))

    def test_a_goodbye_of_which_the_first_two_frames_are_lost(self) -> None:
        cluster = Cluster("a", "b")
        a, b = cluster.nodes["a"], cluster.nodes["b"]
        a.track("room", "ann", "c")
        cluster.run(1)
        now = start = cluster.now
        a.leave_gracefully(now)
        said = [[out.frame for out in a.poll() if isinstance(out, Transmit)]]
        while (at := a.poll_goodbye()) is not None:
            now = at
            a.handle_timeout(now)
            said.append([out.frame for out in a.poll() if isinstance(out, Transmit)])
        self.assertEqual([len(frames) for frames in said], [1, 1, 1])
        self.assertAlmostEqual(now - start, 0.04)
        self.assertEqual(b.count("room"), 1)
        b.handle_message(now, "a", said[2][0])
        self.assertEqual((len(b), b.replicas()), (0, []))

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
        # A time below the last one is taken as that: a clock that is set back shortens no lease.
        self.assertTrue(p.lease(0, "room", "bob", "c-2", 20))
        self.assertFalse(p.lease(0, "room", "eve", "c-2", 20))
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


class Events(unittest.TestCase):
    """Events that tell of mistakes in a cluster, and of its beginning."""

    def events(self, cluster: Cluster, name: str, kind: str) -> list[Event]:
        return [out for out in cluster.outputs[name] if isinstance(out, Event) and out.kind == kind]

    def test_ready_names_those_that_are_missing(self) -> None:
        cluster = Cluster("a", "b")
        self.assertFalse(cluster.nodes["b"].is_synced())
        cluster.nodes["a"].track("room", "ann", "c")
        cluster.run(1)
        (ready,) = self.events(cluster, "b", "ready")
        self.assertEqual((ready.missing, ready.replica, repr(ready)), ([], None, "<Event ready missing=[]>"))
        late = cluster.nodes["c"] = Presence("c", heartbeat=0.2, down_after=9.0, ready_after=0.5)
        cluster.outputs["c"] = []
        cluster.lost = {("c", "a")}  # The questions to one node.
        cluster.run(2)
        (ready,) = self.events(cluster, "c", "ready")
        self.assertEqual((ready.missing, late.is_synced()), ([cluster.nodes["a"].replica], False))
        cluster.lost = set()
        cluster.run(3)
        self.assertEqual([event.missing for event in self.events(cluster, "c", "ready")][1:], [[]])
        self.assertTrue(late.is_synced())

    def test_another_number_of_partitions(self) -> None:
        cluster = Cluster("a", "b")
        cluster.nodes["b"] = Presence("b", heartbeat=0.2, partitions=64)
        cluster.nodes["b"].track("room", "ann", "c")
        with self.assertRaisesRegex(headcount.DecodeError, "the sender has (32|64) partitions") as caught:
            cluster.run(1)
        self.assertEqual(caught.exception.kind, "other_shape")
        cluster.refused = True
        cluster.run(1)
        for name, other, shapes in (
            ("a", "b", ((32, "all", False, False), (64, "all", False, False))),
            ("b", "a", ((64, "all", False, False), (32, "all", False, False))),
        ):
            (event,) = self.events(cluster, name, "shape_mismatch")
            self.assertEqual((event.peer, event.shapes, event.reason), (other, shapes, None))
        text = '<Event shape_mismatch "b": it has 64 partitions in mode all, this node has 32 partitions in mode all>'
        self.assertEqual(repr(self.events(cluster, "a", "shape_mismatch")[0]), text)
        self.assertEqual((len(cluster.nodes["a"]), cluster.nodes["a"].replicas()), (0, []))

    def test_another_cluster(self) -> None:
        cluster = Cluster("a", "b")
        cluster.refused = True
        cluster.nodes["b"] = Presence("b", heartbeat=0.2, cluster="chat")
        cluster.run(1)
        (event,) = self.events(cluster, "a", "unreadable")
        self.assertEqual(event.peer, "b")
        self.assertEqual(event.reason, "at byte 8: the frame belongs to another cluster")
        self.assertEqual(repr(event), f'<Event unreadable "b": {event.reason}>')
        self.assertEqual(cluster.nodes["a"].replicas(), [])

    def test_an_entry_that_no_frame_takes(self) -> None:
        cluster = Cluster("a", "b")
        cluster.nodes["a"] = Presence("a", heartbeat=0.2, frame_max=1_024)
        cluster.nodes["a"].track("room", "ann", "c", b"x" * 5_000)
        cluster.run(2)
        (event,) = self.events(cluster, "a", "answer_too_long")
        assert event.partition is not None and event.length is not None
        self.assertIn(event.partition, range(32))
        self.assertGreater(event.length, 5_000)
        self.assertEqual(repr(event), f"<Event answer_too_long partition={event.partition}: {event.length} bytes>")
        self.assertEqual(cluster.nodes["b"].count("room"), 0)


class Snapshots(unittest.TestCase):
    def test_a_restart_returns_its_own_entries(self) -> None:
        cluster = Cluster("a", "b")
        for i in range(50):
            cluster.nodes["a"].track("room", f"user-{i}", "c")
        cluster.nodes["b"].track("room", "own", "c-1", {"n": 1}, status=2)
        cluster.nodes["b"].track("hall", "closed", "c-2")
        cluster.run(2)
        old = cluster.nodes["b"]
        new, entries = Presence.restore(old.snapshot(), "b", heartbeat=0.2)
        self.assertGreater(new.replica, old.replica)
        self.assertEqual((len(new), len(entries), entries.leaves), (0, 2, []))
        (own,) = entries["room"].joins
        self.assertEqual((own.key, own.owner, own.json(), own.status), ("own", "c-1", {"n": 1}, 2))
        self.assertEqual([entry.key for entry in entries["hall"].joins], ["closed"])
        new.track("room", own.key, own.owner, own.json(), status=own.status)
        self.assertTrue(new.lease(cluster.now, "room", own.key, own.owner, 600))
        cluster.nodes["b"] = new
        cluster.run(3)
        for node in cluster.nodes.values():
            self.assertEqual((node.count("room"), node.count("hall")), (51, 0))

    def test_broken_snapshots(self) -> None:
        p = Presence("a")
        p.track("room", "ann", "c")
        good, rng = p.snapshot(), random.Random(8)
        restored, entries = Presence.restore(good, "b")
        self.assertEqual((len(restored), [e.key for e in entries.joins]), (0, ["ann"]))
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
        with self.assertRaisesRegex(ValueError, "replica name has 65 bytes, at most 64"):
            Presence("x" * 65)
        a = Presence("x" * 64, cluster="x" * 10_000)
        with self.assertRaisesRegex(headcount.LimitError, "owner has 65 bytes, at most 64"):
            a.track("room", "ann", "x" * 65)

    def test_numbers_of_partitions(self) -> None:
        for good in (1, 2, 4_096, 65_536, None):
            Presence("a", partitions=good)
        for bad in (0, 3, 33, 65_535, -1, -(10**30)):
            with self.assertRaisesRegex(ValueError, "partitions is a power of two from 1 to 65536, not") as caught:
                Presence("a", partitions=bad)
            self.assertNotIsInstance(caught.exception, headcount.LimitError)
        for large in (65_537, 131_072, 10**30):
            with self.assertRaisesRegex(headcount.LimitError, "a power of two from 1 to 65536") as limited:
                Presence("a", partitions=large)
            self.assertEqual(limited.exception.limit, 65_536)
        for odd in (32.0, "32"):
            with self.assertRaises(TypeError):
                Presence("a", partitions=odd)  # type: ignore[arg-type]

    def test_bad_arguments(self) -> None:
        p = Presence("a")
        for now in (-1.0, float("nan"), float("inf"), 1e300):
            with self.assertRaises(ValueError):
                p.handle_timeout(now)
        with self.assertRaises(TypeError):
            p.handle_timeout("now")  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            Presence("a", key=b"short")
        for option in ("heartbeat", "vacate_after", "ready_after"):
            with self.assertRaises(ValueError):
                Presence("a", **{option: -1})  # type: ignore[arg-type]
        for times in ({"forget_after": 5.0}, {"down_after": 1_200.0}, {"heartbeat": 600.0}):
            with self.assertRaisesRegex(ValueError, "forget_after is .*, it must be above down_after"):
                Presence("a", **times)  # type: ignore[arg-type]
        for topic, key, length in (("r" * 257, "ann", 0), ("room", "a" * 257, 0), ("room", "ann", 257)):
            with self.assertRaisesRegex(headcount.LimitError, "of a signal has 257 bytes, at most 256") as caught:
                p.signal(topic, key, 1, bytes(length))
            self.assertEqual(caught.exception.limit, 256)
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
