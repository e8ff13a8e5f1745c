"""What the nodes of `headcount` and `headcount.aio` have in common, and the node for plain threads."""

import atexit
import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from headcount._cluster import Event, Feed, MemoryNetwork, NodeBase
from headcount._errors import ConnectError, DuplicateName, LagError, NodeStopped
from headcount._headcount import Presence, TopicDiff
from headcount._options import ConnectOptions, NatsOptions

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from headcount._headcount import _Meta, _Name

__all__ = ["Attendance", "Node", "Subscription", "Watch", "connect"]

_T = TypeVar("_T")
log = logging.getLogger("headcount")

RETRY_MIN, RETRY_MAX = 0.1, 2.0
"""The pauses between two attempts to connect, in seconds."""


class NodeParts(NodeBase):
    """A node with the parts that do not depend on how a program waits."""

    _where: object
    _name: str
    _cluster: str
    _nats: NatsOptions
    _duplicate: str | None
    _duty: list[tuple[Feed, Callable[[Any], None]]]
    """The feeds that are read for the log."""
    _waiting: dict[int, Callable[[], object]]
    """The readers that wait for a feed, by its number."""
    _refused: dict[str, int]
    _pid: int
    _is_started = False
    """True from the end of a start that succeeded until the stop."""

    def __new__(
        cls,
        where: object,
        name: str | None = None,
        snapshot: "Buffer | None" = None,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        given = cast(dict[str, Any], options)
        nats = {key: given.pop(key) for key in NatsOptions.__annotations__ if key in given}
        node = super().__new__(cls, Presence(name, **given), snapshot)
        node._where = where
        node._name = node.replica.name
        node._nats = cast(NatsOptions, nats)
        node._cluster = given.get("cluster", "headcount")
        node._duplicate = None
        node._duty = []
        node._waiting = {}
        node._refused = {}
        node._pid = os.getpid()
        return node

    def __del__(self) -> None:
        if self._is_started and self._pid == os.getpid():
            text = "node %r is gone without a stop, as nothing refers to it any more: its entries are lost"
            log.warning(text, self._name)

    def presence(
        self, topic: str, key: "_Name", meta: "_Meta" = None, *, owner: "_Name | None" = None, status: int = 0
    ) -> "Attendance":
        """Return a context manager, for ``with`` and ``async with``, in whose block an entry is
        tracked. The owner is a random name if it is left out.
        """
        return Attendance(self, topic, key, meta, owner, status)

    def _attempt(self, left: float) -> None:
        """Connect once, within the time that is left. Raises `ConnectError` when that fails."""
        if isinstance(self._where, MemoryNetwork):
            self._start_memory(self._where)
            return
        where = str(self._where)
        scheme, _, rest = where.partition("://")
        if scheme == "memory":
            self._start_memory(MemoryNetwork(rest))
        elif scheme in ("nats", "tls"):
            servers, found = _without_password(where)
            self._start_nats(servers, self._cluster, {**found, **self._nats}, left)
        else:
            text = "the URL of a cluster begins with nats://, tls:// or memory://"
            raise ValueError(f"{text}, not with {scheme if rest else ''!r}")

    def _connecting(self, timeout: float) -> Iterator[float]:
        """Yield the pauses after attempts that failed; end once one succeeded."""
        end, pause = time.monotonic() + timeout, RETRY_MIN
        while True:
            try:
                return self._attempt(max(end - time.monotonic(), RETRY_MIN))
            except ConnectError as error:
                if not error.is_transient or time.monotonic() + pause > end:
                    raise
                self._count_transport_error()
                log.warning("node %r: %s; next attempt in %.1f s", self.replica.name, error, pause)
            yield pause
            pause = min(2 * pause, RETRY_MAX)

    def _watch(self) -> socket.socket:
        """Begin to read what the log wants, and return the socket that reports news, which the
        caller closes.
        """
        news = socket.socket(fileno=self._open_socket())
        try:
            self._duty = [
                (self._feed("events"), self._note_event),
                (self._feed("refusals"), self._note_refusal),
                (self._feed("notes"), self._note_trouble),
            ]
        except BaseException:
            news.close()
            self._close_socket()
            raise
        self._do_duty()
        log.info("node %s joined the cluster %r", self.replica, self._cluster)
        return news

    def _dispatch(self) -> None:
        """Wake the readers of all feeds with news."""
        duties = {feed.number for feed, _ in self._duty}
        for number in self._news():
            wake = self._do_duty if number in duties else self._waiting.get(number)
            if wake is not None:
                wake()

    def _do_duty(self) -> None:
        for feed, note in self._duty:
            while True:
                try:
                    if (item := feed.poll()) is None:
                        break
                except LagError:
                    name = self.replica.name
                    log.warning("node %r: events came faster than they were logged", name)
                except EOFError:
                    break
                else:
                    note(item)

    def _note_event(self, event: Event) -> None:
        name, other = self.replica.name, event.replica
        match event.kind:
            case "replica_up":
                log.info("node %r: %s is up", name, other)
            case "replica_down":
                log.warning("node %r: %s is silent; its entries are hidden", name, other)
            case "replica_left" | "replica_forgotten":
                log.info("node %r: %s is gone (%s)", name, other, event.kind)
            case "ready" if event.missing:
                late = ", ".join(replica.name for replica in event.missing)
                log.warning("node %r: caught up with all other nodes but %s", name, late)
            case "ready":
                log.info("node %r: caught up with all other nodes", name)
            case "topic_ready" if event.missing:
                late = ", ".join(replica.name for replica in event.missing)
                log.warning("node %r: the topic %r can be read, but without %s", name, event.topic, late)
            case "counts_ready" if event.missing:
                late = ", ".join(replica.name for replica in event.missing)
                log.warning("node %r: the topic %r can be counted, but without %s", name, event.topic, late)
            case "divergence":
                log.error("node %r: the entries of %s differed and are fetched again", name, other)
            case "duplicate_name":
                self._duplicate = f"another live node is named {name!r}: this one is silent until it is gone"
                log.error("%s", self._duplicate)
                for wake in list(self._waiting.values()):
                    wake()
            case "reincarnated":
                self._duplicate = None
                log.warning("the node %r took a new incarnation: another node had its name", name)
            case "shape_mismatch" | "answer_too_long" | "handle_collision":
                log.error("node %r: %r", name, event)
            case "refused" | "peer_limit" | "second_self" | "too_many_pulls" | "others_refused":
                log.warning("node %r: %r", name, event)
            case "unreadable":
                pass  # Each such frame is a refusal.
            case "diffs_dropped":
                log.warning("node %r: changes came faster than they were read", name)

    def _note_refusal(self, refusal: tuple[str, str]) -> None:
        """Log a refused frame: the 1st, 2nd, 4th, 8th ... from a peer."""
        peer, error = refusal
        if len(self._refused) > 1_000:
            self._refused.clear()
        count = self._refused[peer] = self._refused.get(peer, 0) + 1
        if count & (count - 1) == 0:
            log.warning("node %r: refused frame %d of %s: %s", self.replica.name, count, peer, error)

    def _note_trouble(self, text: str) -> None:
        # It is closed by the stop of this node only.
        level = logging.INFO if text in ("connected", "closed") else logging.WARNING
        log.log(level, "node %r: connection to NATS: %s", self.replica.name, text)

    def _log_transport_error(self, count: int, error: BaseException) -> None:
        text = "node %r: error %d of the transport: %s: %s"
        log.warning(text, self.replica.name, count, type(error).__name__, error)

    def _check_name(self) -> None:
        """Raise `DuplicateName` while another node has the name of this one."""
        if self._duplicate is not None:
            raise DuplicateName(self._duplicate)

    def _end(self) -> None:
        """Deliver the end of all subscriptions, and end what reads the socket."""
        self._do_duty()
        self._dispatch()
        self._close_socket()


def _without_password(servers: str) -> tuple[str, dict[str, str]]:
    """Take the user and the password, or the token, out of URLs; return both."""
    found: dict[str, str] = {}
    bare = []
    for server in servers.split(","):
        url = urlsplit(server.strip())
        if url.username is not None and url.password is not None:
            found = {"user": unquote(url.username), "password": unquote(url.password)}
        elif url.username is not None:
            found = {"token": unquote(url.username)}
        bare.append(urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2])))
    return ",".join(bare), found


class Attendance:
    """An entry that is tracked while a block runs: what `Node.presence` returns."""

    def __init__(
        self, node: NodeBase, topic: str, key: "_Name", meta: "_Meta", owner: "_Name | None", status: int
    ) -> None:
        random = secrets.token_hex(8)
        self._node = node
        self._meta = meta
        self._status = status
        self.topic = topic
        """The topic."""
        self.key = key
        """The key."""
        self.owner: _Name = (random if isinstance(key, str) else random.encode()) if owner is None else owner
        """The owner, of the type of the key."""

    def update(self, meta: "_Meta", *, status: int | None = None) -> None:
        """Replace the meta of the entry, and its status if one is given."""
        self._node.update(self.topic, self.key, self.owner, meta, status=status)

    def __enter__(self) -> Self:
        self._node.track(self.topic, self.key, self.owner, self._meta, status=self._status)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._node.untrack(self.topic, self.key, self.owner)
        except NodeStopped:
            pass  # Then the entry is gone too.

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


class Closing:
    """What a `with` block closes at its end."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class WatchParts:
    """A watch with the parts that do not depend on how a program waits."""

    def __init__(self, node: NodeParts, topic: str, *, counts: bool = False) -> None:
        self._node = node
        self._counts = counts
        self._handle = node._begin_watch(topic, counts)
        self.topic = topic
        """The topic."""

    def close(self) -> None:
        """End the watch. When no other watches the topic, it cannot be read, or counted, any more,
        and its changes are not delivered; what is held of it is dropped after `unwatch_after`.
        """
        self._handle.close()

    def _check(self) -> None:
        """Raise `NotWatched` or `NotReady` unless the topic can be read, or counted."""
        self._node._check_watched(self.topic, self._counts)

    def __repr__(self) -> str:
        return f"<Watch {'of the counts of ' if self._counts else ''}{self.topic!r}>"


class Subscription(Closing, Generic[_T]):
    """An iterator over changes or events, and a context manager that ends it.

    It holds up to 1,024 changes that were not read yet; when there are more, the next read raises
    `LagError`, and the subscription is over: subscribe again. Of events it holds 4,096 of each
    kind, and 65,536 topics that became ready; when there are more, the oldest of the kind are lost,
    the next read raises `LagError`, and those after it return the others.
    """

    def __init__(self, node: "Node", feed: Feed) -> None:
        self._node = node
        self._feed = feed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        return self.next()

    def next(self, timeout: float | None = None) -> _T:
        """Wait for the next item and return it.

        Raises `TimeoutError` when none comes within `timeout` seconds, `StopIteration` after the
        end.
        """
        try:
            return cast(_T, self._node._wait(self._feed, timeout))
        except EOFError:
            raise StopIteration from None

    def close(self) -> None:
        """End the subscription."""
        self._feed.close()


class Watch(WatchParts, Closing):
    """A watch of a topic, or of its counts, and a context manager that ends it: what `Node.watch` and
    `Node.watch_counts` return.

    A watch that nothing refers to any more is over too.
    """

    _node: "Node"

    def ready(self, timeout: float | None = None) -> None:
        """Wait until the topic can be read, or counted: normally one round trip after the watch began,
        at most `ready_after` seconds and two heartbeats. The event `topic_ready`, or `counts_ready`,
        names the nodes that are missing then.

        Raises `TimeoutError` after `timeout` seconds, `NotWatched` when the watch has ended.
        """
        feed = self._handle.ready()
        if feed is not None:
            try:
                self._node._wait(feed, timeout)
            finally:
                feed.close()
        self._check()


_running: "weakref.WeakSet[Node]" = weakref.WeakSet()


class Node(NodeParts):
    """A running node of a cluster, for programs with threads: what `connect` returns.

    `where`, `name`, `snapshot` and the options are those of `connect`, which also starts the node.

    Any thread may call it. It is a context manager that stops it at the end; a node that still
    runs when the interpreter exits says Goodbye then.
    """

    def start(self, timeout: float = 30.0) -> Self:
        """Join the cluster; return the node. `connect` does that.

        Raises `ConnectError` when there is no connection after `timeout` seconds: the node can be
        started once more then. After a stop it cannot, which raises `NodeStopped`.
        """
        for pause in self._connecting(timeout):
            time.sleep(pause)
        try:
            ends = (weakref.ref(self), self._watch())
            threading.Thread(target=_read_news, args=ends, name="headcount-news", daemon=True).start()
        except BaseException:
            self._undo_start()
            raise
        self._is_started = True
        _running.add(self)
        return self

    def stop(self, *, graceful: bool = True) -> None:
        """Leave the cluster. Without ``graceful`` the node falls silent, and its peers notice that.

        A write after it raises `NodeStopped`; subscriptions end.
        """
        _running.discard(self)
        self._is_started = False
        if self._stop(graceful):
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

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
        """
        return Watch(self, topic, counts=True)

    def events(self) -> Subscription[Event]:
        """Return a subscription to the events of the cluster from now on, signals included."""
        return Subscription(self, self._feed("events"))

    def synced(self, timeout: float | None = None) -> None:
        """Wait until this node has caught up, once, with all that its known peers advertised.

        Raises `DuplicateName` while another live node uses the name of this one, `TimeoutError`
        after `timeout` seconds.
        """
        try:
            self._wait(self._feed("synced"), timeout, self._check_name)
        except EOFError:
            raise NodeStopped("the node has stopped") from None

    def _wait(
        self, feed: Feed, timeout: float | None, check: Callable[[], None] = lambda: None
    ) -> object:
        end = None if timeout is None else time.monotonic() + timeout
        woken = threading.Event()
        if self._waiting.setdefault(feed.number, woken.set) != woken.set:
            raise RuntimeError("another thread waits for this subscription")
        try:
            while True:
                check()
                if (item := feed.poll()) is not None:
                    return item
                left = None if end is None else max(0.0, end - time.monotonic())
                if not woken.wait(left):
                    raise TimeoutError(f"nothing came within {timeout} seconds")
                woken.clear()
        finally:
            self._waiting.pop(feed.number, None)


def _read_news(node: "weakref.ref[Node]", news: socket.socket) -> None:
    """Wake readers: the thread of a node. It ends with the node."""
    with news:
        while news.recv(64):
            running = node()
            if running is not None:
                running._dispatch()
            del running


def _stop_all() -> None:
    for node in list(_running):
        if node._pid == os.getpid():
            node.stop()


atexit.register(_stop_all)


def connect(
    where: str | MemoryNetwork,
    *,
    name: str | None = None,
    snapshot: "Buffer | None" = None,
    timeout: float = 30.0,
    **options: Unpack[ConnectOptions],
) -> Node:
    """Join a cluster, and return the running node.

    `where` is ``nats://host:port`` (several, with commas between them; ``tls://`` for TLS), or for
    tests ``memory://name`` or a `MemoryNetwork`. `name` must be unique in the cluster: left out, it
    is made of the host, the process and a random number. `snapshot` is what `Node.snapshot` of an
    earlier life returned: `Node.restored` has its entries, to be tracked again where a connection
    is still there. Attempts to connect go on for `timeout` seconds; a connection that is lost later
    is made again for as long as the node runs.

    Raises `ConnectError` when there is no connection in time, or the servers refuse it.

    >>> with connect("memory://doc", name="web-1") as node:
    ...     _ = node.track("room", "ann", "conn-1", {"device": "phone"})
    ...     with node.subscribe("room") as changes:
    ...         print([entry.key for entry in next(changes).joins])
    ['ann']
    """
    return Node(where, name, snapshot, **options).start(timeout)
