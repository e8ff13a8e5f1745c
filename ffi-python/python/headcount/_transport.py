"""The transports of `headcount.aio`: the protocol that a node needs, and one over TCP."""

import asyncio
import logging
import struct
from collections.abc import Coroutine
from typing import NamedTuple, Protocol

__all__ = ["StreamTransport", "Transport"]

_log = logging.getLogger("headcount")
_LENGTH = struct.Struct("!I")
_NAME_MAX = 255
_RETRY_MIN, _RETRY_MAX = 0.1, 5.0


class Transport(Protocol):
    """A carrier of frames between nodes, each whole or not at all.

    Loss, duplication and reordering are repaired by the protocol, so a transport never waits for
    a slow peer: it drops.
    """

    @property
    def frame_max(self) -> int:
        """The longest frame that the transport carries, in bytes."""

    def send(self, to: str | None, frame: bytes) -> None:
        """Send a frame to one peer, or with ``None`` to all. Ignore a peer that is unknown."""

    async def receive(self) -> tuple[str, bytes | None]:
        """Return the peer and the frame that came next; ``None`` as frame when the peer was lost.

        Raises ``EOFError`` once the transport is closed.
        """

    async def close(self) -> None:
        """Release the connections. ``receive`` then raises ``EOFError``."""


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


class _Link(NamedTuple):
    """A connection to a peer. ``ours`` is true if this end opened it."""

    writer: asyncio.StreamWriter
    ours: bool


class _Connected(Exception):
    """The peer has a connection already, and that one is kept."""

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.peer = peer


class _SameName(ValueError):
    """The node at the other end has the name of this one."""


class StreamTransport:
    """TCP by `asyncio` streams: each frame follows its length in four bytes; the first is a name.

    Every node listens, and connects to the nodes it knows; one connection serves both directions.
    Connections that fail are tried again, at the start and later. Both ends send an empty frame now
    and then; a connection that brings nothing for `silence` seconds is dropped, as its peer or the
    network is down. There is no encryption and no password: use it between hosts that trust each
    other.
    """

    def __init__(
        self, name: str, *, frame_max: int = 256 * 1024, backlog: int = 8 << 20, silence: float = 10.0
    ) -> None:
        if not 0 < len(name.encode()) <= _NAME_MAX:
            raise ValueError(f"a name is 1 to {_NAME_MAX} bytes of UTF-8")
        if not silence > 0:
            raise ValueError(f"silence is a positive number of seconds, not {silence}")
        self.name = name
        self.frame_max = frame_max
        self._backlog = backlog
        self._silence = silence
        self._inbox = _Inbox(10_000)
        self._server: asyncio.Server | None = None
        self._links: dict[str, _Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Accept peers; return the port, which the system chooses when it is 0."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def connect(self, host: str, port: int) -> "asyncio.Future[str]":
        """Connect to a node that listens, now and whenever the connection is lost. Return a future
        with the name of that node, for those who want to wait until it is there.
        """
        connected: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = self._spawn(self._stay_connected(host, port, connected))
        task.add_done_callback(lambda _: connected.cancel())
        return connected

    def send(self, to: str | None, frame: bytes) -> None:
        """Send a frame to one peer, or with ``None`` to all; drop it for peers that are slow."""
        links = self._links.values() if to is None else [self._links.get(to)]
        for link in list(links):
            if link and link.writer.transport.get_write_buffer_size() < self._backlog:
                link.writer.write(_LENGTH.pack(len(frame)))
                link.writer.write(frame)

    async def receive(self) -> tuple[str, bytes | None]:
        """Return the peer and the frame that came next."""
        return await self._inbox.get()

    async def close(self) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._inbox.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _stay_connected(self, host: str, port: int, first: "asyncio.Future[str]") -> None:
        delay = _RETRY_MIN
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, port)
                peer = await asyncio.wait_for(self._greet(reader, writer, True), timeout=10)
            except _Connected as other:
                delay = _RETRY_MIN
                _resolve(first, other.peer)
                while other.peer in self._links:
                    await asyncio.sleep(_RETRY_MAX / 5)
            except _SameName as error:
                if first.done():
                    raise
                first.set_exception(error)
                return
            except (OSError, ValueError, EOFError, TimeoutError) as error:
                _log.log(
                    logging.WARNING if delay == _RETRY_MIN else logging.DEBUG,
                    "transport %r: no connection to %s:%d (%s); trying again", self.name, host, port, error,
                )  # fmt: skip
                await asyncio.sleep(delay)
                delay = min(2 * delay, _RETRY_MAX)
            else:
                delay = _RETRY_MIN
                _resolve(first, peer)
                await self._read(peer, reader, writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = await asyncio.wait_for(self._greet(reader, writer, False), timeout=10)
        except (_Connected, OSError, ValueError, EOFError, TimeoutError):
            return
        self._spawn(self._read(peer, reader, writer))

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: bool
    ) -> str:
        """Exchange names, and choose between this connection and an older one to the same peer."""
        try:
            name = self.name.encode()
            writer.write(_LENGTH.pack(len(name)) + name)
            peer = (await _read_frame(reader, _NAME_MAX)).decode()
            if peer == self.name:
                raise _SameName(f"the node at the other end is called {peer!r} too")
            old = self._links.get(peer)
            if old is not None:
                # When two connections crossed, both ends keep the one that the lesser name opened.
                if old.ours != ours and ours != (self.name < peer):
                    raise _Connected(peer)
                old.writer.close()
        except BaseException:
            writer.close()
            raise
        self._links[peer] = _Link(writer, ours)
        return peer

    async def _read(
        self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pinging = asyncio.create_task(self._ping(writer))
        try:
            while True:
                async with asyncio.timeout(self._silence):
                    frame = await _read_frame(reader, self.frame_max)
                if frame:
                    self._inbox.put(peer, frame)
        except TimeoutError:
            _log.warning("transport %r: %r is silent, its connection is dropped", self.name, peer)
            writer.transport.abort()
        except (OSError, ValueError, EOFError):
            pass
        finally:
            pinging.cancel()
            writer.close()
            link = self._links.get(peer)
            if link is not None and link.writer is writer:
                del self._links[peer]
                self._inbox.put(peer, None)

    async def _ping(self, writer: asyncio.StreamWriter) -> None:
        """Send empty frames, so that the peer hears that this end is there."""
        while True:
            await asyncio.sleep(self._silence / 3)
            writer.write(_LENGTH.pack(0))


def _resolve(future: "asyncio.Future[str]", peer: str) -> None:
    if not future.done():
        future.set_result(peer)


async def _read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise ValueError(f"a frame of {length} bytes is over the limit of {limit}")
    return await reader.readexactly(length)
