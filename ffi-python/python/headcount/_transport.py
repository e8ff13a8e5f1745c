"""The transports of `headcount.aio`: the protocol that a node needs, and one over TCP."""

import asyncio
import functools
import logging
import struct
from collections.abc import Coroutine
from typing import Protocol, cast

__all__ = ["GroupTransport", "StreamTransport", "Transport", "with_groups"]

_log = logging.getLogger("headcount")
_HEADER = struct.Struct("!IB")
"""The length of a frame and its type."""
_DATA, _SUBSCRIBE, _UNSUBSCRIBE = range(3)
_PARTITION_MAX = 65_535
_SAID_MAX = 256
"""The most partitions in one frame that subscribes or unsubscribes."""
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

        Raises ``EOFError`` once the transport is closed. Whatever it raises before the node stops is
        counted and logged, and it is called again.
        """

    async def close(self) -> None:
        """Release the connections. ``receive`` then raises ``EOFError``."""


class GroupTransport(Transport, Protocol):
    """A transport with a group for each partition: in mode ``interest`` a node is sent only what
    concerns the topics that it watches. Without these three methods `send` carries such frames to
    all, and those that do not watch the partition drop them.
    """

    def publish(self, partition: int, frame: bytes) -> None:
        """Send a frame to the peers that have subscribed to a partition."""

    def subscribe(self, partition: int) -> None:
        """Receive the frames that peers publish to a partition, 0 to 65,535. It may take effect
        late, and holds until `unsubscribe`, over connections that are lost and made again. When it
        raises, it is called again.
        """

    def unsubscribe(self, partition: int) -> None:
        """Receive them no longer; when it raises, it is called again."""


def with_groups(transport: Transport) -> GroupTransport | None:
    """Return a transport if it has groups."""
    methods = ("publish", "subscribe", "unsubscribe")
    lacking = [method for method in methods if not callable(getattr(transport, method, None))]
    if len(lacking) == len(methods):
        return None
    if lacking:
        raise TypeError(f"a transport with groups has {', '.join(methods)}; this one lacks {', '.join(lacking)}")
    return cast(GroupTransport, transport)


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


class _Link:
    """A connection to a peer. ``ours`` is true if this end opened it."""

    def __init__(
        self, peer: str, writer: asyncio.StreamWriter, ours: bool, wanted: set[int]
    ) -> None:
        self.peer = peer
        self.writer = writer
        self.ours = ours
        self.groups: set[int] = set()
        """The partitions to which the peer has subscribed."""
        self.untold = set(wanted)
        """The partitions of which the peer does not know whether this end wants them."""

    def write(self, kind: int, body: bytes) -> None:
        self.writer.write(_HEADER.pack(len(body), kind))
        self.writer.write(body)

    def is_slow(self, backlog: int) -> bool:
        return self.writer.transport.get_write_buffer_size() >= backlog

    def tell(self, wanted: set[int]) -> None:
        """Send what the peer does not know of the partitions that this end wants."""
        for kind, told in ((_SUBSCRIBE, self.untold & wanted), (_UNSUBSCRIBE, self.untold - wanted)):
            partitions = sorted(told)
            for first in range(0, len(partitions), _SAID_MAX):
                part = partitions[first : first + _SAID_MAX]
                self.write(kind, struct.pack(f"!{len(part)}H", *part))
        self.untold.clear()

    def take(self, kind: int, body: bytes) -> None:
        """Note what the peer wants. Raises `ValueError` for bytes that say nothing of that."""
        if kind not in (_SUBSCRIBE, _UNSUBSCRIBE) or len(body) % 2:
            raise ValueError(f"a frame of type {kind} with {len(body)} bytes")
        partitions = struct.unpack(f"!{len(body) // 2}H", body)
        if kind == _SUBSCRIBE:
            self.groups.update(partitions)
        else:
            self.groups.difference_update(partitions)


class _Connected(Exception):
    """The peer has a connection already, and that one is kept."""

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.peer = peer


class _SameName(ValueError):
    """The node at the other end has the name of this one."""


class StreamTransport:
    """TCP by `asyncio` streams: each frame follows its length in four bytes and its type in one; the
    first is a name.

    `name` is that of the node. Every node listens, and connects to the nodes it knows; one
    connection serves both directions. Each end says of which partitions it wants the frames, and
    says it again over a new connection.
    Connections that fail are tried again, at the start and later. Both ends send an empty frame now
    and then; a connection that brings nothing for `silence` seconds is dropped, as its peer or the
    network is down. Frames have at most `frame_max` bytes; a connection on which more than
    `backlog` bytes wait takes no further ones. There is no encryption and no password: use it
    between hosts that trust each other.
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
        self._wanted: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Accept peers; return the port, which the system chooses when it is 0."""
        self._check_open()
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def connect(self, host: str, port: int) -> "asyncio.Future[str]":
        """Connect to a node that listens, now and whenever the connection is lost. Return a future
        with the name of that node, for those who want to wait until it is there. It raises what no
        later attempt can mend, such as a port that is none, and `ValueError` if the node has the name
        of this one.
        """
        self._check_open()
        connected: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = self._spawn(self._stay_connected(host, port, connected))
        task.add_done_callback(functools.partial(_pass_on, connected))
        return connected

    def send(self, to: str | None, frame: bytes) -> None:
        """Send a frame to one peer, or with ``None`` to all; drop it for peers that are slow."""
        links = self._links.values() if to is None else [self._links.get(to)]
        for link in list(links):
            self._send(link, frame)

    def publish(self, partition: int, frame: bytes) -> None:
        """Send a frame to the peers that have subscribed to a partition; drop it for those that are
        slow. O(peers).
        """
        for link in list(self._links.values()):
            if partition in link.groups:
                self._send(link, frame)

    def subscribe(self, partition: int) -> None:
        """Receive the frames that peers publish to a partition. O(peers)."""
        self._want(partition, True)

    def unsubscribe(self, partition: int) -> None:
        """Receive the frames that peers publish to a partition no longer. O(peers)."""
        self._want(partition, False)

    async def receive(self) -> tuple[str, bytes | None]:
        """Return the peer and the frame that came next."""
        return await self._inbox.get()

    async def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that was cancelled before its first step has closed nothing.
        for link in self._links.values():
            link.writer.close()
        self._links.clear()
        self._inbox.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("the transport is closed: make another one")

    def _send(self, link: _Link | None, frame: bytes) -> None:
        if link is not None and not link.is_slow(self._backlog):
            link.write(_DATA, frame)

    def _want(self, partition: int, is_wanted: bool) -> None:
        if not 0 <= partition <= _PARTITION_MAX:
            raise ValueError(f"a partition is a number from 0 to {_PARTITION_MAX}, not {partition}")
        (self._wanted.add if is_wanted else self._wanted.discard)(partition)
        for link in list(self._links.values()):
            link.untold.add(partition)
            self._tell(link)

    def _tell(self, link: _Link) -> None:
        """Tell a peer what this end wants, unless it is slow: then with one of the next pings."""
        if link.untold and not link.is_slow(self._backlog):
            link.tell(self._wanted)

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
                link = await asyncio.wait_for(self._greet(reader, writer, True), timeout=10)
            except _Connected as other:
                delay = _RETRY_MIN
                _resolve(first, other.peer)
                while other.peer in self._links:
                    await asyncio.sleep(_RETRY_MAX / 5)
            except (OSError, ValueError, EOFError, TimeoutError) as error:
                if isinstance(error, _SameName) and not first.done():
                    first.set_exception(error)
                    return
                _log.log(
                    logging.WARNING if delay == _RETRY_MIN else logging.DEBUG,
                    "transport %r: no connection to %s:%d (%s); trying again", self.name, host, port, error,
                )  # fmt: skip
                await asyncio.sleep(delay)
                delay = min(2 * delay, _RETRY_MAX)
            else:
                delay = _RETRY_MIN
                _resolve(first, link.peer)
                await self._read(link, reader)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            link = await asyncio.wait_for(self._greet(reader, writer, False), timeout=10)
        except (_Connected, OSError, ValueError, EOFError, TimeoutError):
            return
        except asyncio.CancelledError:
            return  # Nobody waits for this task, and Python 3.11 logs one that is cancelled.
        finally:
            self._tasks.discard(task)
        self._spawn(self._read(link, reader))

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: bool
    ) -> _Link:
        """Exchange names, and choose between this connection and an older one to the same peer."""
        try:
            name = self.name.encode()
            writer.write(_HEADER.pack(len(name), _DATA) + name)
            kind, body = await _read_frame(reader, _NAME_MAX)
            peer = body.decode()
            if kind != _DATA:
                raise ValueError(f"the first frame is of type {kind}")
            if self._is_closed:
                raise ConnectionAbortedError("the transport was closed meanwhile")
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
        link = self._links[peer] = _Link(peer, writer, ours, self._wanted)
        self._tell(link)
        return link

    async def _read(self, link: _Link, reader: asyncio.StreamReader) -> None:
        peer = link.peer
        pinging = asyncio.create_task(self._ping(link))
        try:
            while True:
                async with asyncio.timeout(self._silence):
                    kind, body = await _read_frame(reader, self.frame_max)
                if kind != _DATA:
                    link.take(kind, body)
                elif body:
                    self._inbox.put(peer, body)
        except TimeoutError:
            _log.warning("transport %r: %r is silent, its connection is dropped", self.name, peer)
            link.writer.transport.abort()
        except ValueError as error:
            text = "transport %r: the connection to %r is dropped: %s"
            _log.warning(text, self.name, peer, error)
        except (OSError, EOFError):
            pass
        finally:
            pinging.cancel()
            link.writer.close()
            if self._links.get(peer) is link:
                del self._links[peer]
                self._inbox.put(peer, None)

    async def _ping(self, link: _Link) -> None:
        """Send empty frames, so that the peer hears that this end is there."""
        while True:
            await asyncio.sleep(self._silence / 3)
            link.write(_DATA, b"")
            self._tell(link)


def _pass_on(connected: "asyncio.Future[str]", task: "asyncio.Task[None]") -> None:
    """End the wait for a connection as the task ended that was to make it."""
    error = None if task.cancelled() else task.exception()
    if error is None:
        connected.cancel()
    elif not connected.done():
        connected.set_exception(error)
    else:
        _log.error("a connection is not made again", exc_info=error)


def _resolve(future: "asyncio.Future[str]", peer: str) -> None:
    if not future.done():
        future.set_result(peer)


async def _read_frame(reader: asyncio.StreamReader, limit: int) -> tuple[int, bytes]:
    """Return the type of a frame and its body."""
    length, kind = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if length > limit:
        raise ValueError(f"a frame of {length} bytes is over the limit of {limit}")
    return kind, await reader.readexactly(length)
