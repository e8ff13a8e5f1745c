"""The life of nodes and subscriptions: starts that fail, stops that are cancelled, ends that wake readers."""

import asyncio
import contextlib
import functools
import gc
import logging
import socket
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any

import headcount
from headcount import ConnectError, LimitError, MemoryNetwork, NodeStopped, aio
from waiting import keys, until

FAST: dict[str, Any] = {"heartbeat": 0.05, "down_after": 1.0}


@contextlib.contextmanager
def mute_server() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"nats://127.0.0.1:{server.getsockname()[1]}"


class Queue:
    """A transport whose arrivals a test puts in."""

    frame_max = 65_536

    def __init__(self) -> None:
        self.arrivals: asyncio.Queue[Any] = asyncio.Queue()
        self.others: list[Queue] = []
        self.is_closed = False
        self.fault: Exception | None = None

    def send(self, to: str | None, frame: bytes) -> None:
        for other in self.others:
            other.arrivals.put_nowait(("peer", frame))

    async def receive(self) -> tuple[str, bytes | None]:
        item: Any = await self.arrivals.get()
        if isinstance(item, BaseException):
            raise item
        return item  # type: ignore[no-any-return]

    async def close(self) -> None:
        self.is_closed = True
        if self.fault is not None:
            raise self.fault


class Threads(unittest.TestCase):
    def test_a_reader_wakes_when_its_subscription_is_closed(self) -> None:
        with headcount.connect(MemoryNetwork(), name="a", **FAST) as node:
            for changes in (node.subscribe("room"), node.events()):
                ended = threading.Event()

                def read(changes: Any = changes, ended: threading.Event = ended) -> None:
                    for _ in changes:
                        pass
                    ended.set()

                threading.Thread(target=read, daemon=True).start()
                time.sleep(0.1)
                self.assertFalse(ended.is_set())
                changes.close()
                self.assertTrue(ended.wait(10))

    def test_a_node_that_stopped_is_over(self) -> None:
        node = headcount.connect(MemoryNetwork(), name="a", **FAST)
        with self.assertRaises(RuntimeError) as raised:
            node.start()
        self.assertNotIsInstance(raised.exception, NodeStopped)
        self.assertEqual(node.count("room"), 0)
        node.stop()
        for _ in range(2):
            with self.assertRaises(NodeStopped):
                node.start()
            with self.assertRaises(NodeStopped):
                node.count("room")
        node.stop()

    def test_a_start_that_failed_can_be_made_again(self) -> None:
        with mute_server() as url:
            node = headcount.Node(url, "a", **FAST)
            for _ in range(2):
                with self.assertRaises(ConnectError):
                    node.start(0.2)
        with self.assertRaises(NodeStopped):
            node.count("room")

    def test_a_stop_ends_a_start_under_way(self) -> None:
        with mute_server() as url:
            node = headcount.Node(url, "a", **FAST)
            threading.Timer(0.3, node.stop).start()
            with self.assertRaises((NodeStopped, ConnectError)):
                node.start(2)
            with self.assertRaises(NodeStopped):
                node.start(2)

    def test_a_server_that_says_nothing_takes_no_longer_than_the_timeout(self) -> None:
        with mute_server() as url:
            start = time.monotonic()
            with self.assertRaises(ConnectError):
                headcount.connect(url, timeout=0.5)
            self.assertLess(time.monotonic() - start, 3)

    def test_addresses_that_are_none_are_refused_at_once(self) -> None:
        start = time.monotonic()
        for url in ("nats://127.0.0.1:99999", "nats://127.0.0.1:abc", "nats://127.0.0.1:4222,nats://b:x"):
            with self.subTest(url), self.assertRaisesRegex(ValueError, "no address"):
                headcount.connect(url, timeout=60)
        with self.assertRaisesRegex(ValueError, "cluster"):
            headcount.connect("nats://127.0.0.1:4222", cluster="", timeout=60)
        self.assertLess(time.monotonic() - start, 10)

    def test_a_node_that_is_collected_says_what_is_lost(self) -> None:
        network = MemoryNetwork()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            headcount.connect(network, name="kept-by-nobody", **FAST)
            gc.collect()
        self.assertIn("'kept-by-nobody' is gone without a stop", "\n".join(logged.output))
        with self.assertNoLogs("headcount", logging.WARNING):
            headcount.connect(network, name="b", **FAST).stop()
            gc.collect()

    def test_threads_that_come_first_together_get_one_node(self) -> None:
        """The recipe of docs/django-celery.md and of examples/flask_app.py."""
        lock = threading.Lock()
        network = MemoryNetwork()

        @functools.cache
        def connect() -> headcount.Node:
            time.sleep(0.05)
            return headcount.connect(network, **FAST)

        def node() -> headcount.Node:
            with lock:
                return connect()

        barrier = threading.Barrier(8)
        nodes: list[headcount.Node] = []

        def visit(number: int) -> None:
            barrier.wait()
            node().upsert("room", f"user-{number}", "browser")
            nodes.append(node())

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
        self.assertEqual((len(nodes), len(set(map(id, nodes)))), (8, 1))
        self.assertEqual(node().count("room"), 8)
        node().stop()

    def test_an_owner_that_is_empty_is_kept(self) -> None:
        with headcount.connect(MemoryNetwork(), **FAST) as node, node.presence("room", "ann", owner="") as shown:
            self.assertEqual(shown.owner, "")
            self.assertEqual([entry.owner for entry in node.list("room")], [""])

    def test_signals_have_limits(self) -> None:
        with headcount.connect(MemoryNetwork(), **FAST) as node:
            node.signal("t" * 256, "k" * 256, 1, b"x" * 256)
            for topic, key, payload in (("t" * 257, "k", b""), ("t", "k" * 257, b""), ("t", "k", b"x" * 257)):
                for sender in (node, headcount.Presence("a")):
                    with self.subTest(sender), self.assertRaises(LimitError) as raised:
                        sender.signal(topic, key, 1, payload)
                    self.assertEqual(raised.exception.limit, 256)


class Loops(unittest.IsolatedAsyncioTestCase):
    async def test_a_reader_wakes_when_its_subscription_is_closed(self) -> None:
        async with aio.connect(MemoryNetwork(), name="a", **FAST) as node:
            for changes in (node.subscribe("room"), node.events()):

                async def read(changes: Any = changes) -> None:
                    async for _ in changes:
                        pass

                reader = asyncio.create_task(read())
                await asyncio.sleep(0.1)
                self.assertFalse(reader.done())
                changes.close()
                await asyncio.wait_for(reader, 10)

    async def test_a_transport_cannot_make_a_node_deaf(self) -> None:
        arrivals = (
            ("p", "text"), (b"p", b"x"), ("p\ud800", b"x"), ("p", b"x", 3), ("p", 5), None,
            asyncio.IncompleteReadError(b"", 4), EOFError(), asyncio.CancelledError(), KeyError("p"),
        )  # fmt: skip
        for arrival in arrivals:
            with self.subTest(repr(arrival)), self.assertLogs("headcount", logging.WARNING):
                here, there = Queue(), Queue()
                here.others, there.others = [there], [here]
                async with aio.connect(here, name="a", **FAST) as a, aio.connect(there, name="b", **FAST) as b:
                    await a.synced()
                    errors = a.stats()["transport_errors"]
                    here.arrivals.put_nowait(arrival)
                    b.track("room", "bob", "1")
                    await until(lambda: keys(a, "room") == ["bob"])
                    self.assertEqual(a.stats()["transport_errors"], errors + 1)

    async def test_a_stop_that_is_cancelled_goes_on(self) -> None:
        for turns in range(6):
            with self.subTest(turns):
                end = Queue()
                node = await aio.connect(end, name="a", **FAST)
                reader = asyncio.create_task(anext(node.events(), None))
                await asyncio.sleep(0.01)
                stop = asyncio.create_task(node.stop())
                for _ in range(turns):
                    await asyncio.sleep(0)
                stop.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await stop
                await node.stop()
                self.assertTrue(end.is_closed)
                self.assertIsNone(await asyncio.wait_for(reader, 10))
        node = await aio.connect(MemoryNetwork(), name="a", **FAST)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(node.stop(), 0.000_1)
        await node.stop()
        self.assertIsNone(node._news_read)

    async def test_a_transport_that_does_not_close_keeps_no_reader_waiting(self) -> None:
        end = Queue()
        end.fault = OSError("close fails")
        node = await aio.connect(end, name="a", **FAST)
        reader = asyncio.create_task(anext(node.events(), None))
        await asyncio.sleep(0.01)
        for _ in range(2):
            with self.assertRaisesRegex(OSError, "close fails"):
                await node.stop()
        self.assertIsNone(await asyncio.wait_for(reader, 10))

    async def test_a_block_never_runs_with_a_node_that_did_not_start(self) -> None:
        with mute_server() as url:
            node = aio.connect(url, name="a", timeout=0.2, **FAST)
            for _ in range(2):
                with self.assertRaises(ConnectError):
                    async with node:
                        self.fail("the block ran")
            start = asyncio.create_task(node.start())
            await asyncio.sleep(0.05)
            with self.assertRaises(RuntimeError):
                await node.start()
            with self.assertRaises(ConnectError):
                await start
        node = await aio.connect(MemoryNetwork(), name="a", **FAST)
        await node.stop()
        with self.assertRaises(NodeStopped):
            async with node:
                self.fail("the block ran")

    async def test_a_start_that_was_cancelled_can_be_made_again(self) -> None:
        network = MemoryNetwork()
        for turns in range(4):
            node = aio.connect(network, name=f"a-{turns}", **FAST)
            start = asyncio.create_task(node.start())
            for _ in range(turns):
                await asyncio.sleep(0)
            start.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await start
                continue
            await asyncio.sleep(0.1)
            with self.assertRaises(NodeStopped):
                node.count("room")
            async with node:
                self.assertEqual(node.count("room"), 0)

    def test_a_loop_that_ends_with_a_start_under_way_is_quiet(self) -> None:
        troubles: list[Any] = []

        async def main(url: str) -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
            start = asyncio.create_task(aio.connect(url, timeout=1.0).start())
            await asyncio.sleep(0.1)
            start.cancel()

        with mute_server() as url, self.assertNoLogs("asyncio", logging.WARNING):
            asyncio.run(main(url))
            gc.collect()
        self.assertEqual(troubles, [])


if __name__ == "__main__":
    unittest.main()
