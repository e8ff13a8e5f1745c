"""The reference client of member list windows: takes bundles, notices what it missed.

It does what ``core/docs/list-frames.md``, section 7, says, and nothing else: no I/O, no timers.
"""

import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from headcount._errors import DecodeError
from headcount._headcount import Bundle

__all__ = ["Applied", "Client", "Window"]

_Row: TypeAlias = dict[str, Any]
_ROWS_MAX = 500


@dataclass
class Applied:
    """What a bundle did, and what to ask the server for."""

    changed: list[str] = field(default_factory=list)
    """Windows whose rows or place changed, by their present names."""
    renamed: list[tuple[str, str]] = field(default_factory=list)
    """Old and new names of windows whose anchor was replaced."""
    counts: bool = False
    """Whether the counts changed."""
    resync: list[str] = field(default_factory=list)
    """Windows to ask ``resync`` for."""
    resync_counts: bool = False
    """Whether to ask for the counts: ``resync``, with no windows if there is nothing else."""


@dataclass
class Window:
    """One window of a `Client`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """The rows in order: ``{"group", "count"}`` or ``{"id", "revision", "attrs"?, "body"?}``."""
    version: int = 0
    """The version of the rows."""
    base_index: int = 0
    """The absolute index of the first row."""
    waiting: bool = True
    """Whether it waits for a SYNC; until then the rows are what they were."""
    since: int = 0
    """Version of the bundle of the last frame; while waiting, of the last one before the wait."""

    def wait(self, newest: int) -> None:
        """Waits for a SYNC made after the bundle of version ``newest``."""
        self.waiting, self.since = True, newest


class _Refused(Exception):
    """A frame that does not fit the window."""


class Client:
    """Holds the windows of one list as its server says they are.

    Tell it what is asked of the server (`open`, `close`), give it every bundle, and ask the server
    for what `apply` returns. `MemberList.viewer` is the other side.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Any] | None = None
        """Totals and the full table of groups."""
        self._epoch = 0
        self._version = 0
        self._windows: dict[str, Window] = {}
        self._closing: set[str] = set()
        self._counts_wait = False

    @property
    def windows(self) -> Mapping[str, Window]:
        """The windows by name."""
        return MappingProxyType(self._windows)

    def open(self, window: str) -> None:
        """Notes that ``open`` is asked of the server for this window."""
        self._closing.discard(window)
        self._windows.setdefault(window, Window(since=self._version))

    def close(self, window: str) -> None:
        """Notes that ``close`` is told to the server. Frames still on their way are ignored."""
        if self._windows.pop(window, None) is not None:
            self._closing.add(window)

    def apply(self, bundle: Bundle | Mapping[str, Any] | bytes | str) -> Applied:
        """Takes a bundle: a `Bundle`, its JSON or its dict.

        Raises `DecodeError` when it is none. A frame that does not fit is no error: the window
        stays as it was and is among those to ``resync``.
        """
        parsed = _parse(bundle)
        applied = Applied()
        if parsed["epoch"] < self._epoch or not self._enter_epoch(parsed, applied):
            return applied
        version = parsed["version"]
        newest = version > self._version
        self._version = max(self._version, version)
        for frame in parsed["frames"]:
            self._apply_frame(frame, version, applied)
        for base in parsed.get("bases", ()):
            window = self._windows.get(base["window"])
            if window is not None and not window.waiting and version > window.since:
                window.base_index, window.since = base["base_index"], version
                applied.changed.append(base["window"])
        if "counts" in parsed:
            self._apply_counts(parsed["counts"], applied)
        if newest:
            self._check_names(parsed.get("windows", ()), applied)
        return applied

    def _enter_epoch(self, bundle: Mapping[str, Any], applied: Applied) -> bool:
        """Whether the bundle is of this client's epoch, now or from now on."""
        if bundle["epoch"] == self._epoch:
            return True
        synced = {frame["window"] for frame in bundle["frames"] if frame["kind"] == "sync"}
        enters = not synced.isdisjoint(self._windows)
        for name, window in self._windows.items():
            if not window.waiting and not (enters and name in synced):
                applied.resync.append(name)
            window.wait(0)
        if enters:
            self._epoch, self._version = bundle["epoch"], 0
            self.counts, self._counts_wait = None, False
        return enters

    def _apply_frame(self, frame: Mapping[str, Any], version: int, applied: Applied) -> None:
        name = frame["window"]
        window = self._windows.get(name)
        if window is None:
            return
        if frame["kind"] == "sync":
            if version <= window.since:
                return
        elif window.waiting or frame["base_version"] < window.version:
            return
        elif frame["base_version"] > window.version:
            window.wait(self._version)
            applied.resync.append(name)
            return
        try:
            rows = _rows_after(window.rows, frame)
        except _Refused:
            window.wait(self._version)
            applied.resync.append(name)
            return
        window.rows, window.version = rows, frame["new_version"]
        window.base_index, window.since, window.waiting = frame["base_index"], version, False
        applied.changed.append(frame.get("renamed", name))
        if "renamed" in frame:
            self._rename(name, frame["renamed"], applied)

    def _check_names(self, known: Collection[str], applied: Applied) -> None:
        """``known`` are the names the server knows: a window of another one missed its rename.

        When all have their right names and the server knows one more, two became one here alone,
        because the rename of one of them was lost.
        """
        self._closing.intersection_update(known)
        for name, window in self._windows.items():
            if not window.waiting and name not in known:
                window.wait(self._version)
                applied.resync.append(name)
        if any(window.waiting for window in self._windows.values()):
            return
        for name in known:
            if name not in self._windows and name not in self._closing:
                self.open(name)
                applied.resync.append(name)

    def _rename(self, old: str, new: str, applied: Applied) -> None:
        window = self._windows.pop(old)
        held = self._windows.get(new)
        if held is None or held.since < window.since:
            self._windows[new] = window
        applied.renamed.append((old, new))

    def _apply_counts(self, counts: dict[str, Any], applied: Applied) -> None:
        held = self.counts
        if counts["version"] <= (held["version"] if held else 0):
            return
        if "groups" in counts:
            self.counts, self._counts_wait, applied.counts = counts, False, True
            return
        if self._counts_wait:
            return
        if held is not None and counts["base_version"] == held["version"]:
            changed = {group["group"]: group["count"] for group in counts["changed"]}
            groups = [
                {**group, "count": changed.pop(group["group"], group["count"])}
                for group in held["groups"]
            ]
            if not changed:
                totals = {k: v for k, v in counts.items() if k not in ("base_version", "changed")}
                self.counts, applied.counts = {**totals, "groups": groups}, True
                return
        self._counts_wait = applied.resync_counts = True


def _parse(bundle: Bundle | Mapping[str, Any] | bytes | str) -> Mapping[str, Any]:
    if isinstance(bundle, Bundle):
        bundle = bundle.to_json()
    try:
        parsed = json.loads(bundle) if isinstance(bundle, (bytes, str)) else bundle
        _check(parsed)
    except json.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}", error.pos, "not_json") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a bundle: {error!r}", 0, "invalid") from None
    assert isinstance(parsed, Mapping)
    return parsed


def _check(bundle: Any) -> None:
    """Looks at everything of a bundle that is used without looking, so that a bad one changes
    nothing.
    """
    _numbers(bundle, "epoch", "version")
    for frame in bundle["frames"]:
        _numbers(frame, "base_version", "new_version", "base_index", "checksum32")
        _texts(frame, "window", *(["renamed"] if "renamed" in frame else []))
        if frame["kind"] not in ("sync", "delta"):
            raise ValueError(frame["kind"])
    for base in bundle.get("bases", ()):
        _numbers(base, "base_index")
        _texts(base, "window")
    for name in bundle.get("windows", ()):
        if not isinstance(name, str):
            raise ValueError("windows has a name that is no text")
    if "counts" in bundle:
        counts = bundle["counts"]
        _numbers(counts, "version", "rows", "members")
        if "groups" not in counts:
            _numbers(counts, "base_version")
        for group in counts["groups"] if "groups" in counts else counts["changed"]:
            _texts(group, "group")
            _numbers(group, "count")


def _numbers(of: Any, *names: str) -> None:
    for name in names:
        if type(of[name]) is not int or of[name] < 0:
            raise ValueError(f"{name} is no number")


def _texts(of: Any, *names: str) -> None:
    for name in names:
        if not isinstance(of[name], str):
            raise ValueError(f"{name} is no text")


def _rows_after(rows: list[_Row], frame: Mapping[str, Any]) -> list[_Row]:
    """The rows that a frame makes of these."""
    try:
        new = list(frame["rows"]) if frame["kind"] == "sync" else _delta(rows, frame)
        total, checksum = len(new), _checksum(new)
        distinct = len({("m", row["id"]) if "id" in row else ("g", row["group"]) for row in new})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _Refused from error
    if total > _ROWS_MAX or distinct != total or checksum != frame["checksum32"]:
        raise _Refused
    return new


def _delta(rows: list[_Row], frame: Mapping[str, Any]) -> list[_Row]:
    kept, scratch, limit = list(rows), {}, len(rows)
    for index in frame["deletes"]:
        limit = _index(index, 0, limit)
        row = kept.pop(index)
        if "id" in row:
            scratch[row["id"]] = row
    inserts = frame["inserts"]
    total = len(kept) + len(inserts)
    if total > _ROWS_MAX:
        raise _Refused
    fresh: set[int] = set()
    new: list[_Row] = []
    for insert in inserts:
        at = _index(insert["index"], len(new), total)
        between = at - len(new)
        if between > len(kept):
            raise _Refused
        new += kept[:between]
        del kept[:between]
        new.append(insert["row"] if "row" in insert else _changed(scratch[insert["move"]], insert))
        fresh.add(at)
    new += kept
    first = 0
    for update in frame["updates"]:
        at = _index(update["index"], first, len(new))
        if at in fresh:
            raise _Refused
        new[at] = _changed(new[at], update)
        first = at + 1
    return new


def _index(index: Any, first: int, end: int) -> int:
    if type(index) is not int or not first <= index < end:
        raise _Refused
    return index


def _changed(row: Any, change: Mapping[str, Any]) -> _Row:
    """A row after a change; the old one stays as it is, for other windows and for undoing."""
    if "count" in change:
        if "id" in row:
            raise _Refused
        return {**row, "count": change["count"]}
    changed = {**row}
    if "revision" in change:
        if "id" not in row:
            raise _Refused
        changed["revision"] = change["revision"]
    if "attrs" in change:
        changed["attrs"] = change["attrs"]
        if change["attrs"] == 0:
            del changed["attrs"]
    if "body" in change:
        changed["body"] = change["body"]
    if "patch" in change:
        body = dict(row.get("body", {}))
        for name, value in change["patch"].items():
            if value is None:
                body.pop(name, None)
            else:
                body[name] = value
        changed["body"] = body
    return changed


def _checksum(rows: list[_Row]) -> int:
    lines = (
        f"m:{row['id']}|{row['revision']}\n"
        if "id" in row
        else f"g:{row['group']}|{row['count']}\n"
        for row in rows
    )
    return zlib.crc32("".join(lines).encode())
