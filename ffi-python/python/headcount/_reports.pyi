"""The effects of writes on a `MemberList`, and of presence on a `Roster`, from the compiled half."""

from types import GenericAlias
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, final
from uuid import UUID

__all__ = ["BatchReport", "BulkReport", "RosterReport", "Upsert"]

_I = TypeVar("_I", int, str, UUID)
_Status: TypeAlias = Literal["online", "idle", "dnd", "invisible", "offline"]

@final
class Upsert:
    """The effect of a write on one member."""

    @property
    def index(self) -> int | None:
        """The present row of the member; `None` while its group is hidden or collapsed."""

    @property
    def is_new(self) -> bool:
        """True if the member was added."""

    @property
    def old_index(self) -> int | None:
        """The row of the member before; `None` for new members and those without a row."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class BatchReport:
    """The effect of `apply_batch`."""

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
    def rows(self) -> list[tuple[int | None, int | None]]:
        """The row before and after each change, in order; `None` for a member without a row."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class BulkReport(Generic[_I]):
    """The effect of `bulk_load`."""

    @property
    def loaded(self) -> int:
        """The number of members that were added."""

    @property
    def duplicates(self) -> list[tuple[int, _I]]:
        """The positions and ids of members that were left out, because they existed or came twice.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class RosterReport(Generic[_I]):
    """The effect of a diff on the statuses that others see."""

    @property
    def changes(self) -> list[tuple[_I, _Status, _Status]]:
        """The users whose status changed for others: id, status before, status now."""

    @property
    def refused(self) -> list[tuple[_I, str]]:
        """The users whose row was refused, by the list or by the mapping, and the reason."""

    @property
    def foreign(self) -> int:
        """The number of keys that are not ids of the list. They were ignored."""

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
