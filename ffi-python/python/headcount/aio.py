"""Presence for asyncio: a node that moves frames over a transport of your choice.

>>> import asyncio
>>> from headcount import Presence
>>> from headcount.aio import MemoryNetwork, Node

>>> async def main() -> None:
...     network = MemoryNetwork()
...     async with (
...         Node(Presence("a"), network.join("a")) as a,
...         Node(Presence("b"), network.join("b")) as b,
...     ):
...         changes = b.changes("room")
...         a.track("room", "ann", "conn-1", {"device": "phone"})
...         change = await anext(changes)
...         print([entry.key for entry in change.joins], b.presence.count("room"))
>>> asyncio.run(main())
['ann'] 1
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from headcount import (
    Diff,
    DuplicateName,
    Entry,
    Event,
    HeadcountError,
    Presence,
    TopicDiff,
    Transmit,
)
from headcount._transport import MemoryNetwork, MemoryTransport, StreamTransport, Transport

if TYPE_CHECKING:
    from headcount._headcount import _Meta, _Name

__all__ = [
    "LagError",
    "MemoryNetwork",
    "MemoryTransport",
    "Node",
    "StreamTransport",
    "Subscription",
    "Transport",
]

_T = TypeVar("_T")
_log = logging.getLogger("headcount")

_QUIET_TURNS = 4
"""The turns of the loop without a frame after which none is between a socket and the node."""
_TURNS_MAX = 10_000


class LagError(HeadcountError):
    """A subscription whose reader fell too far behind: subscribe again, then read the state."""


class Subscription(Generic[_T]):
    """An asynchronous iterator over the outputs of a node from now on, until the node stops.

    It holds up to 1,024 outputs that were not read yet; one more ends it, and the next read raises
    `LagError`.
    """

    def __init__(self, pick: Callable[[Diff | Event], _T | None], limit: int = 1_024) -> None:
        self._pick = pick
        self._queue: asyncio.Queue[_T | None] = asyncio.Queue(limit + 1)
        self._limit = limit
        self._open = True
        self._lagging = False

    def __aiter__(self) -> AsyncIterator[_T]:
        return self

    async def __anext__(self) -> _T:
        if not self._open and self._queue.empty():
            raise StopAsyncIteration
        item = await self._queue.get()
        if item is not None:
            return item
        if self._lagging:
            raise LagError(f"more than {self._limit} outputs were not read")
        raise StopAsyncIteration

    def close(self) -> None:
        """End the subscription; outputs that were not read yet can still be read."""
        if self._open:
            self._open = False
            self._queue.put_nowait(None)

    def _offer(self, output: Diff | Event) -> bool:
        """Queue an output if it is picked; return whether the subscription is open."""
        if not self._open:
            return False
        item = self._pick(output)
        if item is not None and self._queue.qsize() >= self._limit:
            self._lagging = True
            self.close()
        elif item is not None:
            self._queue.put_nowait(item)
        return self._open


class Node:
    """The driver of a `Presence` over a `Transport`: an asynchronous context manager.

    Write through the node, which then wakes at once; read through `presence`, from any thread.
    """

    def __init__(self, presence: Presence, transport: Transport) -> None:
        self.presence = presence
        """The state. Writes that bypass the node travel with the next heartbeat."""
        self.refused = 0
        """The number of frames that were malformed or of another cluster."""
        self._transport = transport
        self._subscriptions: list[Subscription[object]] = []
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        """Set when the node is synced, or when another node has its name."""
        self._duplicate: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._start = 0.0
        self._arrived = 0

    async def __aenter__(self) -> Self:
        self._start = asyncio.get_running_loop().time()
        self._tasks = [
            asyncio.create_task(self._drive()),
            asyncio.create_task(self._receive()),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self, *, graceful: bool = True) -> None:
        """Leave the cluster and close the transport. Without ``graceful`` the node falls silent, and
        its peers notice its silence.
        """
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if graceful:
            self.presence.leave_gracefully(self._now())
            self._flush()
        for subscription in self._subscriptions:
            subscription.close()
        await self._transport.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def track(
        self, topic: str, key: "_Name", owner: "_Name", meta: "_Meta" = None, *, status: int = 0
    ) -> str:
        """Track an entry, as `Presence.track` does."""
        self._wake.set()
        return self.presence.track(topic, key, owner, meta, status=status)

    def update(
        self, topic: str, key: "_Name", owner: "_Name", meta: "_Meta" = None, *, status: int | None = None
    ) -> str:
        """Replace the meta of an entry, as `Presence.update` does."""
        self._wake.set()
        return self.presence.update(topic, key, owner, meta, status=status)

    def upsert(
        self, topic: str, key: "_Name", owner: "_Name", meta: "_Meta" = None, *, status: int | None = None
    ) -> str:
        """Track an entry or update it, as `Presence.upsert` does."""
        self._wake.set()
        return self.presence.upsert(topic, key, owner, meta, status=status)

    def untrack(self, topic: str, key: "_Name", owner: "_Name") -> bool:
        """Remove an entry, as `Presence.untrack` does."""
        self._wake.set()
        return self.presence.untrack(topic, key, owner)

    def untrack_owner(self, owner: "_Name") -> int:
        """Remove the entries of an owner, as `Presence.untrack_owner` does. Call it when a
        connection closes.
        """
        self._wake.set()
        return self.presence.untrack_owner(owner)

    def lease_owner(self, owner: "_Name", ttl: float) -> None:
        """Give the entries of an owner a lease from now on, as `Presence.lease_owner` does."""
        self._wake.set()
        self.presence.lease_owner(self._now(), owner, ttl)

    def owner_lost(self, owner: "_Name") -> None:
        """Report a lost owner, as `Presence.owner_lost` does. Call it when a connection breaks."""
        self._wake.set()
        self.presence.owner_lost(self._now(), owner)

    def owner_back(self, owner: "_Name") -> bool:
        """Report that a lost owner is back, as `Presence.owner_back` does."""
        return self.presence.owner_back(owner)

    def list(self, topic: str) -> list[Entry]:
        """Return the entries of a topic, as `Presence.list` does."""
        return self.presence.list(topic)

    def signal(self, topic: str, key: "_Name", kind: int, payload: bytes = b"") -> None:
        """Send a signal, as `Presence.signal` does; other nodes see it among their `events`."""
        self._wake.set()
        self.presence.signal(topic, key, kind, payload)

    def changes(self, topic: str) -> Subscription[TopicDiff]:
        """Return a subscription to the changes of a topic, on all nodes, from now on."""

        def pick(output: Diff | Event) -> TopicDiff | None:
            return output[topic] if isinstance(output, Diff) and topic in output else None

        return self._subscribe(Subscription(pick))

    def diffs(self) -> Subscription[Diff]:
        """Return a subscription to the changes of all topics, on all nodes, from now on."""
        return self._subscribe(Subscription(lambda out: out if isinstance(out, Diff) else None))

    def events(self) -> Subscription[Event]:
        """Return a subscription to the events of the cluster from now on, signals included."""
        return self._subscribe(Subscription(lambda out: out if isinstance(out, Event) else None))

    async def synced(self) -> None:
        """Wait until this node has caught up, once, with all that its known peers advertised.

        Raises `DuplicateName` while another live node uses the name of this one.
        """
        await self._settled.wait()
        if self._duplicate is not None:
            raise DuplicateName(self._duplicate)

    def _subscribe(self, subscription: Subscription[_T]) -> Subscription[_T]:
        self._subscriptions.append(subscription)  # type: ignore[arg-type]
        return subscription

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._start

    async def _drive(self) -> None:
        due: float | None = None
        while True:
            self._wake.clear()
            if due is not None and self._now() >= due:
                await self._take_waiting()
            self.presence.handle_timeout(self._now())
            self._flush()
            if self.presence.is_synced():
                self._settled.set()
            due = self.presence.poll_timeout()
            delay = None if due is None else max(0.0, due - self._now())
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _take_waiting(self) -> None:
        """Receive the frames that have arrived before deadlines are checked: after a pause of the
        process, heartbeats of live peers wait in sockets. A flood of frames ends the wait too.
        """
        quiet = 0
        for _ in range(_TURNS_MAX):
            arrived = self._arrived
            await asyncio.sleep(0)
            quiet = quiet + 1 if arrived == self._arrived else 0
            if quiet == _QUIET_TURNS:
                return

    def _note(self, event: Event) -> None:
        """Log an event that an operator must see, and wake the tasks that wait for `synced`."""
        name = self.presence.replica.name
        if event.kind == "duplicate_name":
            text = f"another live node is named {name!r}: this one is silent until it is gone"
            _log.error("%s", text)
            self._duplicate = text
            self._settled.set()
        elif event.kind == "reincarnated":
            _log.warning("the node %r took a new incarnation: another node had its name", name)
            self._duplicate = None
            if not self.presence.is_synced():
                self._settled.clear()

    async def _receive(self) -> None:
        while True:
            try:
                peer, frame = await self._transport.receive()
            except EOFError:
                return
            self._arrived += 1
            if frame is None:
                self.presence.disconnected(self._now(), peer)
            else:
                self._take(peer, frame)
            self._wake.set()

    def _take(self, peer: str, frame: bytes) -> None:
        try:
            self.presence.handle_message(self._now(), peer, frame)
        except ValueError:
            self.refused += 1

    def _flush(self) -> None:
        for output in self.presence.poll():
            if isinstance(output, Transmit):
                self._transport.send(output.to, output.frame)
            else:
                self._publish(output)

    def _publish(self, output: Diff | Event) -> None:
        if isinstance(output, Event):
            self._note(output)
        self._subscriptions = [s for s in self._subscriptions if s._offer(output)]
