"""The classes of the compiled half that run a node of a cluster, and what a presence yields."""

from builtins import list as _list
from collections.abc import Mapping
from typing import Any, ClassVar, Self, final

from typing_extensions import Buffer, disjoint_base

from headcount._headcount import Diff, Entry, Presence, Replica, TopicDiff, _Meta, _Name
from headcount._options import Stats

__all__ = [
    "Bridge",
    "Event",
    "Feed",
    "GroupSubscription",
    "Keys",
    "MemoryNetwork",
    "NodeBase",
    "Signal",
    "Transmit",
    "WatchHandle",
]

@final
class Transmit:
    """A frame to send."""

    @property
    def to(self) -> str | None:
        """The neighbour it goes to; `None` for all, or for those that subscribed to the
        `partition`.
        """

    @property
    def partition(self) -> int | None:
        """The partition whose subscribers it goes to, in mode `interest`; `None` for all other
        frames. A transport without groups sends it to all: those that do not watch the partition
        drop it unread.
        """

    @property
    def frame(self) -> bytes:
        """The frame."""

@final
class GroupSubscription:
    """A change of the partitions whose frames the transport is to bring, in mode `interest`. It may
    take effect late.
    """

    __match_args__ = ("partition", "is_wanted")

    @property
    def partition(self) -> int:
        """The partition."""

    @property
    def is_wanted(self) -> bool:
        """True to subscribe, false to unsubscribe."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class Keys:
    """Bounds of the number of distinct keys in a topic: what `count_keys` returns. They are equal
    where the entries are held. A node that holds only counts, see `watch_counts`, does not know
    which keys of two nodes are the same.
    """

    __match_args__ = ("at_least", "at_most")

    @property
    def at_least(self) -> int:
        """The keys that there are at least: as many as one node has."""

    @property
    def at_most(self) -> int:
        """The keys that there are at most: as many as there are if no two nodes have the same
        one.
        """

    @property
    def is_exact(self) -> bool:
        """Return whether the bounds leave one number only."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Event:
    """An event of the cluster.

    Kinds: `replica_up`, `replica_down`, `replica_forgotten`, `replica_left`, `ready`,
    `topic_ready`, `counts_ready`, `divergence`, `refused`, `duplicate_name`, `reincarnated`,
    `diffs_dropped`, `signal`, `peer_limit`, `second_self`, `handle_collision`, `shape_mismatch`,
    `answer_too_long`, `unreadable`, `too_many_pulls`, `others_refused`. After `diffs_dropped`, when
    diffs that nobody polled took more than 64 MiB, lists are right: read them again.
    """

    __match_args__ = ("kind", "replica")

    @property
    def kind(self) -> str:
        """The kind of the event, as one word of snake case."""

    @property
    def replica(self) -> Replica | None:
        """The replica it is about, if it is about one."""

    @property
    def topic(self) -> str | None:
        """The topic that can be read from now on, when the kind is `topic_ready`, or counted, when
        it is `counts_ready`.
        """

    @property
    def age(self) -> float | None:
        """The time in seconds that has passed, when the kind is `topic_ready` or `counts_ready`,
        since the replica was heard last that was heard least recently of those whose entries, or
        counts, are here: normally a heartbeat, never more than `down_after`.
        """

    @property
    def missing(self) -> list[Replica] | None:
        """The replicas that this node has not caught up with, when the kind is `ready`, or whose
        entries of the topic are not here, when it is `topic_ready`, or whose counts are not, when
        it is `counts_ready`: those of all others that are up are. If some are missing, the event
        comes again when none is.
        """

    @property
    def reason(self) -> str | None:
        """The fault in words. With the kind `refused` entries of the replica break a limit of this
        node or the format. With `unreadable` frames of the peer break the format or are of another
        cluster. Both come at most once a minute for each replica or peer and each rule.
        """

    @property
    def count(self) -> int:
        """The number of frames that were refused since the last such event, when the event is
        about a refusal; else 1.
        """

    @property
    def peer(self) -> str | None:
        """The address of the other node at the transport, when the kind is `shape_mismatch`,
        `unreadable` or `second_self`: frames with this node's own identity come from there.
        """

    @property
    def partition(self) -> int | None:
        """The number of the partition, when the kind is `divergence`, `refused` or
        `answer_too_long`.
        """

    @property
    def shapes(self) -> tuple[tuple[int, str, bool, bool], tuple[int, str, bool, bool]] | None:
        """The shapes of this node and of the other one, when the kind is `shape_mismatch`: of each
        the number of partitions, the mode, whether it has counts, and whether it relays. Neither hears
        the other.
        """

    @property
    def length(self) -> int | None:
        """The length of the answer in bytes, when the kind is `answer_too_long`: no frame of the
        transport takes it, so the node that asked does not get the entries.
        """

    @property
    def signal(self) -> Signal | None:
        """The signal, when the kind is `signal`."""

@final
class Signal:
    """A short-lived signal from another node, such as typing."""

    @property
    def topic(self) -> str:
        """The topic that it concerns."""

    @property
    def key(self) -> bytes:
        """The bytes of the key that it concerns."""

    @property
    def kind(self) -> int:
        """A number whose meaning is up to the application."""

    @property
    def payload(self) -> bytes:
        """The payload."""

    @property
    def ttl(self) -> float:
        """The time for which it holds, in seconds."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@disjoint_base
class NodeBase:
    """A node of a cluster on a thread of its own: the verbs that `Node` and `aio.Node` share.

    A write on any thread is sent at once. All verbs raise `NodeStopped` before the start and after
    the stop. In mode `interest` reads of a topic raise `NotWatched` without a watch, and `NotReady`
    until it is ready.
    """

    def __new__(cls, presence: Presence, snapshot: Buffer | None = None) -> Self: ...
    @property
    def replica(self) -> Replica:
        """This replica. It changes when the node finds a duplicate of itself and takes a new
        incarnation.
        """

    def track(
        self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int = 0, ttl: float | None = None
    ) -> str:
        """Track an entry and return its reference. With `ttl` it leaves after that many seconds,
        unless `lease` renews it. O(1).

        Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
        something is too long.
        """

    def update(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int | None = None) -> str:
        """Replace the meta of a tracked entry, and its status if one is given; return the reference
        of the new version. O(1).

        Raises `NotTracked` when there is no such entry.
        """

    def upsert(
        self,
        topic: str,
        key: _Name,
        owner: _Name,
        meta: _Meta = ...,
        *,
        status: int | None = None,
        ttl: float | None = None,
    ) -> str:
        """Track an entry, or update it when it is tracked, as `update` does; `ttl` as in `track`.
        O(1).
        """

    def untrack(self, topic: str, key: _Name, owner: _Name) -> bool:
        """Remove one of this replica's entries; return whether it was tracked. O(1)."""

    def untrack_owner(self, owner: _Name) -> int:
        """Remove all entries of an owner, in all topics; return how many. O(its entries)."""

    def lease(self, topic: str, key: _Name, owner: _Name, ttl: float) -> bool:
        """Give one entry a lease, or renew it: unless it is renewed within `ttl` seconds, the entry
        leaves; return whether it is tracked.
        """

    def lease_owner(self, owner: _Name, ttl: float) -> None:
        """Give all entries of an owner a lease, or renew it, as `lease` does for one."""

    def owner_lost(self, owner: _Name) -> None:
        """Report that an owner was lost unexpectedly: its entries stay for the `grace` of the node,
        in case it comes back.
        """

    def owner_back(self, owner: _Name) -> bool:
        """Report that a lost owner is back: its entries stay; return whether its grace was not
        over.
        """

    def signal(self, topic: str, key: _Name, kind: int, payload: Buffer = ..., *, ttl: float = ...) -> None:
        """Send a short-lived signal, such as typing, to all other nodes, which see it among their
        `events`; nothing is stored. `ttl` is in seconds.

        Raises `LimitError` when the topic, the key or the payload has more than 256 bytes.
        """

    def list(self, topic: str) -> _list[Entry]:
        """Return the visible entries of a topic, in no particular order. O(entries of the topic).

        Raises `MemoryError` when there is no room for them.
        """

    def get_by_key(self, topic: str, key: _Name) -> _list[Entry]:
        """Return the visible entries of a key in a topic. O(entries of the key)."""

    def get_own(self, topic: str, key: _Name, owner: _Name) -> Entry | None:
        """Return an entry of this replica, `None` if it is not tracked. The topic need not be
        watched. O(1).
        """

    def count_own(self, topic: str) -> int:
        """Return how many entries this replica tracks in a topic, which need not be watched.
        O(replicas).
        """

    def count(self, topic: str) -> int:
        """Return how many visible entries a topic has: of those that are held, or by what each
        replica counts, where its counts are watched. O(replicas).
        """

    def count_keys(self, topic: str) -> Keys:
        """Return how many distinct visible keys a topic has, as bounds: equal ones where its
        entries are held. O(replicas); while a replica is hidden, the first call after a change is
        O(entries of the topic).
        """

    def topics(self) -> _list[str]:
        """Return the topics that have entries, hidden ones included, sorted. O(topics)."""

    def replicas(self) -> _list[tuple[Replica, bool]]:
        """Return the other replicas known, each with whether it is up."""

    def is_synced(self) -> bool:
        """Return whether this node has caught up, at least once, with everything its known peers
        advertised.
        """

    @property
    def restored(self) -> Diff:
        """The entries that the `snapshot` of the constructor has, as the joins of a `Diff`; an
        empty one without a snapshot, and before the start. The node tracks none of them: track
        those again whose connections are still there, with a `ttl` for those that might not be.
        """

    def snapshot(self) -> bytes:
        """Return the entries of this node as bytes, to start the next node of this name with.
        O(own entries).
        """

    def stats(self) -> Stats:
        """Return what the node holds now, and the counts of what happened since its start.
        O(topics).
        """

    def __len__(self) -> int: ...
    def __contains__(self, topic_and_key: object, /) -> bool: ...
    def _start_nats(self, servers: str, cluster: str, options: Mapping[str, Any], time: float) -> None: ...
    def _start_memory(self, network: MemoryNetwork) -> None: ...
    def _start_bridge(self, frame_max: int) -> Bridge: ...
    def _undo_start(self) -> None: ...
    def _stop(self, graceful: bool) -> bool: ...
    def _open_socket(self) -> int: ...
    def _close_socket(self) -> None: ...
    def _news(self) -> _list[int]: ...
    def _count_transport_error(self) -> None: ...
    def _begin_watch(self, topic: str, counts: bool) -> WatchHandle: ...
    def _check_watched(self, topic: str, counts: bool) -> None: ...
    def _feed(self, kind: str, topic: str = "") -> Feed: ...

@final
class WatchHandle:
    """A watch of a topic, or of its counts, until it is closed or nothing refers to it."""

    def close(self) -> None:
        """End the watch."""

    def ready(self) -> Feed | None:
        """Return a feed with one item, once the topic can be read, or counted, the watch has ended
        or the node has stopped; `None` when the watch has ended before.
        """

@final
class MemoryNetwork:
    """A network inside one process, for tests: its links can be cut.

    Pass it to `connect`. Each `MemoryNetwork(name)` is the one that the URL `memory://name` means;
    one without a `name` is its own.
    """

    def __new__(cls, name: str | None = None) -> MemoryNetwork: ...
    def cut(self, a: str, b: str) -> None:
        """Drop all frames between two nodes, both ways and silently, as a broken switch does."""

    def heal(self) -> None:
        """Undo every `cut`."""

@final
class Feed:
    """A reader's end of the news of a node, which never blocks. `poll` takes one item."""

    @property
    def number(self) -> int:
        """The number under which the node reports news for this feed."""

    def poll(self) -> TopicDiff | Event | tuple[str, str] | str | bool | None:
        """Return the next item, `None` when there is none yet: the number of the feed is reported
        once there is.

        Raises `LagError` when items were lost, which ends a feed of changes; `EOFError` at the end.
        """

    def close(self) -> None:
        """End the feed; the node drops what waits for it."""

@final
class Bridge:
    """The end of a transport that Python holds: it takes the frames to send, and hands over those
    received.
    """

    @property
    def number(self) -> int:
        """The number under which the node reports frames to send and questions."""

    def take(self) -> tuple[dict[int, bool], _list[Transmit], int]:
        """Return the partitions whose frames are wanted from now on (true) or no longer (false),
        the frames to send, and the number of the last question: answer it with `settled` once every
        frame that has reached this process is delivered.
        """

    def settled(self, asked: int) -> None:
        """Answer a question."""

    def deliver(self, peer: str, frame: Buffer | None) -> bool:
        """Hand over a frame, or with `None` the news that the peer was lost. Return false when it
        is lost, because too many wait.
        """

    def close(self) -> None:
        """Stop answering: the node waits for nothing more."""
