"""The compiled half of the package `headcount`."""

from builtins import list as _list
from collections.abc import Callable, Iterable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from os import PathLike
from types import GenericAlias
from typing import Any, ClassVar, Generic, Literal, Self, SupportsIndex, TypeAlias, TypeVar, Unpack, final, overload
from uuid import UUID

from _typeshed import SupportsRead, SupportsWrite
from typing_extensions import Buffer, disjoint_base

from headcount._client import BundleReport, Client, ListRequest, Window
from headcount._cluster import (
    Bridge, Event, Feed, GroupSubscription, Keys, MemoryNetwork, NodeBase, Signal, Transmit, WatchHandle,
)  # fmt: skip
from headcount._collation import Collation
from headcount._options import PresenceOptions
from headcount._reports import BatchReport, BulkReport, RosterReport, Upsert, _Status
from headcount._table import (
    Clause, ListMove, ListSpec, ListView, MemberTable, TableBatchReport, TableMember, TableTick, TableUpsert,
    _NewTableMember,
)  # fmt: skip

__all__ = [
    "BatchReport", "Bridge", "BulkReport", "Bundle", "BundleReport", "Clause", "Client", "Collation", "Diff", "Entry",
    "Event", "Feed", "Group", "GroupSubscription", "Header", "Keys", "Leave", "ListMove", "ListRequest", "ListSpec",
    "ListView", "Member", "MemberList", "MemberTable", "MemoryNetwork", "NodeBase", "Presence", "Replica", "Roster",
    "RosterReport", "Signal", "Snapshot", "SortedTree", "TableBatchReport", "TableMember", "TableTick", "TableUpsert",
    "Tick", "TopicDiff", "Tracker", "Transmit", "Update", "Upsert", "Viewer", "WatchHandle", "Window"]  # fmt: skip

_Default = TypeVar("_Default")
_Name: TypeAlias = str | Buffer
"""A key or an owner. Both of an entry are text, or both are bytes."""

_Json: TypeAlias = dict[str, Any] | list[Any] | tuple[Any, ...] | str | int | float | bool | None
_Meta: TypeAlias = Buffer | _Json
"""A meta: bytes are taken as they are, anything else as JSON, ``None`` as no bytes at all."""

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
        """A random number that distinguishes two nodes that started in the same microsecond."""

    def __eq__(self, other: object, /) -> bool: ...
    def __lt__(self, other: Replica, /) -> bool: ...
    def __le__(self, other: Replica, /) -> bool: ...
    def __gt__(self, other: Replica, /) -> bool: ...
    def __ge__(self, other: Replica, /) -> bool: ...
    def __hash__(self) -> int: ...

@disjoint_base
class Entry:
    """The presence of a key in a topic, held there by an owner."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def key(self) -> str | bytes:
        """The name of what is present: `str`, or `bytes` if it was tracked as bytes."""

    @property
    def owner(self) -> str | bytes:
        """The name of what holds it there, a connection or a process: of the same type as the key.
        """

    @property
    def meta(self) -> bytes:
        """The meta as bytes."""

    @property
    def status(self) -> int:
        """The status, 0 to 255, whose meaning is up to the application."""

    @property
    def node(self) -> str:
        """The name of the replica that holds the connection."""

    @property
    def ref(self) -> str:
        """The name of this version of the entry: a short text that is safe in URLs (Phoenix:
        `phx_ref`).
        """

    @property
    def previous_ref(self) -> str | None:
        """The name of the version before this one, if the entry was updated (Phoenix:
        `phx_ref_prev`).
        """

    def json(self) -> Any:
        """Return the meta, parsed as JSON; `None` when it is empty.

        Raises `ValueError` when it is not JSON, or nests deeper than 128.
        """

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

_LeaveReason: TypeAlias = Literal[
    "untracked", "owner_gone", "expired", "updated", "replica_down", "replica_left", "replica_replaced",
    "replica_forgotten", "unknown"]  # fmt: skip

@final
class Leave(Entry):
    """A version of an entry that is over, with the reason."""

    @property
    def reason(self) -> _LeaveReason:
        """The reason for which it is over:

        - `"untracked"`: a program untracked the entry
        - `"owner_gone"`: its owner was untracked, as the connection closed
        - `"expired"`: its lease ran out
        - `"updated"`: a later version of the entry follows
        - `"replica_down"`: its node is silent or its connection broke; the entry joins again if the
          node comes back with it
        - `"replica_left"`: its node said Goodbye
        - `"replica_replaced"`: its node started again without it
        - `"replica_forgotten"`: the program made a `Tracker` forget the replica
        - `"unknown"`: this node missed the leave and was only sent what is there now, or the reason
          is one of a later version of headcount
        """

@final
class Update:
    """An entry before and after a change of its content."""

    @property
    def key(self) -> str | bytes:
        """The key, the same before and after."""

    @property
    def old(self) -> Entry:
        """The entry as a diff last reported it; versions in between are among the leaves."""

    @property
    def new(self) -> Entry:
        """The entry as it is now."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class TopicDiff:
    """The changes of one topic."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def joins(self) -> list[Entry]:
        """The entries that are new, including those that have left again."""

    @property
    def leaves(self) -> list[Leave]:
        """The versions of entries that are over, each as it was and with the reason."""

    @property
    def updates(self) -> list[Update]:
        """The entries whose content changed."""

    def __len__(self) -> int: ...

@final
class Diff(Mapping[str, TopicDiff]):
    """Changes per topic: a mapping of topics to `TopicDiff`, empty when nothing changed.

    The changes of a session (topic, key, owner) become one join, leave or update. Every version
    that `list` could have shown and that is over has a leave, or is the `old` of an update. So a
    copy of a list, read at any moment, stays right when it applies every diff after it: first the
    joins, then the updates, then the leaves, by key and `ref`. It ignores leaves of versions that
    it does not have.
    """

    @property
    def joins(self) -> list[Entry]:
        """The entries that are new, of all topics, including those that have left again."""

    @property
    def leaves(self) -> list[Leave]:
        """The versions of entries that are over, of all topics, each with the reason."""

    @property
    def updates(self) -> list[Update]:
        """The entries whose content changed, of all topics."""

    def is_lossy(self) -> bool:
        """Return whether versions that came and went are missing among the leaves, because there
        were more than the 4 MiB that a tracker keeps. Read the lists again then.
        """

    @overload
    def get(self, key: str, default: None = None, /) -> TopicDiff | None:
        """Return the changes of a topic, or `default` when it has none."""
    @overload
    def get(self, key: str, default: _Default, /) -> TopicDiff | _Default:

        """Return the changes of a topic, or `default` when it has none."""

    def keys(self) -> KeysView[str]:
        """Return a view of the topics with changes, sorted."""

    def values(self) -> ValuesView[TopicDiff]:
        """Return a view of the changes, sorted by topic."""

    def items(self) -> ItemsView[str, TopicDiff]:
        """Return a view of the pairs of a topic and its changes, sorted by topic."""

    def __len__(self) -> int: ...
    def __getitem__(self, topic: str, /) -> TopicDiff: ...
    def __contains__(self, topic: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...

@final
class Tracker:
    """Presence entries by topic, key and owner, replicated by frames: a delta-CRDT.

    A key names what is present, a user; its owner names what holds it there, a connection. Each
    entry has a meta: bytes as they are, or any other object as JSON, which nests 128 deep at most.
    Key and owner are both `str` or both `bytes`; the meta of a key of `bytes` is `bytes` too. `"a"`
    and `b"a"` are two keys, but one owner. `incarnation` distinguishes one life of the node from the
    next; left out, it is the wall clock in microseconds.

    `name` is the name of the node, up to 64 bytes. `salt` tells lives of one incarnation
    apart; left out, it is random.
    """

    def __new__(cls, name: str, *, incarnation: int | None = None, salt: int | None = None) -> Tracker: ...
    @property
    def replica(self) -> Replica:
        """This replica."""

    def topics(self) -> _list[str]:
        """Return the topics that have entries, hidden ones included, sorted."""

    def clock(self, replica: Replica | None = None) -> int:
        """Return the number of operations of a replica that are known here; of this one if it is
        left out. O(1).
        """

    def clocks(self) -> _list[tuple[Replica, int]]:
        """Return the clock of every replica known here, this one first."""

    def delta_since(self, since: int = 0, *, replica: Replica | None = None) -> bytes | None:
        """Return a frame with what a holder at clock `since` lacks of a replica (of this one if it
        is left out); `None` when it lacks nothing. O(what is missing).
        """

    def apply(self, frame: Buffer) -> Diff:
        """Apply a frame of `delta_since` and return what it changed. O(changes).

        Raises `DecodeError` when it is malformed, `GapError` when frames before it are missing,
        `ApplyError` when it does not fit for another reason, `MemoryError` when there is no room
        for its entries. Nothing has changed then.
        """

    def set_hidden(self, replica: Replica, hidden: bool = True) -> bool:
        """Hide the entries of another replica, or show them again; return whether that changed
        anything. O(1).
        """

    def forget(self, replica: Replica) -> Diff:
        """Drop another replica with all its entries, and return their leaves. O(its entries)."""

    def track(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int = 0) -> str:
        """Track an entry and return its reference. O(1).

        Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
        something is too long.
        """

    def update(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int | None = None) -> str:
        """Replace the meta of a tracked entry, and its status if one is given; return the reference
        of the new version. O(1).

        Raises `NotTracked` when there is no such entry.
        """

    def upsert(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int | None = None) -> str:
        """Track an entry, or update it when it is tracked, as `update` does. O(1)."""

    def untrack(self, topic: str, key: _Name, owner: _Name) -> bool:
        """Remove one of this replica's entries; return whether it was tracked. O(1)."""

    def untrack_owner(self, owner: _Name) -> int:
        """Remove all entries of an owner, in all topics; return how many. O(its entries)."""

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

    def take_diff(self) -> Diff:
        """Return the changes of this replica's own entries since the last call. O(changes)."""

    def __len__(self) -> int: ...
    def __contains__(self, topic_and_key: object, /) -> bool: ...


_I = TypeVar("_I", int, str, UUID)
_T = TypeVar("_T")

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
class Member(Generic[_I]):
    """A member's row."""

    __match_args__ = ("id", "group")
    @property
    def id(self) -> _I:
        """The id of the member."""

    @property
    def group(self) -> str:
        """The name of the group that the member is in."""

    @property
    def revision(self) -> int:
        """A number that grows with each change of attributes or payload, and never repeats for an
        id.
        """

    @property
    def attrs(self) -> int:
        """The attribute bits, 32, whose meaning is up to the application."""

    @property
    def payload(self) -> bytes:
        """The payload; empty in lists without payloads."""
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class Header:
    """The row of a group's header, before its members."""

    __match_args__ = ("group", "count")
    @property
    def group(self) -> str:
        """The name of the group."""

    @property
    def count(self) -> int:
        """The number of members of the group."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class Group:
    """The state of a group in a list."""

    @property
    def name(self) -> str:
        """The name of the group."""

    @property
    def count(self) -> int:
        """The number of members of the group, shown or not."""

    @property
    def first_index(self) -> int | None:
        """The index of the first row of the group; `None` when it has no rows."""

    @property
    def hidden(self) -> bool:
        """True if the group is out of the index space, header included."""

    @property
    def collapsed(self) -> bool:
        """True if only the header of the group is in the index space."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class MemberList(Generic[_I]):
    """A sorted, grouped, sliced list of members, for any number of threads.

    A row is a member, or the header of a group with members. `len`, indexes, slices and iteration
    speak of rows; `in`, `get`, `index` and the writes speak of member ids. Ids are `int` (-2**63 to
    2**64 - 1), `uuid.UUID` or `str` (64 bytes), one kind for a list. Members of a group are sorted
    by a key: a name (in case-insensitive Unicode order), an int, a pair of ints, or up to 64 bytes
    that sort as they are.

    `ids` is the type of the ids (`str`), `groups` are the first groups in order, `headers`
    says whether each group with members has a header row (true), and `payloads` gives members
    payloads: "json", sent as the bodies of rows, or "raw" (none).
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
        """Add a group at the end of the order."""

    def set_groups(self, names: Iterable[str]) -> None:
        """Create the groups that do not exist, and put these groups in this order before all
        others.

        Raises `LimitError` for more than 4,096 groups.
        """

    def rename_group(self, name: str, to: str) -> None:
        """Rename a group."""

    def move_group(self, name: str, to: int) -> None:
        """Move a group to an index in the order; an index past the end means the end."""

    def reorder_groups(self, names: Iterable[str]) -> None:
        """Put all groups in this order.

        Raises `ListError` unless each group is named once.
        """

    def set_group_hidden(self, name: str, hidden: bool = True) -> None:
        """Take a group out of the index space, header included, or put it back."""

    def set_group_collapsed(self, name: str, collapsed: bool = True) -> None:
        """Leave only the header of a group in the index space, or put its members back."""

    def merge_group(self, name: str, to: str) -> int:
        """Move all members of a group to another, and return how many. The group stays, empty."""

    def remove_group(self, name: str) -> None:
        """Remove a group without members."""

    def upsert(self, id: _I, group: str, key: _Key, *, attrs: int = 0) -> Upsert:
        """Add a member, or move it and set its attributes. O(log n)."""

    def remove(self, id: _I) -> int | None:
        """Remove a member, and return the row it had; `None` when there is no such member, and when
        it had no row because its group is hidden or collapsed. O(log n).
        """

    def set_group(self, id: _I, group: str) -> Upsert:
        """Move a member to another group. O(log n)."""

    def set_key(self, id: _I, key: _Key) -> Upsert:
        """Change the sort key of a member. O(log n)."""

    def set_attrs(self, id: _I, attrs: int) -> int | None:
        """Set the attribute bits of a member, and return its row. O(log n)."""

    def set_payload(self, id: _I, payload: _Meta) -> int | None:
        """Set the payload of a member, in a list with payloads, and return its row: bytes, or in a
        list of JSON any object that JSON can express. O(log n).
        """

    def set_group_many(self, ids: Iterable[_I], group: str) -> int:
        """Move many members to a group, and return how many of them exist; unknown ids are ignored.
        At most 16,777,216 at a time. O(k log n).
        """

    def touch(self, id: _I) -> int | None:
        """Report that the content shown for a member has changed, and return its row. O(log n)."""

    def apply_batch(self, changes: Iterable[_Change[_I]]) -> BatchReport:
        """Apply many changes in order, all or none: tuples of a verb and its arguments, `("upsert",
        id, group, key)` or with attrs, `("remove", id)`, `("set_group", id, group)`,
        `("set_key", id, key)`, `("set_attrs", id, attrs)`, `("set_payload", id, payload)`,
        `("touch", id)`. Changes of unknown members do nothing and are counted. At most
        16,777,216 at a time. O(k log n).
        """

    def bulk_load(self, members: Iterable[_NewMember[_I]]) -> BulkReport[_I]:
        """Add many members, sorted or not: tuples `(id, group, key)` or `(id, group, key, attrs)`.
        Ids that exist already, or come twice, are left out and reported. At most 16,777,216 at a
        time.

        Raises as `upsert`, with the position of the first member whose group is unknown,
        `LimitError` when there are more, `MemoryError` when there is no room for them; nothing was
        loaded then.
        """

    def get(self, id: _I) -> Member[_I] | None:
        """Return a member by id, or `None`. O(log n)."""

    def key(self, id: _I) -> bytes:
        """Return the bytes by which a member sorts. O(log n).

        Raises `UnknownMember` when there is no such member.
        """

    def index(self, id: _I) -> int:
        """Return the row of a member. O(log n).

        Raises `UnknownMember` when there is no such member, and `HiddenMember` when its group is
        hidden or collapsed.
        """

    def index_of(self, id: _I) -> int | None:
        """Return the row of a member; `None` when it is unknown or its group is hidden or
        collapsed. O(log n).
        """

    def index_of_many(self, ids: Iterable[_I]) -> list[int | None]:
        """Return the row of each of many members, in the order of the ids: for each what `index_of`
        returns, in less time. At most 16,777,216 at a time. O(k log n).
        """

    def rows_of(self, ids: Iterable[_I]) -> list[tuple[int, Member[_I]] | None]:
        """Return the index and the row of each of many members, in the order of the ids; `None` for
        one that is unknown or whose group is hidden or collapsed. At most 16,777,216 at a
        time. O(k log n).
        """

    def header_index(self, group: str) -> int | None:
        """Return the row of a group's header, if it has one."""

    def find_prefix(self, prefix: _Key) -> list[tuple[str, int]]:
        """Return, for each group, its name and the row of the first member whose key begins with
        this prefix. Groups without such a member, and groups not shown, are left out. Names are
        compared without case but with accents, in their first 64 bytes.
        """

    def search_prefix(self, prefix: _Key) -> list[tuple[str, int, int | None]]:
        """Return, for each group with members whose key begins with this prefix, its name, how many
        there are, and the row of the first one, which the others follow; `None` when the group is
        collapsed. O(groups log n).
        """

    @staticmethod
    def search_window(prefix: _Key, page: int = 0, group: str | None = None) -> str:
        """Return the name of the window that shows a page of the members whose key begins with this
        prefix, 50 rows, of all groups or of one.
        """

    def snapshot(self) -> Snapshot[_I]:
        """Return the list as it is now, for reading while other threads write. O(1)."""

    def viewer(self, *, discord: bool = False, resumable: bool = False) -> Viewer:
        """Return a viewer without windows; with `discord`, its bundles can be encoded as events of
        Discord; with `resumable`, they are of frame format 2, and its client can `resume` windows.
        """

    def tick(self, now: float) -> Tick:
        """Publish the changes since the last tick: ask each viewer for its bundle then. `now` is in
        seconds of any clock that does not run backwards; counts travel at most once a second.
        """

    def begin_epoch(self, name: str, epoch: int, *, node: str = "") -> None:
        """Name the list for its viewers and begin an epoch: the next tick sends every viewer its
        windows and the counts whole. Epochs of a node must grow, up to 2**53 - 1. `node` is the
        name of the server where there are several, each with epochs of its own; names have at most
        1,024 bytes. Before the first call the names are empty and the epoch is 1, which that call
        may keep.

        Raises `ListError` for an epoch that is not higher, `LimitError` over a limit.
        """

    def save(self, file: str | PathLike[str] | SupportsWrite[bytes]) -> None:
        """Save the list as it is now, with its name, groups, members and their order, to a path or
        to an object with `write`. It works in steps between which other threads may use and change
        the list; the file has the state at the beginning. A file that has the path stays until the
        new one is whole. Viewers are not saved.

        Raises `ListError` while another thread saves the list, `OSError` if the file cannot be
        written.
        """

    @staticmethod
    def load(
        file: str | PathLike[str] | SupportsRead[bytes],
        /,
        *,
        payloads: Literal["json", "raw"] | None = None,
        epoch: int | None = None,
        node: str = "",
    ) -> MemberList[Any]:
        """Return the list of a file that `save` wrote: a path, or an object with `read`. In a list
        with payloads, `payloads` says what they are, `"json"` or `"raw"`. The list begins the epoch
        `epoch`, by default the time in milliseconds, of the server `node`.

        Raises `DecodeError` for a file that was cut or altered, or that a later edition wrote, and
        `ListError` if only one of `payloads` and the file has payloads.
        """

    def heap_bytes(self) -> int:
        """Return the heap memory of the list in bytes, without the memory that text ids, keys over
        15 bytes and payloads own.
        """

    def __contains__(self, id: object, /) -> bool: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    def groups(self) -> list[Group]:
        """Return all groups in order, including hidden and empty ones."""

    def member_count(self) -> int:
        """Return the number of members, shown or not. O(1)."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Header | Member[_I]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Header | Member[_I]]: ...
    def __iter__(self) -> Iterator[Header | Member[_I]]: ...
    def __reversed__(self) -> Iterator[Header | Member[_I]]: ...

@final
class Snapshot(Generic[_I]):
    """A `MemberList` as it was at one moment. Readers never wait for writers, nor writers for
    readers.

    As in the list, `len`, indexes, slices and iteration speak of rows; `in`, `get` and `index`
    speak of member ids. The first of these makes a table of the ids, O(n), which the snapshot
    keeps: in a large list that changes, ask the list. A copy of a snapshot is the snapshot itself.
    """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    def groups(self) -> list[Group]:
        """Return all groups in order, including hidden and empty ones."""

    def member_count(self) -> int:
        """Return the number of members, shown or not. O(1)."""

    def get(self, id: _I) -> Member[_I] | None:
        """Return a member by id, shown or not, or `None`. O(log n); the first read by id O(n)."""

    def index(self, id: _I) -> int:
        """Return the row of a member. O(log groups); the first read by id O(n).

        Raises `UnknownMember` when there is no such member, and `HiddenMember` when its group is
        hidden or collapsed.
        """

    def index_of(self, id: _I) -> int | None:
        """Return the row of a member; `None` when it is unknown or its group is hidden or
        collapsed. O(log groups); the first read by id O(n).
        """

    def __contains__(self, id: object, /) -> bool: ...
    def __copy__(self) -> Snapshot[_I]: ...
    def __deepcopy__(self, _memo: Any) -> Snapshot[_I]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Header | Member[_I]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Header | Member[_I]]: ...
    def __iter__(self) -> Iterator[Header | Member[_I]]: ...
    def __reversed__(self) -> Iterator[Header | Member[_I]]: ...

@disjoint_base
class SortedTree(Generic[_T]):
    """The methods of `SortedSet` that a tree makes fast; the class adds those of sets and
    sequences.
    """
    def __new__(cls, iterable: Iterable[_T] | None = None, key: Callable[[_T], Any] | None = None) -> Self: ...
    @property
    def key(self) -> Callable[[_T], Any] | None:
        """The function that decides the places of values; `None` when values are ordered by
        themselves.
        """
    def add(self, value: _T, /) -> None:
        """Add a value, unless the set has it. O(log n)."""
    def insert(self, value: _T, /) -> tuple[int, bool]:
        """Add a value; return its index and whether it is new. O(log n)."""
    def take(self, value: _T, /) -> int | None:
        """Remove a value if the set has it; return the index it had, or `None`. O(log n)."""
    def discard(self, value: _T, /) -> None:
        """Remove a value if the set has it. O(log n)."""
    def remove(self, value: _T, /) -> None:
        """Remove a value. O(log n).

        Raises `KeyError` when the set does not have it.
        """
    def pop(self, index: int = -1) -> _T:
        """Remove the value at an index, the last one by default, and return it. O(log n).

        Raises `IndexError` when there is none.
        """
    def update(self, *iterables: Iterable[_T]) -> Self:
        """Add many values, 16,777,216 at most; return the set. O(k log n).

        Raises `LimitError` when there are more, `MemoryError` when there is no room for them;
        nothing has changed then.
        """
    def index(self, value: Any, start: int = 0, stop: int = ...) -> int:
        """Return the index of a value between two indexes. O(log n).

        Raises `ValueError` when it is not there.
        """
    def count(self, value: Any, /) -> int:
        """Return how often the set has a value: once or not at all. O(log n)."""
    def rank(self, value: _T, /) -> int:
        """Return the number of values that sort before this one, which need not be there. O(log n).
        """
    def bisect_left(self, value: _T, /) -> int:
        """Return the index before the values that sort as this one. O(log n)."""
    def bisect_right(self, value: _T, /) -> int:
        """Return the index after the values that sort as this one. O(log n)."""
    def bisect_key_left(self, key: Any, /) -> int:
        """Return the index before the values with this key. O(log n)."""
    def bisect_key_right(self, key: Any, /) -> int:
        """Return the index after the values with this key. O(log n)."""
    def islice(self, start: int | None = None, stop: int | None = None, reverse: bool = False) -> Iterator[_T]:
        """Return an iterator over the values between two indexes, backwards with `reverse`. It
        walks the set as it is now.
        """
    def clear(self) -> None:
        """Remove all values."""
    def _replace(self, values: Iterable[_T], /) -> None: ...
    def _share(self, other: SortedTree[_T], /) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, value: object, /) -> bool: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> _T: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[_T]: ...
    def __delitem__(self, index: SupportsIndex | slice, /) -> None: ...
    def __iter__(self) -> Iterator[_T]: ...
    def __reversed__(self) -> Iterator[_T]: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Presence:
    """The presence of all nodes of a cluster, without I/O, so that any network can carry it.

    The verbs are those of `Tracker`. The caller moves frames and passes the time: `now` is in
    seconds since any start, the same for all calls. Call `handle_message` with each frame that
    arrives, `handle_timeout` at the time that `poll_timeout` returns, and send the frames that
    `poll` yields. A `Node` does all of that, over NATS or a transport of yours. In mode `interest`
    reads of a topic raise `NotWatched` without a `watch`, and `NotReady` until it is ready.

    `name` must be unique in the cluster; left out, it is made of the host, the process and a
    random number. `incarnation` and `salt` distinguish one life of the node from the next:
    left out, they are the time and a random number. All nodes of a cluster have the same name
    of it, `cluster` ("headcount"), the same `key`, a secret of 16 bytes that seals their
    frames (none), and the same number of `partitions`, a power of two from 1 to 65,536 (32):
    a node with other ones hears nothing of the rest.

    Durations are in seconds. A node speaks each `heartbeat` (1). One that is not heard for
    `down_after` (5) is down, and its entries are hidden; after `forget_after` (1,200) they
    are removed. Changes wait for `push_after` (0.005) to be sent together, and for `flush`
    (0.005) to be one diff. Entries of an owner that is lost stay for `grace` (0). A partition
    without entries of this node is given up after `vacate_after` (60), and with it what is
    remembered of those that left. The event `ready` names the nodes that this one has not
    caught up with `ready_after` (5) after two heartbeats. Frames have at most `frame_max`
    bytes (262,144). `relay` (false) is for transports that do not reach every node directly;
    all nodes have it, or none.

    With `mode` "interest" (the same on all nodes; "all") a node holds, beside its own
    entries, those of the topics that it watches: see `watch`. What others have in a topic is
    held for `unwatch_after` (30) after its last watch. Choose it with some thousands of
    partitions when there is more presence than each node can hold, and users of a topic are
    on few nodes. It cannot be combined with `relay`. With `counts` (the same on all nodes;
    false) nodes tell how many entries they have in each topic, once a heartbeat, so that a
    node can count topics whose entries it does not hold: see `watch_counts`.

    Raises `ValueError` for a name of more than 64 bytes, a key of another length, a number of
    partitions that is not a power of two, an unknown mode, counts in mode "all", and a
    `forget_after` that is not above `down_after`; `LimitError` for more than 65,536 partitions,
    or 32,768 with counts.
    """

    def __new__(
        cls,
        name: str | None = None,
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
        partitions: int | None = None,
        vacate_after: float | None = None,
        ready_after: float | None = None,
        mode: Literal["all", "interest"] = ...,
        unwatch_after: float | None = None,
        counts: bool = False,
    ) -> Presence: ...
    @property
    def replica(self) -> Replica:
        """This replica. It changes when the node finds a duplicate of itself and takes a new
        incarnation.
        """

    @staticmethod
    def restore(snapshot: Buffer, name: str, **options: Unpack[PresenceOptions]) -> tuple[Presence, Diff]:
        """Create a presence, and return with it the own entries in `snapshot`, as the joins of a
        `Diff`. It tracks none of them: track those again whose connections are still there, with
        `lease` for those that might not be. It asks the other nodes for their entries. The options
        are those of the constructor. O(entries).

        Raises `DecodeError` when the bytes are not a snapshot.
        """

    def snapshot(self) -> bytes:
        """Return the own entries as bytes, for `restore`. Other threads may change them meanwhile.
        O(own entries).
        """

    def lease_owner(self, now: float, owner: _Name, ttl: float) -> None:
        """Give an owner's entries a lease, or renew it: unless it is renewed within `ttl` seconds,
        they leave.
        """

    def lease(self, now: float, topic: str, key: _Name, owner: _Name, ttl: float) -> bool:
        """Give one entry a lease, or renew it; return whether it is tracked."""

    def owner_lost(self, now: float, owner: _Name) -> None:
        """Report that an owner was lost unexpectedly: its entries stay for the `grace` of the
        constructor, in case it comes back.
        """

    def owner_back(self, owner: _Name) -> bool:
        """Report that a lost owner is back: its entries stay; return whether its grace was not
        over.
        """

    def handle_message(self, now: float, sender: str, frame: Buffer) -> None:
        """Take one frame from a neighbour of the transport. O(changes).

        Raises `DecodeError` when it is malformed, not authentic, or of another cluster or version;
        nothing has changed then.
        """

    def handle_timeout(self, now: float) -> None:
        """Do what is due: heartbeats, pushes, pulls, and the verdicts that a replica is down or
        forgotten.

        Raises `MemoryError` when there is no room for a slice of it; nothing is lost.
        """

    def disconnected(self, now: float, sender: str) -> None:
        """Report that the transport lost a neighbour: its replica is hidden at once."""

    def poll_timeout(self) -> float | None:
        """Return the time of the next `handle_timeout`, in seconds as `now`; `None` for never.
        Local operations may bring it nearer.
        """

    def watch(self, now: float, topic: str) -> None:
        """Watch a topic, in mode `interest`: what others have in it is held from now on, and its
        changes are among the diffs. It can be read once the event `topic_ready` has come: one round
        trip later, and two heartbeats after the start at the earliest; until then reads raise
        `NotReady`, without a watch `NotWatched`. Watches are counted: each is undone by one
        `unwatch`. In mode `all` it does nothing. O(replicas) for the first topic of a partition,
        else O(log topics).

        Raises `LimitError` for a topic of more than 256 bytes.
        """

    def unwatch(self, now: float, topic: str) -> None:
        """End a watch of a topic. After the last one it cannot be read, and what others have in it
        goes `unwatch_after` later. A topic that is not watched stays so. O(log topics).
        """

    def watch_counts(self, now: float, topic: str) -> None:
        """Watch the counts of a topic, in a cluster with `counts`: `count` and `count_keys` answer
        once the event `counts_ready` has come, as `topic_ready` does for `watch`; until then they
        raise `NotReady`. They are those of the last heartbeat of each replica, and of this one as
        it is now. Nothing else of the topic can be read, and no diff has its changes. Watches are
        counted: each is undone by one `unwatch_counts`. In a cluster without `counts` the entries
        are watched instead; in mode `all` it does nothing. O(replicas) for the first topic of a
        partition, else O(log topics).

        Raises `LimitError` for a topic of more than 256 bytes.
        """

    def unwatch_counts(self, now: float, topic: str) -> None:
        """End a watch of the counts of a topic. After the last one it cannot be counted, unless it
        is watched by `watch`, and what is held of its counts goes `unwatch_after` later. One that
        is not watched stays so. O(log topics).
        """

    def poll_subscription(self) -> GroupSubscription | None:
        """Return the next partition whose frames the transport is to bring, or no longer. Ask for
        it before `poll_transmit`.
        """

    def poll_transmit(self) -> Transmit | None:
        """Return the next frame to send."""

    def poll_event(self) -> Event | None:
        """Return the next event of the cluster."""

    def poll_diff(self) -> Diff | None:
        """Return the next changes, of other replicas and of this one, in the order in which the
        lists changed.
        """

    def poll(self) -> Iterator[GroupSubscription | Transmit | Event | Diff]:
        """Return an iterator over all present outputs: each a `Transmit`, an `Event` or a `Diff`;
        in mode `interest` the first may be `GroupSubscription`s.
        """

    def is_synced(self) -> bool:
        """Return whether this node has caught up, at least once, with everything its known peers
        advertised.
        """

    def topics(self) -> _list[str]:
        """Return the topics that have entries, hidden ones included, sorted. O(topics)."""

    def replicas(self) -> _list[tuple[Replica, bool]]:
        """Return the other replicas known, each with whether it is up."""

    def signal(self, topic: str, key: _Name, kind: int, payload: Buffer = ..., *, ttl: float = ...) -> None:
        """Send a short-lived signal, such as typing, to all peers, in mode "interest" to those that
        watch the topic; nothing is stored. `ttl` is in seconds.

        Raises `LimitError` when the topic, the key or the payload has more than 256 bytes.
        """

    def leave_gracefully(self, now: float) -> None:
        """Leave the cluster: peers drop this replica's entries at once. Goodbye is said three
        times, 20 ms apart, as frames may be lost: send the frames that `poll` yields, and call
        `handle_timeout` when `poll_goodbye` says so, until that is `None`; then stop.
        """

    def poll_goodbye(self) -> float | None:
        """Return the time of the `handle_timeout` that says the next Goodbye, in seconds as `now`,
        after `leave_gracefully`; `None` once all are said.
        """

    def track(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int = 0) -> str:
        """Track an entry and return its reference. O(1).

        Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
        something is too long.
        """

    def update(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int | None = None) -> str:
        """Replace the meta of a tracked entry, and its status if one is given; return the reference
        of the new version. O(1).

        Raises `NotTracked` when there is no such entry.
        """

    def upsert(self, topic: str, key: _Name, owner: _Name, meta: _Meta = ..., *, status: int | None = None) -> str:
        """Track an entry, or update it when it is tracked, as `update` does. O(1)."""

    def untrack(self, topic: str, key: _Name, owner: _Name) -> bool:
        """Remove one of this replica's entries; return whether it was tracked. O(1)."""

    def untrack_owner(self, owner: _Name) -> int:
        """Remove all entries of an owner, in all topics; return how many. O(its entries)."""

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

    def take_diff(self) -> Diff:
        """Flush now: return the changes of this replica's own entries since the last flush. Each
        change is returned once: here, or by `poll`, `flush` seconds (0.005) after the first call
        that sees it. O(changes).
        """

    def __len__(self) -> int: ...
    def __contains__(self, topic_and_key: object, /) -> bool: ...

@final
class Tick:
    """One publication of a list, from which `Viewer.bundle` makes bundles."""

    @property
    def version(self) -> int:
        """The version of the list."""

    def __bool__(self) -> bool: ...

@final
class Bundle:
    """One message for one viewer, to be shown all at once: frames of its windows, and counts.
    `core/docs/list-frames.md` describes it; `headcount.Client` and the JavaScript client apply
    it.
    """

    @property
    def version(self) -> int:
        """The version of the list."""

    @property
    def epoch(self) -> int:
        """The number of the epoch of the list."""

    @property
    def node(self) -> str:
        """The node whose epoch it is; empty if it has no name, and in a bundle that was read in
        format 1.
        """

    @property
    def windows(self) -> list[str]:
        """The names of the windows that have frames in the bundle."""

    @staticmethod
    def from_binary(data: Buffer, ids: type[int] | type[str] | type[UUID] = ...) -> Bundle:
        """Read the bytes of `to_binary`, for a list with ids of this type.

        Raises `DecodeError` when the bytes are not a bundle of such a list.
        """

    def to_json(self) -> bytes:
        """Return the bundle as JSON, ready to be sent. Frames that viewers share are encoded once.
        The bundles of a resumable viewer are of frame format 2.
        """

    def to_binary(self) -> bytes:
        """Return the bundle in the binary form: smaller, with a checksum."""

    def to_discord(self, guild: str, list: str = "everyone") -> bytes:
        """Return the data of a `GUILD_MEMBER_LIST_UPDATE` event of Discord, in JSON, for a viewer
        made with `discord=True`.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return the bundle as a dict."""

@final
class Viewer:
    """One viewer of a list: its windows, and the bundles that keep them current. No I/O: send the
    bundles.

    After each `tick` of the list or its table every viewer is asked for its `bundle`. Any tick may
    be left out for any viewer, such as one whose connection is slow: asked again, it gives what was
    missed.
    Windows have names: `c:3` is rows 300 to 399, `a:77:50:49` the 50 rows above member 77, itself
    and 49 below; `f:77:50:49` follows the member when it moves, `g:online:0:99` a header.
    """

    def open(self, window: str) -> Bundle:
        """Open a window; return a bundle with its SYNC and all counts. Opening it again is a
        `resync`.

        Raises `WindowError` for a bad name or an unknown anchor, `LimitError` over a limit.
        """

    def retarget(self, window: str, to: str) -> Bundle:
        """Close one window and open another; return a bundle with the SYNC of the new one."""

    def close(self, window: str) -> None:
        """Close a window."""

    def resync(self, windows: Iterable[str] | None = None) -> Bundle:
        """Return a bundle with the SYNC of each of these windows, and all counts.

        Raises `WindowError` when one is not open, `LimitError` for more than 64 names.
        """

    def switch(self, list: ListView[_I], windows: Iterable[str] | None = None) -> Bundle:
        """Leave the list for another one of a table with ids of the same kind, and open windows
        there; return a bundle with their SYNCs and all counts. Later ticks of the old list bring
        nothing.

        Raises as `open`; the viewer stays at its list then.
        """

    def resume(self, held: Iterable[Mapping[str, Any]]) -> Bundle:
        """Open the windows that a client still shows after its connection ended, as
        `Client.reconnect` of the client names them: return a bundle with what changed in each of
        them since, and all counts. A window comes whole where that is smaller, and when the list
        does not know its version: the client was away for more than 60 seconds, or its rows are of
        another epoch or node.

        The list keeps the windows of a resumable viewer that is gone, not those that it closed: so
        let go of the viewer of a connection that ended.

        Raises `WindowError` for a bad or repeated name, a window that is not of that shape, and
        when this viewer is not a resumable one; `LimitError` over a limit. No window is open then.
        """

    def bundle(self, tick: Tick | TableTick) -> Bundle | None:
        """Return the bundle of a tick for this viewer; `None` when there is nothing to send.

        Ticks must come in order; any may be left out. The bundle then has the counts of the ticks
        left out; windows that changed in them come whole with the next tick.
        """

    def is_stale(self) -> bool:
        """Return whether a window has missed frames. `catch_up` brings its rows at once, or else
        the next tick.
        """

    def catch_up(self) -> Bundle:
        """Return a bundle with a SYNC for each window that has missed frames, and all counts."""

    def set_hidden(self, hidden: bool = True) -> None:
        """Hide the viewer, or show it again: a hidden viewer is sent counts only. Call `catch_up`
        after it is shown again.
        """

    def windows(self) -> list[str]:
        """Return the present names of the windows of the viewer."""

    def invalidate(self, chunk: int, guild: str, list: str = "everyone") -> bytes:
        """Return the event by which a client of Discord drops a chunk of rows, in JSON; send it after
        `close`.
        """

_Place: TypeAlias = tuple[str, _Key] | tuple[str, _Key, int] | tuple[str, _Key, int, _Meta]
_TablePlace: TypeAlias = (
    tuple[_Key, Unpack[tuple[_Key | Iterable[int], ...]]]
    | tuple[_Key, Unpack[tuple[_Key | Iterable[int], ...]], _Meta]
)

@final
class Roster(Generic[_I]):
    """A list or a table that follows presence: one row for each user with sessions.

    `mapping` takes an `Entry` and says where it puts its user, over a list `(group, key)`, `(group,
    key, attrs)` or `(group, key, attrs, payload)`. Over a table it returns what follows the id in
    `MemberTable.bulk_load`, `(key,)` with a key for each column, or with attributes, or with
    attributes and a payload: its lists choose the groups by the attributes. With `None` the entry
    does not count as a session. The attributes are among `status_bits`, which are the roster's, of
    a table numbers up to 31; it leaves the others as the application sets them. The payload is one
    as `MemberList.set_payload` takes it; where the mapping gives none, the roster leaves the
    payload as it is. The key of an entry is the id of the row. The status of an entry is 0 online,
    1 idle, 2 dnd, 3 invisible; over the sessions of a user the first of `priority` decides. A user
    whose sessions are gone, or who is invisible, is offline for others: the row is removed, or
    moves to the group `offline` of the list; with `rows_stay` it stays, without the attributes in
    `status_bits`, and the lists of a table put it where members without these belong.

    `target` is a list or a table that has no roster yet; it stays usable. `last_seen_max`
    users (100,000) are remembered with the time when they went offline; the longest ago are
    forgotten first.
    """

    @overload
    def __new__(
        cls,
        target: MemberList[_I],
        mapping: Callable[[Entry], _Place | None],
        *,
        offline: str | None = None,
        rows_stay: bool = False,
        priority: Iterable[_Status] | None = None,
        last_seen_max: int | None = None,
        status_bits: int | None = None,
    ) -> Roster[_I]: ...
    @overload
    def __new__(
        cls,
        target: MemberTable[_I],
        mapping: Callable[[Entry], _TablePlace | None],
        *,
        offline: None = None,
        rows_stay: bool = False,
        priority: Iterable[_Status] | None = None,
        last_seen_max: int | None = None,
        status_bits: Iterable[int] | None = None,
    ) -> Roster[_I]: ...
    @property
    def list(self) -> MemberList[_I]:
        """The list.

        Raises `AttributeError` when the roster is over a table.
        """

    @property
    def table(self) -> MemberTable[_I]:
        """The table.

        Raises `AttributeError` when the roster is over a list.
        """

    def apply(self, change: TopicDiff, *, now: float | None = None) -> RosterReport[_I]:
        """Apply the changes of the topic. `now` is the wall clock in seconds since 1970, for
        last-seen; left out, it is read. O(changes x log members).

        An entry for which the mapping raises, or names a group that the list lacks or attributes
        outside of `status_bits`, is refused and does not count as a session; the others are
        applied.
        """

    def reset(self, entries: Iterable[Entry], *, now: float | None = None) -> RosterReport[_I]:
        """Put the entries of the topic, as `Presence.list` returns them, in the place of all
        sessions: to begin with, and after changes were missed, such as by a `LagError`. Entries
        are refused as in `apply`. O(entries x log members).
        """

    def load_offline(self, members: Iterable[_NewMember[_I]] | Iterable[_NewTableMember[_I]]) -> BulkReport[_I]:
        """Load members that are offline, all at once, as `bulk_load` of the list or table does."""

    def status(self, id: _I) -> _Status:
        """Return the status of a user that others see: `online`, `idle`, `dnd` or `offline`."""

    def own_status(self, id: _I) -> _Status:
        """Return the status that the user's own sessions see: as `status`, or `invisible`."""

    def is_visible(self, id: _I) -> bool:
        """Return whether others see that the user is here. Ask it before you pass on that they type.
        """

    def note_last_seen(self, id: _I, time: float) -> None:
        """Note a time at which a user was last seen, in seconds since 1970, from a database or
        another node; the newest stays. That of a user who is visible is not kept. O(log times).
        """

    def last_seen(self, id: _I) -> int | None:
        """Return the time at which the user was last seen, in seconds since 1970; `None` while the
        user is visible, or when it is not known.
        """

    def online_count(self) -> int:
        """Return the number of users that others see online. O(1)."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
