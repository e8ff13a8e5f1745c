"""The compiled half of the package `headcount`."""

from builtins import list as _list
from collections.abc import Callable, Iterable, Iterator
from types import GenericAlias
from typing import Any, ClassVar, Generic, Literal, SupportsIndex, TypeAlias, TypeVar, final, overload
from uuid import UUID

from typing_extensions import Buffer

__all__ = [
    "BatchReport",
    "BulkReport",
    "Bundle",
    "Diff",
    "Entry",
    "Event",
    "Group",
    "Header",
    "Member",
    "MemberList",
    "Presence",
    "Replica",
    "Roster",
    "RosterReport",
    "Signal",
    "Snapshot",
    "SortedSet",
    "Tick",
    "TopicDiff",
    "Tracker",
    "Transmit",
    "Update",
    "Upsert",
    "Viewer",
]

_Name: TypeAlias = str | Buffer
"""A key or an owner. Both of an entry are text, or both are bytes."""

_Json: TypeAlias = (
    dict[str, Any] | list[Any] | tuple[Any, ...] | str | int | float | bool | None
)
_Meta: TypeAlias = Buffer | _Json
"""A meta: bytes are taken as they are, anything else as JSON, ``None`` as no bytes at all."""

class _Value:
    """What is equal when it says the same, and cannot be a key of a dict."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Replica:
    """One life of one node: its name, an incarnation that grows with each start, a random salt."""

    def __new__(cls, name: str, incarnation: int, salt: int) -> Replica: ...
    @property
    def name(self) -> str:
        """The name of the node, the same over restarts."""

    @property
    def incarnation(self) -> int:
        """The life of the node, larger after each restart."""

    @property
    def salt(self) -> int:
        """The random part that tells apart two nodes that started in the same microsecond."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __lt__(self, other: Replica, /) -> bool: ...
    def __le__(self, other: Replica, /) -> bool: ...
    def __gt__(self, other: Replica, /) -> bool: ...
    def __ge__(self, other: Replica, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Entry:
    """One presence: a key in a topic, held there by an owner."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def key(self) -> str | bytes:
        """Who or what is present: ``str``, or ``bytes`` if it was tracked as bytes."""

    @property
    def owner(self) -> str | bytes:
        """What holds it there, a connection or a process: of the same type as the key."""

    @property
    def meta(self) -> bytes:
        """The meta as bytes."""

    @property
    def status(self) -> int:
        """The status, 0 to 255: its meaning is the application's."""

    @property
    def node(self) -> str:
        """The name of the replica that holds the connection."""

    @property
    def ref(self) -> str:
        """Names this version of the entry: short, safe in URLs (Phoenix: ``phx_ref``)."""

    @property
    def previous_ref(self) -> str | None:
        """Names the version before this one, if the entry was updated (``phx_ref_prev``)."""

    def json(self) -> Any:
        """The meta, parsed as JSON; ``None`` when it is empty."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Update(_Value):
    """An entry before and after a change of its content."""

    @property
    def key(self) -> str | bytes:
        """The key, the same before and after."""

    @property
    def old(self) -> Entry:
        """The entry as it was told of last; versions in between are among the leaves."""

    @property
    def new(self) -> Entry:
        """The entry as it is now."""

@final
class TopicDiff:
    """What changed in one topic."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def joins(self) -> list[Entry]:
        """The entries that are new, also those that are gone again."""

    @property
    def leaves(self) -> list[Entry]:
        """The versions of entries that are gone, each as it was shown."""

    @property
    def updates(self) -> list[Update]:
        """The entries whose content changed."""

    def __len__(self) -> int: ...

@final
class Diff:
    """What changed, per topic: a mapping of topics to `TopicDiff`, empty when nothing did.

    A copy of a list, read at any moment, stays right when it takes in every diff after it: first
    the joins, then the updates, then the leaves, by key and ``ref``, passing over leaves of what it
    does not have.
    """

    @property
    def joins(self) -> list[Entry]:
        """The entries that are new, of all topics, also those that are gone again."""

    @property
    def leaves(self) -> list[Entry]:
        """The versions of entries that are gone, as they were shown, of all topics."""

    @property
    def updates(self) -> list[Update]:
        """The entries whose content changed, of all topics."""

    def is_lossy(self) -> bool:
        """Returns whether versions that came and went are missing among the leaves: there were more
        than a tracker keeps, 4 MiB of them. Read the lists again.
        """

    def keys(self) -> list[str]:
        """The topics with changes, sorted."""

    def values(self) -> list[TopicDiff]:
        """The changes, sorted by topic."""

    def items(self) -> list[tuple[str, TopicDiff]]:
        """Pairs of a topic and its changes, sorted by topic."""

    def __len__(self) -> int: ...
    def __getitem__(self, topic: str, /) -> TopicDiff: ...
    def __contains__(self, topic: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...

class _Verbs:
    """What `Tracker` and `Presence` have in common."""

    def track(
        self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int = 0
    ) -> str:
        """Tracks an entry and returns its reference. O(1).

        Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
        something is too long.
        """

    def update(
        self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int = 0
    ) -> str:
        """Replaces meta and status of a tracked entry; returns the reference of the new version.

        Raises `NotTracked` when there is no such entry.
        """

    def upsert(
        self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int = 0
    ) -> str:
        """Tracks an entry, or updates it when it is tracked. O(1)."""

    def untrack(self, topic: str, key: _Name, owner: _Name) -> bool:
        """Removes one of this replica's entries. Returns whether it was there. O(1)."""

    def untrack_owner(self, owner: _Name) -> int:
        """Removes everything an owner holds, in all topics. Returns how many entries."""

    def list(self, topic: str) -> _list[Entry]:
        """The entries of a topic, in no particular order. O(entries of the topic)."""

    def get_by_key(self, topic: str, key: _Name) -> _list[Entry]:
        """The entries of a key in a topic. O(entries of the key)."""

    def count(self, topic: str) -> int:
        """How many entries a topic has. O(1)."""

    def count_keys(self, topic: str) -> int:
        """How many distinct keys a topic has. O(1)."""

    def take_diff(self) -> Diff:
        """What changed about this replica's own entries since the last call. O(changes)."""

    def __len__(self) -> int: ...
    def __contains__(self, topic_and_key: object, /) -> bool: ...

@final
class Tracker(_Verbs):
    """Presence entries by topic, key and owner, replicated by frames: a delta-CRDT.

    The constructor raises `OSError` when ``salt`` is left out and the operating system has no
    random number for it.
    """

    def __new__(
        cls, name: str, *, incarnation: int | None = None, salt: int | None = None
    ) -> Tracker: ...
    @property
    def replica(self) -> Replica:
        """This replica."""

    def topics(self) -> _list[str]:
        """The topics that have entries, sorted."""

    def clock(self, replica: Replica | None = None) -> int:
        """How far the operations of a replica are known here; of this one if it is left out."""

    def clocks(self) -> _list[tuple[Replica, int]]:
        """The clock of every replica known here, this one first."""

    def delta_since(self, since: int = 0, *, replica: Replica | None = None) -> bytes | None:
        """A frame with what a holder at clock ``since`` lacks of a replica (of this one if it is
        left out); ``None`` when it lacks nothing.
        """

    def apply(self, frame: Buffer) -> Diff:
        """Takes in a frame of `delta_since` and returns what it changed. O(changes).

        Raises `DecodeError` when it is malformed, `GapError` when frames before it are missing,
        `ApplyError` when it does not fit otherwise. Nothing has changed then.
        """

    def set_hidden(self, replica: Replica, hidden: bool = True) -> bool:
        """Hides the entries of another replica, or shows them again. O(1)."""

    def forget(self, replica: Replica) -> Diff:
        """Drops another replica with all its entries, and returns their leaves."""


_I = TypeVar("_I", int, str, UUID)
_Scalar: TypeAlias = int | bytes | str
_T = TypeVar("_T", bound=_Scalar | tuple[_Scalar, ...])

_Key: TypeAlias = str | int | tuple[int, int] | Buffer
"""A sort key: a name in case-insensitive Unicode order, one or two ints, or up to 64 bytes."""

_Change: TypeAlias = (
    tuple[str, _I]
    | tuple[str, _I, _Key | _Meta]
    | tuple[str, _I, str, _Key]
    | tuple[str, _I, str, _Key, int]
)
_NewMember: TypeAlias = tuple[_I, str, _Key] | tuple[_I, str, _Key, int]

@final
class Member(Generic[_I], _Value):
    """A member's row."""

    __match_args__: ClassVar[tuple[str, str]] = ...
    @property
    def id(self) -> _I:
        """Who."""

    @property
    def group(self) -> str:
        """The name of the group it is in."""

    @property
    def revision(self) -> int:
        """Grows with each change of attributes or payload, and never repeats for an id."""

    @property
    def attrs(self) -> int:
        """32 bits of the application's choice."""

    @property
    def payload(self) -> bytes:
        """The payload; empty in lists without payloads."""
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Header(_Value):
    """The row of a group's header, before its members."""

    __match_args__: ClassVar[tuple[str, str]] = ...
    @property
    def group(self) -> str:
        """The name of the group."""

    @property
    def count(self) -> int:
        """How many members it has."""

@final
class Group(_Value):
    """What a list knows of a group."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def count(self) -> int:
        """How many members it has, shown or not."""

    @property
    def first_index(self) -> int | None:
        """The index of its first row; ``None`` when it has no rows."""

    @property
    def hidden(self) -> bool:
        """Whether it is out of the index space, header included."""

    @property
    def collapsed(self) -> bool:
        """Whether only its header is in the index space."""

@final
class Upsert(_Value):
    """What a write of one member did."""

    @property
    def index(self) -> int | None:
        """The row of the member now; ``None`` while its group is hidden or collapsed."""

    @property
    def is_new(self) -> bool:
        """Whether the member was not in the list before."""

    @property
    def old_index(self) -> int | None:
        """The row before; ``None`` for new members and those without a row."""

@final
class BatchReport(_Value):
    """What `MemberList.apply_batch` did."""

    @property
    def inserted(self) -> int:
        """Members that are new."""

    @property
    def updated(self) -> int:
        """Members that were changed, moved or not."""

    @property
    def removed(self) -> int:
        """Members that are gone."""

    @property
    def missing(self) -> int:
        """Changes of members that were not there at that point; they did nothing."""

@final
class BulkReport(Generic[_I]):
    """What `MemberList.bulk_load` did."""

    @property
    def loaded(self) -> int:
        """Members that are new."""

    @property
    def duplicates(self) -> list[tuple[int, _I]]:
        """Positions and ids of members that were left out: they were there, or came before."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

class _Rows(Generic[_I]):
    """What `MemberList` and `Snapshot` have in common."""

    def groups(self) -> list[Group]:
        """All groups in order, hidden and empty ones too."""

    def member_count(self) -> int:
        """How many members there are, shown or not. O(1)."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Header | Member[_I]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Header | Member[_I]]: ...
    def __iter__(self) -> Iterator[Header | Member[_I]]: ...

@final
class MemberList(_Rows[_I]):
    """A sorted, grouped, sliced list of members, for any number of threads.

    A row is a member, or the header of a group with members. ``len``, indexes, slices and
    iteration speak of rows; ``in``, `get`, `index` and the writes speak of member ids. Ids are
    ``int`` (64 bits), ``uuid.UUID`` or ``str`` (64 bytes), one kind for a list.
    """

    @overload
    def __new__(
        cls: type[MemberList[str]],
        /,
        *,
        groups: Iterable[str] | None = None,
        headers: bool = True,
        payloads: Literal["json", "raw"] | None = None,
    ) -> MemberList[str]: ...
    @overload
    def __new__(
        cls,
        ids: type[_I] = ...,
        /,
        *,
        groups: Iterable[str] | None = None,
        headers: bool = True,
        payloads: Literal["json", "raw"] | None = None,
    ) -> MemberList[_I]: ...
    def add_group(self, name: str) -> None:
        """Adds a group at the end of the order."""

    def set_groups(self, names: Iterable[str]) -> None:
        """Makes these groups exist and stand in this order, before all others."""

    def rename_group(self, name: str, to: str) -> None:
        """Gives a group another name."""

    def move_group(self, name: str, to: int) -> None:
        """Moves a group to a place in the order; places past the end mean the end."""

    def set_group_hidden(self, name: str, hidden: bool = True) -> None:
        """Takes a group out of the index space, header included, or puts it back."""

    def set_group_collapsed(self, name: str, collapsed: bool = True) -> None:
        """Leaves only the header of a group in the index space, or puts its members back."""

    def merge_group(self, name: str, to: str) -> int:
        """Moves all members of a group to another, and returns how many."""

    def remove_group(self, name: str) -> None:
        """Removes a group without members."""

    def upsert(self, id: _I, group: str, key: _Key, *, attrs: int = 0) -> Upsert:
        """Puts a member in, or moves it and sets its attributes. O(log n)."""

    def remove(self, id: _I) -> int | None:
        """Takes a member out. Returns the row it had; ``None`` when there is no such member, and
        when it had no row because its group is hidden or collapsed. O(log n).
        """

    def set_group(self, id: _I, group: str) -> Upsert:
        """Moves a member to another group. O(log n)."""

    def set_key(self, id: _I, key: _Key) -> Upsert:
        """Gives a member another sort key. O(log n)."""

    def set_attrs(self, id: _I, attrs: int) -> int | None:
        """Sets the attribute bits of a member. Returns its row. O(log n)."""

    def set_payload(self, id: _I, payload: _Meta) -> int | None:
        """Sets the payload of a member, in a list with payloads: bytes, or in a list of JSON
        anything that JSON can say. Returns its row. O(log n).
        """

    def set_group_many(self, ids: Iterable[_I], group: str) -> int:
        """Moves many members to a group and returns how many there were; unknown ids are passed
        over. O(k log n).
        """

    def touch(self, id: _I) -> int | None:
        """Says that what is shown of a member has changed. Returns its row. O(log n)."""

    def apply_batch(self, changes: Iterable[_Change[_I]]) -> BatchReport:
        """Makes many changes in order, all or none: tuples of a verb and its arguments.

        ``("upsert", id, group, key)`` or with attrs, ``("remove", id)``, ``("set_group", id,
        group)``, ``("set_key", id, key)``, ``("set_attrs", id, attrs)``, ``("set_payload", id,
        payload)``, ``("touch", id)``. Changes of unknown members do nothing and are counted.
        O(k log n).
        """

    def bulk_load(self, members: Iterable[_NewMember[_I]]) -> BulkReport[_I]:
        """Puts many members in, sorted or not: tuples ``(id, group, key)``, or with attrs.

        Ids that are there already, or come twice, are left out and reported.
        """

    def get(self, id: _I) -> Member[_I] | None:
        """A member by id, or ``None``. O(log n)."""

    def key(self, id: _I) -> bytes:
        """The bytes a member sorts by; `UnknownMember` when there is none. O(log n)."""

    def index(self, id: _I) -> int:
        """The row of a member: as `index_of`, but `UnknownMember` when it has none."""

    def index_of(self, id: _I) -> int | None:
        """The row of a member; ``None`` when it is unknown or its group is hidden or collapsed."""

    def header_index(self, group: str) -> int | None:
        """The row of a group's header, if it has one."""

    def find_prefix(self, prefix: _Key) -> list[tuple[str, int]]:
        """For each group the name and the row of the first member whose key begins like this one;
        groups without one, or not shown, are left out. Of names, case does not count, accents do.
        Keys end after 64 bytes: a longer name finds the first member that agrees with it so far.
        """

    def snapshot(self) -> Snapshot[_I]:
        """The list as it is now, for reading while writes go on. O(1)."""

    def viewer(self, *, discord: bool = False) -> Viewer:
        """A viewer without windows; with ``discord``, one that is sent Discord's events."""

    def tick(self, now: float) -> Tick:
        """Publishes what changed since the last tick: ask each viewer for its bundle.

        ``now`` is in seconds of any clock that does not run backwards; counts travel at most once
        a second.
        """

    def begin_epoch(self, name: str, epoch: int) -> None:
        """Names the list for its viewers and begins an epoch: the next tick sends all of it again."""

    def heap_bytes(self) -> int:
        """Heap memory of the list in bytes, without what text ids, keys over 15 bytes and payloads
        own.
        """

    def __contains__(self, id: object, /) -> bool: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Snapshot(_Rows[_I]):
    """A `MemberList` as it was at one moment: reads by row only."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class SortedSet(Generic[_T]):
    """A set in order that knows positions: what is at an index, and at which index something is.

    It holds ``int`` (64 bits), ``bytes``, ``str`` and tuples of these. Values of different types
    are ordered int < bytes < str < tuple, values of one type as in Python.
    """

    def __new__(cls, values: Iterable[_T] | None = None, /) -> SortedSet[_T]: ...
    def insert(self, value: _T, /) -> tuple[int, bool]:
        """Puts a value in. Returns its index and whether it is new. O(log n)."""

    def remove(self, value: _T, /) -> int | None:
        """Takes a value out. Returns the index it had, or ``None`` if it was not there."""

    def update(self, values: Iterable[_T], /) -> int:
        """Puts many values in. Returns how many were new. O(k log n)."""

    def index(self, value: _T, /) -> int:
        """The index of a value; ``ValueError`` if it is not there. O(log n)."""

    def rank(self, value: _T, /) -> int:
        """How many values are less than this one, which need not be there. O(log n)."""

    def clear(self) -> None:
        """Takes everything out."""

    def __len__(self) -> int: ...
    def __contains__(self, value: object, /) -> bool: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> _T: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[_T]: ...
    def __iter__(self) -> Iterator[_T]: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Transmit:
    """A frame to send."""

    @property
    def to(self) -> str | None:
        """The neighbour it goes to; ``None`` for all."""

    @property
    def frame(self) -> bytes:
        """The frame."""

@final
class Event:
    """Something that happened to the cluster."""

    __match_args__: ClassVar[tuple[str, str]] = ...

    @property
    def kind(self) -> str:
        """What happened, as one word of snake case: ``replica_up``, ``replica_down``,
        ``replica_forgotten``, ``replica_left``, ``divergence``, ``refused``,
        ``duplicate_name``, ``reincarnated``, ``diffs_dropped``, ``signal``, ``peer_limit`` or
        ``unsupported``.
        """

    @property
    def replica(self) -> Replica | None:
        """The replica it is about, if it is about one."""

    @property
    def reason(self) -> str | None:
        """What is wrong with the frames of the replica, when the kind is ``refused``.

        They break a limit of this node or the format. That is told once, until a frame of it is
        taken.
        """

    @property
    def peer(self) -> str | None:
        """The neighbour it came from, when the kind is ``refused`` or ``unsupported``."""

    @property
    def signal(self) -> Signal | None:
        """The sign, when the kind is ``signal``."""

@final
class Signal(_Value):
    """A short-lived sign from another node, such as typing."""

    @property
    def topic(self) -> str:
        """The topic it concerns."""

    @property
    def key(self) -> bytes:
        """The bytes of the key it concerns."""

    @property
    def kind(self) -> int:
        """A number of the application's choice."""

    @property
    def payload(self) -> bytes:
        """The payload."""

    @property
    def ttl(self) -> float:
        """How long it holds, in seconds."""

@final
class Presence(_Verbs):
    """Who is here, on all nodes of a cluster: without I/O, so that any network can carry it.

    The verbs are those of `Tracker`. The caller moves frames and tells the time: ``now`` is in
    seconds since any start, the same for all calls. Feed `handle_message` and `handle_timeout`,
    send what `poll` gives, and call again when `poll_timeout` says. `headcount.aio.Node` does that
    for asyncio. The constructor raises `OSError` when the operating system has no random number.
    """

    def __new__(
        cls,
        name: str,
        *,
        incarnation: int | None = None,
        salt: int | None = None,
        cluster: str = "headcount",
        key: Buffer | None = None,
        heartbeat: float | None = None,
        down_after: float | None = None,
        forget_after: float | None = None,
        push_after: float | None = None,
        flush: float | None = None,
        grace: float | None = None,
        frame_max: int | None = None,
        relay: bool = False,
    ) -> Presence: ...
    @property
    def replica(self) -> Replica:
        """This replica. It changes when the node finds a second self."""

    @staticmethod
    def restore(snapshot: Buffer, name: str, *, now: float = ..., **options: Any) -> Presence:
        """A presence that starts with what ``snapshot`` knew of the other replicas, so that only
        what happened since has to travel. The own entries of the snapshot are gone: their
        connections are. The options are those of the constructor.
        """

    def snapshot(self) -> bytes:
        """The state of all replicas as bytes, for `restore`. Operations go on meanwhile."""

    def lease_owner(self, now: float, owner: _Name, ttl: float) -> None:
        """Gives an owner's entries a lease, or renews it: unless renewed again within ``ttl``
        seconds, they leave.
        """

    def lease(self, now: float, topic: str, key: _Name, owner: _Name, ttl: float) -> bool:
        """Gives one entry a lease, or renews it. Returns whether there is such an entry."""

    def owner_lost(self, now: float, owner: _Name) -> None:
        """Says that an owner went without a word: its entries stay for the ``grace`` of the
        constructor, in case it comes back.
        """

    def owner_back(self, owner: _Name) -> bool:
        """Says that a lost owner is back: its entries stay. Returns whether it was waited for."""

    def handle_message(self, now: float, sender: str, frame: Buffer) -> None:
        """Takes one frame from a neighbour of the transport. O(changes).

        Raises `DecodeError` when it is malformed, not authentic, or of another cluster or
        version; nothing has changed then.
        """

    def handle_timeout(self, now: float) -> None:
        """Does what is due: heartbeats, pushes, pulls, verdicts of down and forgotten."""

    def disconnected(self, now: float, sender: str) -> None:
        """A hint of the transport that a neighbour is gone: its replica is hidden at once."""

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called next; ``None`` for never."""

    def poll_transmit(self) -> Transmit | None:
        """The next frame to send."""

    def poll_event(self) -> Event | None:
        """The next thing that happened to the cluster."""

    def poll_diff(self) -> Diff | None:
        """The next changes, of other replicas and of this one, in the order in which the lists
        changed. Those of this replica are coalesced for the ``flush`` of the constructor.
        """

    def poll(self) -> Iterator[Transmit | Event | Diff]:
        """All outputs there are now."""

    def is_synced(self) -> bool:
        """Whether everything that the peers heard of had to show has arrived once."""

    def replicas(self) -> _list[tuple[Replica, bool]]:
        """The other replicas known, and whether each is up."""

    def signal(
        self, topic: str, key: _Name, kind: int, payload: Buffer = ..., *, ttl: float = ...
    ) -> None:
        """Sends a short-lived sign, such as typing, to all peers; nothing is stored."""

    def leave_gracefully(self, now: float) -> None:
        """Leaves the cluster: peers drop this replica's entries at once."""

@final
class Tick:
    """What one publication of a list says; `Viewer.bundle` takes from it."""

    @property
    def version(self) -> int:
        """The version of the list."""

    def __bool__(self) -> bool: ...

@final
class Bundle:
    """What one viewer is sent at a time, to be shown all at once: frames of its windows and counts.

    ``core/docs/list-frames.md`` describes it; `Client` and the JavaScript client take it.
    """

    @property
    def version(self) -> int:
        """The version of the list."""

    @property
    def epoch(self) -> int:
        """The epoch of the list."""

    @property
    def windows(self) -> list[str]:
        """The names of the windows it has frames of."""

    @staticmethod
    def from_binary(data: Buffer, ids: type[int] | type[str] | type[UUID] = ...) -> Bundle:
        """Reads what `to_binary` wrote, for a list with ids of this type.

        Raises `DecodeError` when the bytes are no bundle of such a list.
        """

    def to_json(self) -> bytes:
        """The bundle as JSON, ready to be sent. What viewers share is encoded once."""

    def to_binary(self) -> bytes:
        """The bundle in the binary form: smaller, with a checksum."""

    def to_discord(self, guild: str, list: str = "everyone") -> bytes:
        """The bundle as the data of a ``GUILD_MEMBER_LIST_UPDATE`` event of Discord, in JSON: for
        a viewer made with ``discord=True``.
        """

    def to_dict(self) -> dict[str, Any]:
        """The bundle as a dict."""

@final
class Viewer:
    """One viewer of a list: which windows it holds, and what it is sent. No I/O: send the bundles.

    Windows have names: ``c:3`` is rows 300 to 399, ``a:77:50:49`` the 50 rows above member 77,
    itself and 49 below; ``f:77:50:49`` follows the member when it moves, ``g:online:0:99`` a header.
    """

    def open(self, window: str) -> Bundle:
        """Opens a window: a bundle with its SYNC and all counts. Opening it again is a `resync`.

        Raises `WindowError` for a bad name or an unknown anchor, `LimitError` over a limit.
        """

    def retarget(self, window: str, to: str) -> Bundle:
        """Closes one window and opens another: a bundle with the SYNC of the new one."""

    def close(self, window: str) -> None:
        """Closes a window."""

    def resync(self, windows: Iterable[str] | None = None) -> Bundle:
        """What a client gets that asks for windows anew: the SYNC of each, and all counts."""

    def bundle(self, tick: Tick) -> Bundle | None:
        """What the viewer is sent of a tick; ``None`` for nothing.

        Ticks must come in order; any may be left out. What was missed comes as well: counts now,
        windows that changed in a tick left out whole with the next tick.
        """

    def is_stale(self) -> bool:
        """Whether a window has missed frames: `catch_up` brings its rows at once, else the next tick."""

    def catch_up(self) -> Bundle:
        """One SYNC for each window that has missed frames, and all counts."""

    def set_hidden(self, hidden: bool = True) -> None:
        """Tells whether anybody looks: a hidden viewer is sent counts only."""

    def windows(self) -> list[str]:
        """The windows it holds, by their present names."""

_Place: TypeAlias = tuple[str, _Key] | tuple[str, _Key, int]
_Status: TypeAlias = Literal["online", "idle", "dnd", "invisible", "offline"]

@final
class RosterReport(Generic[_I]):
    """What changed for others."""

    @property
    def changes(self) -> list[tuple[_I, _Status, _Status]]:
        """Users of whom others see something else now: id, status before, status now."""

    @property
    def refused(self) -> list[tuple[_I, str]]:
        """Users whose row the list refused, and why."""

    @property
    def foreign(self) -> int:
        """Keys that are no id of the list. They were passed over."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Roster(Generic[_I]):
    """A list that follows presence: one row for each user with sessions.

    ``mapping`` takes an `Entry` and says where it puts its user: ``(group, key)`` or ``(group,
    key, attrs)``. The key of an entry is the id of the row. The status of an entry is 0 online, 1
    idle, 2 dnd, 3 invisible; over the sessions of a user the first of ``priority`` decides. A user
    whose sessions are gone, or who is invisible, is offline for others: the row is removed, or
    moves to the group ``offline``.
    """

    def __new__(
        cls,
        list: MemberList[_I],
        mapping: Callable[[Entry], _Place],
        *,
        offline: str | None = None,
        priority: Iterable[_Status] | None = None,
        last_seen_max: int | None = None,
    ) -> Roster[_I]: ...
    @property
    def list(self) -> MemberList[_I]:
        """The list."""

    def apply(self, change: TopicDiff, *, now: float | None = None) -> RosterReport[_I]:
        """Takes the changes of the topic. ``now`` is the wall clock in seconds since 1970, for
        last-seen; left out, it is read. O(changes x log members).

        Raises `UnknownGroup` when the mapping names a group the list lacks, and what the mapping
        raises; nothing has changed then.
        """

    def load_offline(self, members: Iterable[_NewMember[_I]]) -> BulkReport[_I]:
        """Loads members who are offline, all at once: as `MemberList.bulk_load`."""

    def status(self, id: _I) -> _Status:
        """What others see of a user: ``online``, ``idle``, ``dnd`` or ``offline``."""

    def own_status(self, id: _I) -> _Status:
        """What the user's own sessions see: as `status`, or ``invisible``."""

    def last_seen(self, id: _I) -> int | None:
        """When the user was last seen, in seconds since 1970; ``None`` while visible, or not
        known.
        """

    def online_count(self) -> int:
        """How many users others see as being here. O(1)."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
