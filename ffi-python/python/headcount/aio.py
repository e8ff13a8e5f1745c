"""Presence for asyncio: a node of a cluster that is joined in one line.

>>> import asyncio
>>> from headcount import aio

>>> async def main() -> None:
...     async with (
...         aio.connect("memory://chat", name="web-1") as here,
...         aio.connect("memory://chat", name="web-2") as there,
...         there.subscribe("room") as changes,
...     ):
...         assert not (await anext(changes)).joins      # the present state comes first
...         here.track("room", "ann", "conn-1", {"device": "phone"})
...         change = await anext(changes)
...         print([entry.key for entry in change.joins], there.count("room"))
>>> asyncio.run(main())
['ann'] 1
"""

import asyncio
import functools
import socket
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast

from headcount._cluster import Bridge, Event, Feed, MemoryNetwork
from headcount._errors import NodeStopped
from headcount._headcount import TopicDiff
from headcount._node import RETRY_MAX, RETRY_MIN, NodeParts, WatchParts, log
from headcount._options import ConnectOptions
from headcount._transport import GroupTransport, StreamTransport, Transport, with_groups

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["GroupTransport", "Node", "StreamTransport", "Subscription", "Transport", "Watch", "connect"]

_T = TypeVar("_T")

_QUIET_TURNS = 4
"""The turns of the loop without a frame after which none is between a socket and the node."""
_TURNS_MAX = 10_000


class Closing:
    """What an `async with` block closes at its end."""

    def close(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Subscription(Closing, Generic[_T]):
    """An asynchronous iterator over changes or events, and a context manager that ends it.

    It holds up to 1,024 changes that were not read yet; when there are more, the next read raises
    `LagError`, and the subscription is over: subscribe again. Of events it holds 4,096 of each
    kind, and 65,536 topics that became ready; when there are more, the oldest of the kind are lost,
    the next read raises `LagError`, and those after it return the others. A read that is cancelled
    loses nothing. A subscription that nothing refers to any more is over too.
    """

    def __init__(self, node: "Node", feed: Feed) -> None:
        self._node = node
        self._feed = feed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        try:
            return cast(_T, await self._node._wait(self._feed))
        except EOFError:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """End the subscription."""
        self._feed.close()


class Watch(WatchParts, Closing):
    """A watch of a topic, or of its counts, and a context manager that ends it: what `Node.watch` and
    `Node.watch_counts` return.

    A watch that nothing refers to any more is over too, as is that of a task that was cancelled.
    """

    _node: "Node"

    async def ready(self) -> None:
        """Wait until the topic can be read, or counted: normally one round trip after the watch began,
        at most `ready_after` seconds and two heartbeats. The event `topic_ready`, or `counts_ready`,
        names the nodes that are missing then.

        Raises `NotWatched` when the watch has ended.
        """
        feed = self._handle.ready()
        if feed is not None:
            try:
                await self._node._wait(feed)
            finally:
                feed.close()
        self._check()


class Node(NodeParts):
    """A running node of a cluster, for asyncio: what `connect` returns.

    `where`, `name`, `snapshot` and the options are those of `connect`, which also starts the node.

    Its verbs do not wait, and may be called from any thread. What waits belongs to the loop in which
    it started.
    """

    _loop: asyncio.AbstractEventLoop
    _carrier: "_Carrier | None" = None
    _timeout: float = 30.0
    _is_starting = False
    _given_up: "asyncio.Future[Any] | None" = None
    """The attempt whose start was cancelled."""
    _stopping: "asyncio.Task[None] | None" = None
    _news_read: socket.socket | None = None
    """The socket that the loop reads."""

    async def start(self) -> Self:
        """Join the cluster; return the node. ``async with`` and ``await`` do that.

        Raises `ConnectError` when there is no connection in time: the node can be started once more
        then. After a stop it cannot, which raises `NodeStopped`.
        """
        if self._is_starting or self._is_started:
            raise RuntimeError("the node has started already")
        self._is_starting = True
        try:
            self._loop = asyncio.get_running_loop()
            await self._join()
            self._is_started = True
        finally:
            self._is_starting = False
        return self

    async def _join(self) -> None:
        if isinstance(self._where, (str, MemoryNetwork)):
            attempts = self._connecting(self._timeout)
            while (pause := await self._in_thread(lambda: next(attempts, None))) is not None:
                await asyncio.sleep(pause)
            self._listen()
        else:
            transport = cast(Transport, self._where)
            groups = with_groups(transport)
            bridge = self._start_bridge(transport.frame_max)
            self._listen()
            self._carrier = _Carrier(self, transport, groups, bridge)

    async def stop(self, *, graceful: bool = True) -> None:
        """Leave the cluster. Without ``graceful`` the node falls silent, and its peers notice that.

        A write after it raises `NodeStopped`; subscriptions end. A stop that is cancelled goes on,
        and a later one waits for it.
        """
        if self._stopping is None or self._stopping.cancelled():
            self._stopping = asyncio.create_task(self._leave(graceful))
        await asyncio.shield(self._stopping)

    async def _leave(self, graceful: bool) -> None:
        self._is_started = False
        await asyncio.to_thread(self._stop, graceful)
        try:
            if self._carrier is not None:
                await self._carrier.close()
        finally:
            self._end()
            if self._news_read is not None:
                self._loop.remove_reader(self._news_read)
                self._news_read.close()
                self._news_read = None

    def __await__(self) -> Generator[None, None, Self]:
        return self.start().__await__()

    async def __aenter__(self) -> Self:
        if not self._is_started:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def subscribe(self, topic: str) -> Subscription[TopicDiff]:
        """Return a subscription to a topic on all nodes.

        Its first item has the present entries as joins, even if there are none; then every later
        change follows, once. In mode ``interest`` it ends with the last watch of the topic, as changes
        are missed from then on.

        Raises `NotWatched` and `NotReady` as reads do.
        """
        return Subscription(self, self._feed("changes", topic))

    def watch(self, topic: str) -> Watch:
        """Watch a topic, until the context manager that is returned ends or nothing refers to it.

        In mode ``interest`` this node holds what others have in a topic while it is watched, and its
        changes come; it can be read once the watch is `ready`. Watches are counted: a topic can be
        watched many times. In mode ``all`` every topic can be read, and a watch does nothing.
        O(nodes) for the first topic of a partition, else O(log topics).

        Raises `LimitError` for a topic of more than 256 bytes.

        >>> async def main() -> None:
        ...     async with (
        ...         connect("memory://rooms", name="web-1", mode="interest") as here,
        ...         connect("memory://rooms", name="web-2", mode="interest") as there,
        ...     ):
        ...         here.track("room", "ann", "conn-1")
        ...         async with there.watch("room") as watch:
        ...             await watch.ready()
        ...             print([entry.key for entry in there.list("room")])
        >>> asyncio.run(main())
        ['ann']
        """
        return Watch(self, topic)

    def watch_counts(self, topic: str) -> Watch:
        """Watch the counts of a topic, until the context manager that is returned ends or nothing
        refers to it: `count` and `count_keys` answer once the watch is `ready`.

        In a cluster with ``counts`` none of the entries that others have are held: nothing else of the
        topic can be read, and no changes come. The counts are those of the last heartbeat of each other
        node, and of this one as it is now. Watches are counted, beside those of `watch`. Without
        ``counts`` the entries are watched instead; in mode ``all`` every topic can be counted.
        O(nodes) for the first topic of a partition, else O(log topics).

        Raises `LimitError` for a topic of more than 256 bytes.

        >>> async def main() -> None:
        ...     options = {"mode": "interest", "counts": True}
        ...     async with (
        ...         connect("memory://halls", name="web-1", **options) as here,
        ...         connect("memory://halls", name="web-2", **options) as there,
        ...     ):
        ...         here.track("hall", "ann", "phone")
        ...         here.track("hall", "ann", "laptop")
        ...         async with there.watch_counts("hall") as watch:
        ...             await watch.ready()
        ...             print(there.count("hall"), there.count_keys("hall"), len(there))
        >>> asyncio.run(main())
        2 <Keys at_least=1 at_most=1> 0
        """
        return Watch(self, topic, counts=True)

    def events(self) -> Subscription[Event]:
        """Return a subscription to the events of the cluster from now on, signals included."""
        return Subscription(self, self._feed("events"))

    async def synced(self) -> None:
        """Wait until this node has caught up, once, with all that its known peers advertised.

        Raises `DuplicateName` while another live node uses the name of this one.
        """
        try:
            await self._wait(self._feed("synced"), self._check_name)
        except EOFError:
            raise NodeStopped("the node has stopped") from None

    async def _wait(self, feed: Feed, check: Callable[[], None] = lambda: None) -> object:
        if feed.number in self._waiting:
            raise RuntimeError("another task waits for this subscription")
        while True:
            check()
            if (item := feed.poll()) is not None:
                return item
            woken = self._loop.create_future()
            self._waiting[feed.number] = functools.partial(_wake, woken)
            try:
                await woken
            finally:
                del self._waiting[feed.number]

    async def _in_thread(self, attempt: Callable[[], _T]) -> _T:
        """Make an attempt to connect in a thread; undo it when the task is cancelled meanwhile."""
        is_given_up = threading.Event()

        def attempt_or_undo() -> _T:
            try:
                return attempt()
            finally:
                if is_given_up.is_set():
                    self._undo_start()

        if self._given_up is not None and not self._given_up.done():
            await asyncio.wait([self._given_up])
        made = asyncio.ensure_future(asyncio.to_thread(attempt_or_undo))
        try:
            return await asyncio.shield(made)
        except asyncio.CancelledError:
            is_given_up.set()
            self._undo_start()
            made.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._given_up = made
            raise

    def _listen(self) -> None:
        try:
            news = self._watch()
        except BaseException:
            self._undo_start()
            raise
        news.setblocking(False)
        try:
            self._loop.add_reader(news, self._take_news, news)
            self._news_read = news
        except NotImplementedError:  # The loop of Windows reads no sockets of others.
            news.setblocking(True)
            threading.Thread(target=self._read_news, args=(news,), daemon=True).start()

    def _take_news(self, news: socket.socket) -> None:
        try:
            if not news.recv(64):
                self._loop.remove_reader(news)
        except BlockingIOError:
            pass
        self._dispatch()

    def _read_news(self, news: socket.socket) -> None:
        with news:
            try:
                while news.recv(64):
                    self._loop.call_soon_threadsafe(self._dispatch)
            except RuntimeError:
                pass  # The loop is closed.


def _wake(reader: "asyncio.Future[None]") -> None:
    if not reader.done():
        reader.set_result(None)


class _Carrier:
    """What moves frames between a node and a transport that is written in Python."""

    def __init__(
        self, node: Node, transport: Transport, groups: GroupTransport | None, bridge: Bridge
    ) -> None:
        self._node = node
        self._transport = transport
        self._groups = groups
        self._refused: dict[int, bool] = {}
        """The changes of what is wanted that the transport did not take."""
        self._retry: asyncio.TimerHandle | None = None
        self._bridge = bridge
        self._arrived = 0
        self._troubles = 0
        self._wake = asyncio.Event()
        self._is_closing = False
        node._waiting[bridge.number] = self._wake.set
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
        for task in self._tasks:
            task.add_done_callback(self._note_end)

    async def close(self) -> None:
        """Send what waits, and close the transport."""
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._flush()
        if self._retry is not None:
            self._retry.cancel()
        self._bridge.close()
        self._node._waiting.pop(self._bridge.number, None)
        await self._transport.close()

    async def _send(self) -> None:
        settled = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked = self._flush()
            if asked > settled:
                await self._take_waiting()
                settled = asked
                self._bridge.settled(asked)

    def _flush(self) -> int:
        changes, transmits, asked = self._bridge.take()
        if self._groups is not None and changes:
            self._subscribe(self._groups, changes)
        for transmit in transmits:
            try:
                if self._groups is None or transmit.partition is None:
                    self._transport.send(transmit.to, transmit.frame)
                else:
                    self._groups.publish(transmit.partition, transmit.frame)
            except Exception as error:
                self._note(error)
        return asked

    def _subscribe(self, groups: GroupTransport, changes: dict[int, bool]) -> None:
        """Tell the transport which partitions are wanted; what it refuses is tried again later."""
        for partition, is_wanted in changes.items():
            self._refused.pop(partition, None)
            try:
                (groups.subscribe if is_wanted else groups.unsubscribe)(partition)
            except Exception as error:
                self._note(error)
                self._refused[partition] = is_wanted
        if self._refused and self._retry is None:
            self._retry = self._node._loop.call_later(RETRY_MAX, self._subscribe_again, groups)

    def _subscribe_again(self, groups: GroupTransport) -> None:
        self._retry = None
        self._subscribe(groups, dict(self._refused))

    async def _receive(self) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        pause = RETRY_MIN
        while not self._is_closing:
            try:
                peer, frame = await self._transport.receive()
                self._arrived += 1
                self._bridge.deliver(peer, frame)
                pause = RETRY_MIN
            except (Exception, asyncio.CancelledError) as error:
                if task.cancelling():
                    raise
                # A transport may have cancelled a task of its own, or closed by itself.
                self._note(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX)

    async def _take_waiting(self) -> None:
        """Receive the frames that have arrived: after a pause of the process, heartbeats of live
        peers wait in sockets. A flood of frames ends the wait too.
        """
        quiet = 0
        for _ in range(_TURNS_MAX):
            arrived = self._arrived
            await asyncio.sleep(0)
            quiet = quiet + 1 if arrived == self._arrived else 0
            if quiet == _QUIET_TURNS:
                return

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        """Log the end of a task that nobody has asked for."""
        if not self._is_closing and not task.cancelled():
            log.error("node %r: its transport moves no more frames", self._node._name, exc_info=task.exception())

    def _note(self, error: BaseException) -> None:
        """Count an error of the transport, and log the 1st, 2nd, 4th, 8th ..."""
        self._node._count_transport_error()
        self._troubles += 1
        if self._troubles & (self._troubles - 1) == 0:
            self._node._log_transport_error(self._troubles, error)


def connect(
    where: "str | MemoryNetwork | Transport",
    *,
    name: str | None = None,
    snapshot: "Buffer | None" = None,
    timeout: float = 30.0,
    **options: Unpack[ConnectOptions],
) -> Node:
    """Return a node that joins a cluster with ``async with`` or ``await``.

    The arguments are those of `headcount.connect`; `where` may be a `Transport` too.
    """
    node = Node(where, name, snapshot, **options)
    node._timeout = timeout
    return node
