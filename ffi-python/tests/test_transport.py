"""`StreamTransport`: connections that are refused, lost, half open, doubled, or those of strangers."""

import asyncio
import contextlib
import logging
import struct
import time
import unittest

from headcount import Event, Presence, Transmit, aio
from headcount.aio import StreamTransport
from waiting import keys, until


def connect(end: StreamTransport) -> aio.Node:
    return aio.connect(end, name=end.name, heartbeat=0.05, down_after=1.0)


class Streams(unittest.IsolatedAsyncioTestCase):
    async def test_three_nodes(self) -> None:
        ends = [StreamTransport(name) for name in "abc"]
        ports = [await end.listen() for end in ends]
        await ends[1].connect("127.0.0.1", ports[0])
        await ends[2].connect("127.0.0.1", ports[0])
        await ends[2].connect("127.0.0.1", ports[1])
        nodes = [await connect(end) for end in ends]
        for i in range(300):
            nodes[i % 3].track(f"room-{i % 4}", f"user-{i}", "c", {"i": i})
        await until(lambda: all(len(node) == 300 for node in nodes))
        await nodes[0].stop(graceful=False)
        await until(lambda: nodes[1].count("room-0") == 50)
        await nodes[1].stop()
        await until(lambda: nodes[2].count("room-0") == 25)
        await nodes[2].stop()

    async def test_a_ring_in_which_each_node_knows_two_others(self) -> None:
        ends = [StreamTransport(name) for name in "abcde"]
        ports = [await end.listen() for end in ends]
        for end, port in zip(ends, ports[1:] + ports[:1], strict=True):
            await end.connect("127.0.0.1", port)
        nodes = [
            await aio.connect(end, name=end.name, relay=True, heartbeat=0.05, down_after=1.0) for end in ends
        ]
        for node in nodes:
            node.track("room", node.replica.name, "c")
        await until(lambda: all(keys(node, "room") == [*"abcde"] for node in nodes))
        self.assertEqual([len(end._links) for end in ends], [2] * 5)
        await nodes[2].stop(graceful=False)  # The other way round the ring is left.
        rest = [*nodes[:2], *nodes[3:]]
        await until(lambda: all(keys(node, "room") == [*"abde"] for node in rest))
        nodes[1].track("room", "bob", "c")
        await until(lambda: all(keys(node, "room") == ["a", "b", "bob", "d", "e"] for node in rest))
        for node in rest:
            await node.stop()

    async def test_a_lost_connection_is_made_again(self) -> None:
        there, here = StreamTransport("there"), StreamTransport("here")
        port = await there.listen()
        self.assertEqual(await here.connect("127.0.0.1", port), "there")
        async with connect(here) as node:
            first = await connect(there)
            first.track("room", "ann", "c")
            await until(lambda: node.count("room") == 1)
            await first.stop(graceful=False)
            await until(lambda: node.count("room") == 0)
            again = StreamTransport("there")
            await again.listen(port=port)
            async with connect(again) as second:
                second.track("room", "bob", "c")
                await until(lambda: keys(node, "room") == ["bob"])

    async def test_a_node_that_starts_later_is_found(self) -> None:
        there, here = StreamTransport("there"), StreamTransport("here")
        port = await there.listen()
        await there.close()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            connected = here.connect("127.0.0.1", port)
            async with connect(here) as node:
                node.track("room", "ann", "c")
                await until(lambda: bool(logged.records))
                late = StreamTransport("there")
                await late.listen(port=port)
                async with connect(late) as other:
                    self.assertEqual(await connected, "there")
                    await until(lambda: other.count("room") == 1)
        self.assertIn("no connection to 127.0.0.1", logged.output[0])

    async def test_a_half_open_connection_is_dropped_and_made_again(self) -> None:
        there = StreamTransport("there", silence=1.0)
        here = StreamTransport("here", silence=1.0)
        port = await there.listen()
        made: list[asyncio.Task[None]] = []
        is_dark = False

        async def pump(
            number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                while data := await reader.read(65_536):
                    if not (is_dark and number == 0):
                        writer.write(data)
            except OSError:
                pass
            finally:
                writer.close()

        async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            number = len(made) // 2
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            made.append(asyncio.create_task(pump(number, reader, far_writer)))
            made.append(asyncio.create_task(pump(number, far_reader, writer)))

        proxy = await asyncio.start_server(between, "127.0.0.1", 0)
        await here.connect("127.0.0.1", proxy.sockets[0].getsockname()[1])
        async with connect(there) as a, connect(here) as b:
            a.track("room", "ann", "c")
            await until(lambda: b.count("room") == 1)
            with self.assertLogs("headcount", logging.WARNING) as logged:
                is_dark = True
                await until(lambda: len(made) > 2)
                a.track("room", "bob", "c")
                await until(lambda: keys(b, "room") == ["ann", "bob"])
        self.assertIn("is silent, its connection is dropped", "\n".join(logged.output))
        proxy.close()
        for task in made:
            task.cancel()
        await asyncio.gather(*made, return_exceptions=True)
        await asyncio.sleep(0.1)

    async def test_nothing_lives_on_after_a_close(self) -> None:
        there = StreamTransport("there", silence=1.0)
        port = await there.listen()
        # A stranger who has not said its name yet, and a peer whose link is as new as can be.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        here = StreamTransport("here", silence=1.0)
        await here.connect("127.0.0.1", port)
        with self.assertNoLogs("asyncio"):
            await there.close()
            await asyncio.sleep(0.1)
        writer.write(struct.pack("!IB", 1, 0) + b"b")
        with contextlib.suppress(OSError):
            async with asyncio.timeout(5):
                while await reader.read(100):
                    writer.write(bytes(5))
        writer.close()
        await until(lambda: not here._links)
        self.assertEqual((there._links, there._tasks), ({}, set()))
        for use in (there.listen, lambda: there.connect("127.0.0.1", port)):
            with self.assertRaises(RuntimeError):
                await use()
        await here.close()

    async def test_a_node_of_the_same_name_is_met_in_passing(self) -> None:
        here, there = StreamTransport("here"), StreamTransport("there")
        port = await there.listen()
        self.assertEqual(await here.connect("127.0.0.1", port), "there")
        await there.close()
        impostor = StreamTransport("here")
        with self.assertLogs("headcount", logging.WARNING) as logged:
            await impostor.listen(port=port)
            await until(lambda: "is called 'here' too" in "\n".join(logged.output))
        await impostor.close()
        there = StreamTransport("there")
        await there.listen(port=port)
        await until(lambda: "there" in here._links)
        with self.assertRaisesRegex(ValueError, "is called 'there' too"):
            await there.connect("127.0.0.1", port)
        await here.close()
        await there.close()

    async def test_a_port_that_is_none_is_the_error_of_who_waits(self) -> None:
        end = StreamTransport("end")
        with self.assertRaises(OverflowError):
            await end.connect("127.0.0.1", 99_999)
        await end.close()

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
        async with connect(end) as node:
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
            with self.assertLogs("headcount", logging.WARNING) as logged:
                other.send(None, b"not a frame")
                await until(lambda: sum(node.stats()["refused"].values()) == 1)
                await until(lambda: bool(logged.records))
            self.assertIn("refused frame 1 of b", logged.output[0])
            await other.close()
            self.assertEqual(len(node), 1)

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

        async with aio.connect(ours, name="a", heartbeat=0.2, down_after=1.0) as node:
            await theirs.connect("127.0.0.1", port)
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
            await until(lambda: keys(node, "room") == ["bob"])
            beat(3)
            time.sleep(1.5)  # The loop is held up, and the heartbeats of the peer wait in its socket.
            beat(4)
            await asyncio.sleep(0.1)
            self.assertEqual(keys(node, "room"), ["bob"])
        gone: list[Event] = [event async for event in events if event.kind == "replica_down"]
        self.assertEqual(gone, [])
        await theirs.close()


if __name__ == "__main__":
    unittest.main()
