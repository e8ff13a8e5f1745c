import array
import pickle
import random
import sys
import threading
import time
import unittest
from collections.abc import Mapping

import headcount
from headcount import Diff, Entry, Tracker


def pair() -> tuple[Tracker, Tracker]:
    return Tracker("a", incarnation=1, salt=0), Tracker("b", incarnation=1, salt=0)


def delta(tracker: Tracker, since: int = 0) -> bytes:
    frame = tracker.delta_since(since)
    assert frame is not None
    return frame


class Operations(unittest.TestCase):
    def setUp(self) -> None:
        self.t = Tracker("a")

    def test_track_list_and_get(self) -> None:
        ref = self.t.track("room", "ann", "conn-1", {"device": "phone"}, status=2)
        self.assertEqual(len(self.t), 1)
        (entry,) = self.t.list("room")
        self.assertIsInstance(entry, Entry)
        self.assertEqual(
            (entry.topic, entry.key, entry.owner, entry.status), ("room", "ann", "conn-1", 2)
        )
        self.assertEqual(entry.json(), {"device": "phone"})
        self.assertEqual(entry.meta, b'{"device":"phone"}')
        self.assertEqual((entry.ref, entry.node), (ref, "a"))
        self.assertEqual(self.t.get_by_key("room", "ann"), [entry])
        self.assertEqual(self.t.get_by_key("room", "bob"), [])
        self.assertEqual(self.t.list("hall"), [])

    def test_own_entries_are_those_of_this_replica(self) -> None:
        self.t.track("room", "ann", "c", {"device": "phone"})
        other = Tracker("b")
        other.track("room", "ann", "c")
        self.t.apply(delta(other))
        own = self.t.get_own("room", "ann", "c")
        assert own is not None
        self.assertEqual((own.node, own.json()), ("a", {"device": "phone"}))
        self.assertEqual((self.t.count("room"), self.t.count_own("room")), (2, 1))
        self.assertIsNone(self.t.get_own("room", "ann", "d"))
        self.assertIsNone(self.t.get_own("hall", "ann", "c"))
        self.assertEqual(self.t.count_own("hall"), 0)

    def test_update_gives_the_entry_another_reference(self) -> None:
        first = self.t.track("room", "ann", "c")
        second = self.t.update("room", "ann", "c", {"away": True})
        self.assertNotEqual(first, second)
        (entry,) = self.t.list("room")
        self.assertEqual(entry.ref, second)
        self.assertEqual(entry.json(), {"away": True})

    def test_upsert_does_either(self) -> None:
        self.t.upsert("room", "ann", "c", 1)
        self.t.upsert("room", "ann", "c", 2)
        self.assertEqual([e.json() for e in self.t.list("room")], [2])

    def test_untrack(self) -> None:
        self.t.track("room", "ann", "c")
        self.assertTrue(self.t.untrack("room", "ann", "c"))
        self.assertFalse(self.t.untrack("room", "ann", "c"))
        self.assertEqual(len(self.t), 0)

    def test_untrack_owner_takes_everything_of_a_connection(self) -> None:
        for topic in ("x", "y", "z"):
            self.t.track(topic, "ann", "c-1")
            self.t.track(topic, "ann", "c-2")
        self.assertEqual(self.t.untrack_owner("c-1"), 3)
        self.assertEqual(self.t.untrack_owner("c-1"), 0)
        self.assertEqual(len(self.t), 3)

    def test_counts_entries_and_keys(self) -> None:
        self.t.track("room", "ann", "1")
        self.t.track("room", "ann", "2")
        self.t.track("room", "bob", "3")
        self.assertEqual((self.t.count("room"), self.t.count_keys("room").at_most), (3, 2))

    def test_in_and_repr(self) -> None:
        self.t.track("room", "ann", "1")
        self.assertIn(("room", "ann"), self.t)
        self.assertNotIn(("room", "bob"), self.t)
        self.assertNotIn("room", self.t)
        self.assertNotIn(("room", 3), self.t)
        self.assertRegex(repr(self.t), r"^<Tracker a@\d+\.[0-9a-f]+ 1>$")

    def test_bytes_keys_are_another_kind_of_key(self) -> None:
        self.t.track("room", b"ann", b"c", b"\x00\xff")
        self.t.track("room", "ann", "c", {})
        self.assertEqual(len(self.t.get_by_key("room", "ann")), 1)
        (entry,) = self.t.get_by_key("room", b"ann")
        self.assertEqual((entry.key, entry.owner, entry.meta), (b"ann", b"c", b"\x00\xff"))

    def test_take_diff_coalesces(self) -> None:
        self.t.track("room", "ann", "1", 1)
        self.t.update("room", "ann", "1", 2)
        self.t.track("room", "bob", "2")
        self.t.untrack("room", "bob", "2")
        diff = self.t.take_diff()
        self.assertEqual(list(diff), ["room"])
        told = [[(e.key, e.json()) for e in of] for of in (diff.joins, diff.leaves)]
        # Bob came and went, and a list read in between has shown ann's first meta.
        self.assertEqual(told, [[("ann", 2), ("bob", None)], [("ann", 1), ("bob", None)]])
        self.assertEqual(diff.updates, [])
        self.assertFalse(diff.is_lossy())
        self.assertFalse(self.t.take_diff())

    def test_a_copy_of_a_list_is_right_whenever_it_was_read(self) -> None:
        for seed in range(30):
            rng = random.Random(seed)
            a, b = Tracker("a"), Tracker("b")
            of_a: list[Copy] = [{}]
            of_b: list[Copy] = [{}]
            for step in range(150):
                key, owner = f"k{rng.randrange(3)}", f"o{rng.randrange(2)}"
                match rng.randrange(6):
                    case 0 | 1 | 2:
                        a.upsert("room", key, owner, step)
                    case 3:
                        a.untrack("room", key, owner)
                    case 4:
                        a.untrack_owner(owner)
                if rng.random() < 0.3:
                    of_a.append(copy(a))
                if rng.random() < 0.1:
                    take(a.take_diff(), of_a)
                frame = a.delta_since(b.clock(a.replica))
                if frame is not None and rng.random() < 0.2:
                    take(b.apply(frame), of_b)
                    of_b.append(copy(b))
            take(a.take_diff(), of_a)
            for tracker, copies in [(a, of_a), (b, of_b)]:
                for one in copies:
                    self.assertEqual(one, copy(tracker), f"seed {seed}")

    def test_an_update_keeps_the_status_unless_told(self) -> None:
        for made in (Tracker("a"), headcount.Presence("a")):
            made.track("room", "ann", "other", status=9)
            made.track("room", "ann", "phone", {"n": 1}, status=3)
            made.update("room", "ann", "phone", {"n": 2})
            self.assertEqual({e.owner: e.status for e in made.list("room")}, {"other": 9, "phone": 3})
            made.upsert("room", "ann", "phone", {"n": 3})
            self.assertEqual({e.owner: e.status for e in made.list("room")}, {"other": 9, "phone": 3})
            made.update("room", "ann", "phone", {"n": 4}, status=0)
            self.assertEqual({e.owner: e.status for e in made.list("room")}, {"other": 9, "phone": 0})
            made.upsert("room", "bob", "phone", status=None)
            self.assertEqual(made.get_by_key("room", "bob")[0].status, 0)

    def test_a_diff_is_a_mapping(self) -> None:
        tracker = Tracker("a")
        tracker.track("b", "ann", "phone")
        tracker.track("a", "ann", "phone")
        diff = tracker.take_diff()
        self.assertIsInstance(diff, Mapping)
        self.assertEqual((list(diff), list(diff.keys()), len(diff.values())), (["a", "b"], ["a", "b"], 2))
        self.assertEqual([(topic, change.topic) for topic, change in diff.items()], [("a", "a"), ("b", "b")])
        self.assertEqual(diff.keys() & {"a"}, {"a"})
        change = diff.get("a")
        assert change is not None
        self.assertEqual(change.topic, "a")
        self.assertEqual((diff.get("c"), diff.get("c", 1)), (None, 1))
        self.assertEqual([topic for topic, _ in {**diff}.items()], ["a", "b"])

    def test_an_update_shows_old_and_new(self) -> None:
        self.t.track("room", "ann", "1", 1)
        self.t.take_diff()
        self.t.update("room", "ann", "1", 2)
        (update,) = self.t.take_diff().updates
        self.assertEqual((update.key, update.old.json(), update.new.json()), ("ann", 1, 2))
        self.assertEqual((update.old.previous_ref, update.new.previous_ref), (None, update.old.ref))
        self.assertEqual([e.previous_ref for e in self.t.list("room")], [update.old.ref])


Copy = dict[tuple[str | bytes, str], Entry]


def copy(tracker: Tracker) -> Copy:
    return {(entry.key, entry.ref): entry for entry in tracker.list("room")}


def take(diff: Diff, copies: list[Copy]) -> None:
    for one in copies:
        one.update({(entry.key, entry.ref): entry for entry in diff.joins})
        for update in diff.updates:
            one.pop((update.key, update.old.ref), None)
            one[update.key, update.new.ref] = update.new
        for entry in diff.leaves:
            assert one.pop((entry.key, entry.ref), entry) == entry, "it leaves as it was shown"


class Refusals(unittest.TestCase):
    def setUp(self) -> None:
        self.t = Tracker("a")

    def test_track_twice_and_update_of_nothing(self) -> None:
        self.t.track("room", "ann", "c")
        with self.assertRaises(headcount.AlreadyTracked) as caught:
            self.t.track("room", "ann", "c")
        self.assertEqual(caught.exception.kind, "already_tracked")
        with self.assertRaises(headcount.NotTracked):
            self.t.update("room", "bob", "c")
        with self.assertRaises(LookupError):
            self.t.update("room", "bob", "c")
        self.assertEqual(len(self.t), 1)

    def test_limits_say_what_is_allowed(self) -> None:
        long = "x" * 20_000
        for topic, key, owner, meta, limit in [
            (long, "k", "o", b"", 256),
            ("t", long, "o", b"", 256),
            ("t", "k", long, b"", 64),
            ("t", "k", "o", b"x" * 20_000, 16_384),
        ]:
            with self.assertRaises(headcount.LimitError) as caught:
                self.t.track(topic, key, owner, meta)
            self.assertEqual(caught.exception.limit, limit)
            self.assertIn("20000", str(caught.exception))
        self.assertEqual(len(self.t), 0)

    def test_wrong_types(self) -> None:
        bad = [(1, "k", "o"), ("t", 1, "o"), ("t", "k", 1), ("t", "k", None), (b"t", "k", "o")]
        for args in bad:
            with self.assertRaises(TypeError):
                self.t.track(*args)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            self.t.track("t", "k", b"o")
        with self.assertRaises(TypeError):
            self.t.track("t", b"k", b"o", {"json": 1})
        with self.assertRaises(TypeError):
            self.t.track("t", "k", "o", {1, 2})  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            self.t.apply("text")  # type: ignore[arg-type]

    def test_lone_surrogates(self) -> None:
        for args in [("\ud800", "k", "o"), ("t", "\udfff", "o"), ("t", "k", "\ud800")]:
            with self.assertRaises(UnicodeEncodeError):
                self.t.track(*args)

    def test_integers_out_of_range(self) -> None:
        for status in (-1, 256, 1 << 80):
            with self.assertRaises(OverflowError):
                self.t.track("t", "k", "o", status=status)
        with self.assertRaises(OverflowError):
            Tracker("a", incarnation=1 << 64)
        with self.assertRaises(ValueError):
            Tracker("a", incarnation=1 << 62)
        with self.assertRaises(ValueError):
            Tracker("")

    def test_meta_that_is_not_json(self) -> None:
        with self.assertRaises(ValueError):
            self.t.track("t", "k", "o", float("nan"))
        loop: list[object] = []
        loop.append(loop)
        with self.assertRaises(ValueError):
            self.t.track("t", "k", "o", loop)
        self.t.track("t", "k", "o", b"{not json")
        with self.assertRaises(ValueError):
            self.t.list("t")[0].json()


class Frames(unittest.TestCase):
    def test_a_delta_carries_what_is_missing(self) -> None:
        a, b = pair()
        a.track("room", "ann", "c", {"x": 1})
        diff = b.apply(delta(a))
        self.assertIsInstance(diff, Diff)
        self.assertEqual([e.key for e in diff.joins], ["ann"])
        self.assertEqual(b.list("room"), a.list("room"))
        since = b.clock(a.replica)
        a.untrack("room", "ann", "c")
        small = delta(a, since)
        self.assertEqual([e.key for e in b.apply(small).leaves], ["ann"])
        self.assertFalse(b.apply(small), "the same frame again changes nothing")
        self.assertEqual(b.clock(a.replica), a.clock())
        self.assertIsNone(a.delta_since(a.clock()))

    def test_a_gap_is_refused(self) -> None:
        a, b = pair()
        for i in range(5):
            a.track("room", f"k{i}", "c")
        with self.assertRaises(headcount.GapError) as caught:
            b.apply(delta(a, 3))
        self.assertEqual((caught.exception.clock, caught.exception.start), (0, 3))
        self.assertEqual(len(b), 0)

    def test_broken_frames_say_where(self) -> None:
        a, b = pair()
        a.track("room", "ann", "c")
        frame = delta(a)
        for bad in (b"", b"\x00" * 64, frame[:-1], frame + b"x", frame[:9] + b"\xff" + frame[10:]):
            with self.assertRaises(headcount.DecodeError) as caught:
                b.apply(bad)
            self.assertIsInstance(caught.exception, ValueError)
            self.assertLessEqual(caught.exception.offset, len(bad))
            self.assertRegex(caught.exception.kind, "^[a-z_]+$")
            again = pickle.loads(pickle.dumps(caught.exception))
            self.assertEqual((again.kind, str(again)), (caught.exception.kind, str(caught.exception)))
        self.assertEqual(len(b), 0)

    def test_random_damage_never_changes_anything(self) -> None:
        a, b = pair()
        for i in range(20):
            a.track("room", f"k{i}", "c", {"n": i})
        frame = delta(a)
        rng = random.Random(1)
        for _ in range(2_000):
            bad = bytearray(frame)
            bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
            with self.assertRaises(headcount.HeadcountError):
                b.apply(bad)
        self.assertEqual(len(b), 0)

    def test_any_contiguous_buffer_will_do(self) -> None:
        a, _ = pair()
        a.track("room", "ann", "c")
        frame = delta(a)
        padded = b"##" + frame + b"##"
        buffers: list[bytes | bytearray | memoryview | array.array[int]] = [
            frame,
            bytearray(frame),
            memoryview(frame),
            memoryview(padded)[2:-2],
            memoryview(bytearray(padded))[2:-2],
            array.array("B", frame),
        ]
        for buffer in buffers:
            b = Tracker("b")
            self.assertEqual(len(b.apply(buffer).joins), 1)

    def test_buffers_of_other_shapes_are_refused(self) -> None:
        a, b = pair()
        a.track("room", "ann", "c")
        frame = delta(a)
        twice = bytes(x for byte in frame for x in (byte, byte))
        with self.assertRaises(BufferError):
            b.apply(memoryview(twice)[::2])
        with self.assertRaises((BufferError, TypeError)):
            b.apply(array.array("I", [1, 2, 3]))
        self.assertEqual(len(b), 0)

    def test_bytes_are_not_kept_alive(self) -> None:
        a, b = pair()
        a.track("room", "ann", "c")
        frame = delta(a)
        before = sys.getrefcount(frame)
        b.apply(frame)
        b.apply(memoryview(frame))
        self.assertEqual(sys.getrefcount(frame), before)


class Threads(unittest.TestCase):
    def test_many_threads_share_one_tracker(self) -> None:
        t = Tracker("a")

        def work(n: int) -> None:
            for i in range(300):
                t.track(f"room-{i % 7}", f"user-{i}", f"owner-{n}")
                t.list("room-1")
                if i % 3 == 0:
                    t.untrack(f"room-{i % 7}", f"user-{i}", f"owner-{n}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(t), 4 * 200)
        self.assertEqual(sum(t.count(f"room-{i}") for i in range(7)), 800)


    def test_long_work_lets_other_threads_run(self) -> None:
        """The interpreter hands over only where a call lets go of it."""
        a, b = pair()
        for i in range(60_000):
            a.track(f"room-{i % 50}", f"user-{i}", "c", b"x" * 32)
        frame, turns, interval = delta(a), 0, sys.getswitchinterval()
        thread = threading.Thread(target=b.apply, args=(frame,))
        sys.setswitchinterval(60)
        try:
            thread.start()
            while thread.is_alive():
                time.sleep(0.001)
                turns += 1
        finally:
            sys.setswitchinterval(interval)
        self.assertEqual(len(b), 60_000)
        self.assertGreater(turns, 3)


if __name__ == "__main__":
    unittest.main()
