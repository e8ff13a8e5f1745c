"""The classes of the compiled half that show the members of a table in many lists."""

from builtins import list as _list
from collections.abc import Iterable, Iterator
from os import PathLike
from types import GenericAlias
from typing import Any, ClassVar, Generic, Literal, SupportsIndex, TypeAlias, TypeVar, Unpack, final, overload
from uuid import UUID

from _typeshed import SupportsRead, SupportsWrite
from headcount._headcount import Group, Header, Member, Snapshot, Viewer, _Key, _Meta
from headcount._reports import BulkReport

__all__ = [
    "Clause",
    "ListMove",
    "ListSpec",
    "ListView",
    "MemberTable",
    "TableBatchReport",
    "TableMember",
    "TableTick",
    "TableUpsert",
]

_I = TypeVar("_I", int, str, UUID)

_TableChange: TypeAlias = tuple[str, _I, Unpack[tuple[_Key | Iterable[int], ...]]] | tuple[str, _I, _Meta]
_NewTableMember: TypeAlias = (
    tuple[_I, _Key, Unpack[tuple[_Key | Iterable[int], ...]]]
    | tuple[_I, _Key, Unpack[tuple[_Key | Iterable[int], ...]], _Meta]
)

@final
class Clause:
    """A condition on the attributes of a member: it has the attributes `all`, one of `any` and none
    of `none`. A part that is left out asks for nothing.
    """

    def __new__(
        cls, *, all: Iterable[int] = ..., any: Iterable[int] = ..., none: Iterable[int] = ...
    ) -> Clause: ...
    @property
    def all(self) -> frozenset[int]:
        """The attributes that a member needs all of."""

    @property
    def any(self) -> frozenset[int]:
        """The attributes of which a member needs one."""

    @property
    def none(self) -> frozenset[int]:
        """The attributes of which a member may have none."""

    def holds(self, attrs: Iterable[int]) -> bool:
        """Return whether the condition holds for these attributes. O(1)."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class ListSpec(Generic[_I]):
    """The definition of a list of a `MemberTable`: it admits members by their attributes, sorts
    them by one of their keys, and puts each into the group of the first clause that holds for it.

    `admit` are up to 16 clauses of which one must hold; without it all members are in the list.
    `always` and `never` are ids, together up to 4,096, that are in the list, or not, whatever their
    attributes. `groups` are pairs of a clause and the name of a group; groups are in the order in
    which they are named first, and `default_group` comes last unless a clause names it too. Viewers
    see the `name` of the list in every bundle. `sort_by` is the key column that sorts members (0),
    `descending` turns the order within each group round (false), and `headers` says whether each
    group with members has a header row (true).
    """

    def __new__(
        cls,
        name: str,
        default_group: str,
        *,
        sort_by: int = 0,
        descending: bool = False,
        headers: bool = True,
        admit: Iterable[Clause] | None = None,
        always: Iterable[_I] | None = None,
        never: Iterable[_I] | None = None,
        groups: Iterable[tuple[Clause, str]] | None = None,
    ) -> ListSpec[_I]: ...
    @property
    def name(self) -> str:
        """The name of the list, 1 to 64 bytes."""

    @property
    def default_group(self) -> str:
        """The group of members that no clause puts anywhere."""

    @property
    def sort_by(self) -> int:
        """The key column that sorts the members of each group, from 0. Equal keys are sorted by id.
        """

    @property
    def descending(self) -> bool:
        """True if members are shown from the last to the first, equal keys included."""

    @property
    def headers(self) -> bool:
        """True if each group with members has a header row."""

    @property
    def admit(self) -> list[Clause] | None:
        """The clauses of which one must hold for a member of the list; `None` for a list of all."""

    @property
    def always(self) -> list[_I]:
        """The ids of members that are in the list whatever their attributes."""

    @property
    def never(self) -> list[_I]:
        """The ids of members that are not in the list whatever their attributes."""

    @property
    def groups(self) -> list[tuple[Clause, str]]:
        """The clauses that put members into groups, and the names of these groups."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class ListView(Generic[_I]):
    """A list of a `MemberTable`, live: it shows the list as it is when it is asked.

    As in a `MemberList`, `len`, indexes, slices and iteration speak of rows; `in`, `index` and
    `group_of` speak of the ids of members that the list admits. Reads raise `ListBuilding` until
    the list has been built, and `UnknownList` after it was removed. Views of the same list are
    equal.
    """

    @property
    def name(self) -> str:
        """The name of the list."""

    def groups(self) -> list[Group]:
        """Return all groups in order, including hidden and empty ones. O(groups)."""

    def member_count(self) -> int:
        """Return the number of members that the list admits, shown or not. O(1)."""

    def index(self, id: _I) -> int:
        """Return the row of a member. O(log n).

        Raises `UnknownMember` when the list has no such member, and `HiddenMember` when its group
        is hidden or collapsed.
        """

    def index_of(self, id: _I) -> int | None:
        """Return the row of a member; `None` when the list has no such member or its group is
        hidden or collapsed. O(log n).
        """

    def index_of_many(self, ids: Iterable[_I]) -> list[int | None]:
        """Return the row of each of many members, in the order of the ids: for each what `index_of`
        returns, in less time. At most 16,777,216 at a time. O(k log n).
        """

    def rows_of(self, ids: Iterable[_I]) -> list[tuple[int, Member[_I]] | None]:
        """Return the index and the row of each of many members, in the order of the ids; `None` for
        one that the list does not admit or whose group is hidden or collapsed. At most 16,777,216 at a
        time. O(k log n).
        """

    def group_of(self, id: _I) -> str | None:
        """Return the group of a member; `None` when the list has no such member. O(log n)."""

    def find_prefix(self, prefix: _Key) -> list[tuple[str, int]]:
        """Return, for each group, its name and the row of the first member whose key begins with
        this prefix; see `MemberList.find_prefix`. O(groups log n).
        """

    def search_prefix(self, prefix: _Key) -> list[tuple[str, int, int | None]]:
        """Return, for each group with members whose key begins with this prefix, its name, how many
        there are, and the row of the first one; see `MemberList.search_prefix`. O(groups log n).
        """

    def set_group_hidden(self, name: str, hidden: bool = True) -> None:
        """Take a group out of the index space, header included, or put it back. O(groups)."""

    def set_group_collapsed(self, name: str, collapsed: bool = True) -> None:
        """Leave only the header of a group in the index space, or put its members back. O(groups).
        """

    def snapshot(self) -> Snapshot[_I]:
        """Return the list as it is now, for reading while other threads write. O(1)."""

    def viewer(self, *, discord: bool = False, resumable: bool = False) -> Viewer:
        """Return a viewer without windows; with `discord`, its bundles can be encoded as events of
        Discord; with `resumable`, they are of frame format 2, and its client can `resume` windows.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: object, /) -> bool: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Header | Member[_I]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Header | Member[_I]]: ...
    def __iter__(self) -> Iterator[Header | Member[_I]]: ...
    def __reversed__(self) -> Iterator[Header | Member[_I]]: ...

@final
class ListMove(Generic[_I]):
    """The rows of a member in one list before and after a write. A member that came into the list
    has no old row, one that left it no new row; a member whose group is hidden or collapsed has
    none.
    """

    @property
    def list(self) -> ListView[_I]:
        """The list."""

    @property
    def old_index(self) -> int | None:
        """The row before the write."""

    @property
    def index(self) -> int | None:
        """The row after it."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class TableUpsert(Generic[_I]):
    """The effect of `MemberTable.upsert`."""

    @property
    def is_new(self) -> bool:
        """True if the member was added."""

    @property
    def moves(self) -> list[ListMove[_I]]:
        """The rows of the member in the lists that show it elsewhere than before."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class TableBatchReport(Generic[_I]):
    """The effect of `MemberTable.apply_batch`."""

    @property
    def inserted(self) -> int:
        """The number of members that were added."""

    @property
    def updated(self) -> int:
        """The number of members that were changed, moved or not."""

    @property
    def removed(self) -> int:
        """The number of members that were removed."""

    @property
    def missing(self) -> int:
        """The number of changes to members that did not exist at that point; they did nothing."""

    @property
    def rows(self) -> list[tuple[int, ListMove[_I]]]:
        """The rows that changes moved members from and to, each with the position of its change, as
        they were at that moment; none unless the call asked for `rows`.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class TableMember(Generic[_I]):
    """A member of a `MemberTable`."""

    @property
    def id(self) -> _I:
        """The id of the member."""

    @property
    def keys(self) -> list[bytes]:
        """The bytes by which the member sorts, for each key column."""

    @property
    def attrs(self) -> frozenset[int]:
        """All attributes of the member."""

    @property
    def revision(self) -> int:
        """A number that grows with each change of shown attributes or payload, and never repeats
        for an id.
        """

    @property
    def payload(self) -> bytes:
        """The payload; empty in tables without payloads."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class TableTick:
    """One publication of all lists of a table that viewers watch, as they were at one moment. From
    it `Viewer.bundle` makes bundles.
    """

    def __bool__(self) -> bool: ...

@final
class MemberTable(Generic[_I]):
    """The members of up to 512 lists, each once, for any number of threads.

    A member has an id, a sort key for each of 1 to 4 columns, and a set of attributes, numbers from
    0 to 511: roles, status, bot, ... A `ListSpec` says which members a list admits, how it groups
    them and by which key it sorts them; a write puts the member where it belongs in every list, and
    says where it has moved. `len` and `in` speak of members. Ids are `int`, `uuid.UUID` or `str`,
    as in a `MemberList`; so are keys.

    `ids` is the type of the ids (`str`), `key_columns` is the number of sort keys of a member
    (1), and `payloads` gives members payloads: "json", sent as the bodies of rows, or "raw"
    (none). `shown` are the attributes from 0 to 31 that viewers see in rows (none); the
    others leave no trace there. A table that replaces another one must begin above its
    epochs, so `first_epoch` (1) is a time in milliseconds, for example. `node` is the name of
    the server where there are several, each with epochs of its own ("").
    """

    @overload
    def __new__(
        cls: type[MemberTable[str]],
        /,
        *,
        key_columns: int = 1,
        payloads: Literal["json", "raw"] | None = None,
        shown: Iterable[int] = ...,
        first_epoch: int = 1,
        node: str = "",
    ) -> MemberTable[str]: ...
    @overload
    def __new__(
        cls,
        ids: type[_I] = ...,
        /,
        *,
        key_columns: int = 1,
        payloads: Literal["json", "raw"] | None = None,
        shown: Iterable[int] = ...,
        first_epoch: int = 1,
        node: str = "",
    ) -> MemberTable[_I]: ...
    def add_list(self, spec: ListSpec[_I]) -> ListView[_I]:
        """Add a list, or one more owner to the list of an equal spec: it stays until `remove_list`
        was called as often. The list of a table with members cannot be read until `build` has gone
        over all of them.

        Raises `ListError` when a list of this name has another spec, `LimitError` over a limit.
        """

    def set_spec(self, list: ListView[_I], spec: ListSpec[_I]) -> None:
        """Give a list another spec, which may have another name. The list stays as it is until
        `build` has gone over all members; then viewers are sent their windows whole. When members
        must not be seen from now on, use `revoke`.

        Raises `ListBuilding` while the list is being built, `ListError` when it was added more than
        once, or as `add_list`.
        """

    def revoke(self, list: ListView[_I], spec: ListSpec[_I]) -> None:
        """Give a list another spec and empty it at once, for a permission that was taken away: the
        next tick shows viewers an empty list, and they see the new one once it is built. A spec
        that is being built is given up.
        """

    def remove_list(self, list: ListView[_I]) -> bool:
        """Take one owner from a list, and return whether it was the last one: then the list is
        gone. `Viewer.switch` its viewers to another list.
        """

    def build(self, members: int | None = None) -> int:
        """Build the lists that were added or given another spec, over so many members at most, or
        to the end; return how many members are left. With 0 left all lists can be read. Other
        threads may use the table meanwhile. O(members x log n).
        """

    def is_built(self, list: ListView[_I]) -> bool:
        """Return whether no order of a list is being built, neither its first one nor that of
        another spec. O(1).
        """

    def list_named(self, name: str) -> ListView[_I] | None:
        """Return the list of a name, or `None`. O(1)."""

    def lists(self) -> _list[ListView[_I]]:
        """Return all lists, including those that are being built."""

    def upsert(self, id: _I, *keys: _Key, attrs: Iterable[int] = ...) -> TableUpsert[_I]:
        """Add a member, or change its keys and attributes: one key for each column. O(lists), and
        O(log n) for each list in which it moves.

        Raises `ListError` for another number of keys, `LimitError` over a limit.
        """

    def remove(self, id: _I) -> _list[ListMove[_I]] | None:
        """Remove a member, and return the rows it had; `None` when there is no such member.
        O(lists), and O(log n) for each list that admits it.
        """

    def set_key(self, id: _I, column: int, key: _Key) -> _list[ListMove[_I]]:
        """Change the sort key of a member in one column, and return its rows in the lists where it
        has moved. O(lists), and O(log n) for each of those.

        Raises `UnknownMember` when there is no such member, `ListError` when there is no such
        column.
        """

    def set_attrs(self, id: _I, *, clear: Iterable[int] = ..., set: Iterable[int] = ...) -> _list[ListMove[_I]]:
        """Take attributes from a member and give it others; return its rows in the lists where it
        has moved. O(lists), and O(log n) for each of those.

        Raises `UnknownMember` when there is no such member.
        """

    def set_attrs_many(self, ids: Iterable[_I], *, clear: Iterable[int] = ..., set: Iterable[int] = ...) -> int:
        """Take attributes from many members and give them others, all or none, as one change for
        viewers. Return how many members were named; unknown ids are ignored. At most 16,777,216 at
        a time. O(k log k), and O(k log n) for each list in which members move.
        """

    def apply_batch(self, changes: Iterable[_TableChange[_I]], *, rows: bool = False) -> TableBatchReport[_I]:
        """Apply many changes in order, all or none: tuples of a verb and its arguments, `("upsert",
        id, key)` with a key for each column, or with attributes after them, `("remove", id)`,
        `("set_key", id, column, key)`, `("set_attrs", id, clear, set)`, `("set_payload", id,
        payload)`, `("touch", id)`. Changes of unknown members do nothing and are counted. With
        `rows`, the report has the rows that each change moved a member from and to. At most
        16,777,216 at a time. The cost is that of the single calls, in less time.

        Raises as the single calls, with the position of the first change that is refused, and
        `MemoryError` when there is no room, with `rows` for a row of each change in each list.
        """

    def bulk_load(self, members: Iterable[_NewTableMember[_I]]) -> BulkReport[_I]:
        """Add many members, sorted or not, as one change for viewers: tuples `(id, key)` with a key
        for each column, or with attributes after them, or with attributes and a payload. Ids that
        exist already, or come twice, are left out and reported. At most 16,777,216 at a time.
        O(k log k) for each column by which lists are sorted, and O(k log n) or O(n + k) for each
        list.

        Raises as `upsert` and `set_payload`, with the position of the first member that is refused,
        `LimitError` when there are more, `MemoryError` when there is no room for them; nothing was
        loaded then.
        """

    def touch(self, id: _I) -> None:
        """Report that the content shown for a member has changed.

        Raises `UnknownMember` when there is no such member.
        """

    def set_payload(self, id: _I, payload: _Meta) -> None:
        """Set the payload of a member, in a table with payloads: bytes, or in a table of JSON any
        object that JSON can express.
        """

    def get(self, id: _I) -> TableMember[_I] | None:
        """Return a member by id, or `None`. O(1)."""

    def attr_sets(self) -> int:
        """Return how many different sets of attributes members have. O(1)."""

    def tick(self, now: float) -> TableTick:
        """Publish the changes since the last tick in all lists that viewers watch, as they are at
        this moment: ask each viewer for its bundle then. `now` is in seconds of any clock that does
        not run backwards.
        """

    def snapshot(self) -> dict[ListView[_I], Snapshot[_I]]:
        """Return all lists that can be read as they are now, of one moment. O(lists)."""

    def save(self, file: str | PathLike[str] | SupportsWrite[bytes]) -> None:
        """Save the table as it is now, with its lists and their orders, to a path or to an object
        with `write`. It works in steps between which other threads may use and change the table;
        the file has the state at the beginning. A file that has the path stays until the new one is
        whole. Viewers are not saved.

        Raises `ListError` while another thread saves the table, `OSError` if the file cannot be
        written.
        """

    @staticmethod
    def load(
        file: str | PathLike[str] | SupportsRead[bytes],
        /,
        *,
        payloads: Literal["json", "raw"] | None = None,
        first_epoch: int | None = None,
        node: str = "",
    ) -> MemberTable[Any]:
        """Return the table of a file that `save` wrote: a path, or an object with `read`. Its lists
        are there as they were, found by `list_named`; those that were being built begin again. In a
        table with payloads, `payloads` says what they are, `"json"` or `"raw"`. Epochs begin at
        `first_epoch`, by default the time in milliseconds, of the server `node`.

        Raises `DecodeError` for a file that was cut or altered, or that a later edition wrote, and
        `ListError` if only one of `payloads` and the file has payloads.
        """

    def heap_bytes(self) -> int:
        """Return the heap memory of the table and its lists in bytes, without the memory that text
        ids, keys over 15 bytes and payloads own.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: object, /) -> bool: ...
