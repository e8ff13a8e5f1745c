"""The transports of `headcount.aio`: what a node needs of a network, and two networks."""

import asyncio
import random
import struct
from typing import Protocol

__all__ = ["MemoryNetwork", "MemoryTransport", "StreamTransport", "Transport"]

_LENGTH = struct.Struct("!I")
_NAME_MAX = 255


class Transport(Protocol):
    """Carries frames between nodes, each whole or not at all.

    Loss, duplication and reordering are repaired by the protocol, so a transport never waits for
    a slow peer: it drops.
    """

    @property
    def max_frame(self) -> int:
        """The longest frame in bytes that it carries."""

    def send(self, to: str | None, frame: bytes) -> None:
        """Sends to one peer, or with ``None`` to all. To an unknown peer it does nothing."""

    async def receive(self) -> tuple[str, bytes | None]:
        """The next frame and the peer it came from; ``None`` when that peer was lost.

        Raises ``EOFError`` once the transport is closed.
        """

    async def close(self) -> None:
        """Releases what it holds. ``receive`` then raises ``EOFError``."""


class MemoryNetwork:
    """A network inside one process, for tests: it can lose frames and be cut.

    >>> network = MemoryNetwork(loss=0.1, seed=7)
    >>> a, b = network.join("a"), network.join("b")
    >>> network.cut("a", "b")
    >>> network.heal()
    """

    def __init__(self, *, loss: float = 0.0, seed: int = 0) -> None:
        if not 0.0 <= loss < 1.0:
            raise ValueError(f"loss must be at least 0 and below 1, not {loss}")
        self._loss = loss
        self._random = random.Random(seed)
        self._nodes: dict[str, MemoryTransport] = {}
        self._cuts: set[frozenset[str]] = set()

    def join(self, name: str) -> "MemoryTransport":
        """Adds a node; a node that had the name is replaced."""
        transport = MemoryTransport(self, name)
        self._nodes[name] = transport
        return transport

    def cut(self, a: str, b: str) -> None:
        """Stops frames between two nodes, silently, as a broken switch would."""
        self._cuts.add(frozenset((a, b)))

    def heal(self) -> None:
        """Takes back every `cut`."""
        self._cuts.clear()

    def _carry(self, sender: str, to: str | None, frame: bytes) -> None:
        for name in self._nodes if to is None else (to,):
            node = self._nodes.get(name)
            if node is None or name == sender or frozenset((sender, name)) in self._cuts:
                continue
            if self._random.random() >= self._loss:
                node._arrive(sender, frame)

    def _leave(self, transport: "MemoryTransport") -> None:
        if self._nodes.get(transport.name) is transport:
            del self._nodes[transport.name]


class _Inbox:
    """A bounded queue of arrivals that drops when it is full, and ends."""

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[tuple[str, bytes | None] | None] = asyncio.Queue(size)
        self._closed = False

    def put(self, peer: str, frame: bytes | None) -> None:
        if not self._closed and not self._queue.full():
            self._queue.put_nowait((peer, frame))

    async def get(self) -> tuple[str, bytes | None]:
        item = None if self._closed and self._queue.empty() else await self._queue.get()
        if item is None:
            raise EOFError("the transport is closed")
        return item

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._queue.full():
                self._queue.get_nowait()
            self._queue.put_nowait(None)


class MemoryTransport:
    """One node's end of a `MemoryNetwork`."""

    max_frame = 256 * 1024

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.name = name
        self._network = network
        self._inbox = _Inbox(10_000)

    def send(self, to: str | None, frame: bytes) -> None:
        self._network._carry(self.name, to, frame)

    async def receive(self) -> tuple[str, bytes | None]:
        return await self._inbox.get()

    async def close(self) -> None:
        self._network._leave(self)
        self._inbox.close()

    def _arrive(self, sender: str, frame: bytes) -> None:
        self._inbox.put(sender, frame)


class StreamTransport:
    """TCP by `asyncio` streams: each frame behind its length in four bytes, the first is a name.

    Every node listens, and connects to those it knows; one connection serves both directions.
    There is no encryption and no password: it is for hosts that trust each other.
    """

    def __init__(self, name: str, *, max_frame: int = 256 * 1024, backlog: int = 8 << 20) -> None:
        if not 0 < len(name.encode()) <= _NAME_MAX:
            raise ValueError(f"a name is 1 to {_NAME_MAX} bytes of UTF-8")
        self.name = name
        self.max_frame = max_frame
        self._backlog = backlog
        self._inbox = _Inbox(10_000)
        self._server: asyncio.Server | None = None
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._readers: set[asyncio.Task[None]] = set()

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Accepts peers; returns the port, which the system chooses when it is 0."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def connect(self, host: str, port: int) -> str:
        """Connects to a node that listens, and returns its name."""
        reader, writer = await asyncio.open_connection(host, port)
        return await self._greet(reader, writer)

    def send(self, to: str | None, frame: bytes) -> None:
        peers = self._writers.values() if to is None else [self._writers.get(to)]
        for writer in list(peers):
            if writer is not None and writer.transport.get_write_buffer_size() < self._backlog:
                writer.write(_LENGTH.pack(len(frame)))
                writer.write(frame)

    async def receive(self) -> tuple[str, bytes | None]:
        return await self._inbox.get()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._inbox.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(self._greet(reader, writer), timeout=10)
        except (OSError, ValueError, EOFError, TimeoutError):
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        name = self.name.encode()
        writer.write(_LENGTH.pack(len(name)) + name)
        peer = (await _read_frame(reader, _NAME_MAX)).decode()
        old = self._writers.get(peer)
        if old is not None:
            old.close()
        self._writers[peer] = writer
        task = asyncio.create_task(self._read(peer, reader, writer))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)
        return peer

    async def _read(
        self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                self._inbox.put(peer, await _read_frame(reader, self.max_frame))
        except (OSError, ValueError, EOFError):
            pass
        finally:
            writer.close()
            if self._writers.get(peer) is writer:
                del self._writers[peer]
                self._inbox.put(peer, None)


async def _read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise ValueError(f"a frame of {length} bytes is over the limit of {limit}")
    return await reader.readexactly(length)
