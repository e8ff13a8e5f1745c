"""The other end of the windows of a list."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, final

from headcount._headcount import Bundle
from typing_extensions import Buffer

__all__ = ["BundleReport", "Client", "ListRequest", "Window"]

@final
class Client:
    """The windows of one list, held as the server of the list says they are. No I/O, no timers.

    Call `open` and `close` when you ask the server for these, pass every bundle to `apply`, and ask
    the server for what `apply` returns. `MemberList.viewer` is the other side. The rules are in
    `core/docs/list-frames.md`, section 7.
    """
    def __new__(cls) -> Client: ...
    @property
    def windows(self) -> dict[str, Window]:
        """The windows by name, as they are now."""
    @property
    def counts(self) -> dict[str, Any] | None:
        """The totals and the full table of groups, as a dict; `None` before the first."""
    def open(self, window: str, request: ListRequest | None = None) -> None:
        """Note that the server is asked to open this window. `request` is the request of a search whose
        answer has come and told this name: pass that answer to `apply` next.
        """
    def switch(self, windows: Iterable[str]) -> ListRequest:
        """Note that the server is asked for another list, with these windows there. The windows of
        the old list are gone; frames of it that are on their way are ignored. Only the answer to the
        request that is returned takes the client to the other list: `apply(answer, request)`.
        """
    def request(self) -> ListRequest:
        """Note any other request to the server, to be passed to `apply` with its answer."""
    def reconnect(self) -> tuple[ListRequest, list[dict[str, Any]]]:
        """Note that a connection begins. Return its first request and the windows to resume by it,
        as `Viewer.resume` takes them: `[{"window", "epoch": {"node", "number"}, "version"}]`. The
        rows stay; bundles of the former connection, answers too, are not taken any more.
        """
    def close(self, window: str) -> None:
        """Note that the server is told to close this window. Frames on their way are ignored."""
    def apply(
        self, bundle: Bundle | Mapping[str, Any] | Buffer | str, request: ListRequest | None = None
    ) -> BundleReport:
        """Apply a bundle: a `Bundle`, its JSON or its dict. O(rows of its windows). `request` is the
        request that it answers; `None` for one that the server sent by itself.

        Raises `DecodeError` when it is not a well-formed bundle; nothing has changed then. A frame
        that does not fit is no error: its window stays as it was and is among those to `resync`.
        """

@final
class ListRequest:
    """A request of a `Client` to its server; see `Client.apply`."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Window:
    """A window of a `Client`, as it was when `Client.windows` was read."""
    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows in order: `{"group", "count"}` or `{"id", "revision", "attrs"?, "body"?}`. Rows
        that are equal may be the same dict at the next read, so do not change them.
        """
    @property
    def version(self) -> int:
        """The version of the rows."""
    @property
    def base_index(self) -> int:
        """The absolute index of the first row."""
    @property
    def matches(self) -> int | None:
        """The number of members that match, on all pages, in the window of a search; else `None`."""
    @property
    def waiting(self) -> bool:
        """True while the window waits for a SYNC; until then the rows are what they were."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...

@final
class BundleReport:
    """The effect of a bundle on a `Client`, and the requests that it calls for."""
    @property
    def changed(self) -> list[str]:
        """The windows whose rows or place changed, by their present names."""
    @property
    def renamed(self) -> list[tuple[str, str]]:
        """The old and new names of windows whose anchor was replaced."""
    @property
    def counts(self) -> bool:
        """True if the counts changed."""
    @property
    def resync(self) -> list[str]:
        """The windows to ask the server for, by `resync`."""
    @property
    def resync_counts(self) -> bool:
        """True if the counts must be asked for: by `resync`, without windows if it needs nothing
        else.
        """

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...
