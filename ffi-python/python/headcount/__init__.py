"""Real-time presence as a delta-CRDT, and sorted, sliced member lists for millions.

* `Tracker`: presence entries by topic, key and owner, replicated by frames.
* `Presence`: the same for all nodes of a cluster, sans-I/O; `headcount.aio` drives it.
* `MemberList`: a sorted, grouped list of members with positions; `Viewer` and `Client` are the two
  ends of windows on it.
* `Roster`: a list that follows presence.
* `SortedSet`: the same tree as a plain ordered set with positions.
"""

from collections.abc import Mapping

from headcount._errors import (
    AlreadyTracked,
    ApplyError,
    DecodeError,
    DuplicateName,
    ForkError,
    GapError,
    HeadcountError,
    HiddenMember,
    LimitError,
    ListError,
    NotTracked,
    TrackError,
    UnknownGroup,
    UnknownMember,
    WindowError,
)
from headcount._headcount import (
    BundleReport,
    BatchReport,
    BulkReport,
    Bundle,
    Client,
    Diff,
    Entry,
    Event,
    Group,
    Header,
    Member,
    MemberList,
    Presence,
    Replica,
    Roster,
    RosterReport,
    Signal,
    Snapshot,
    Tick,
    TopicDiff,
    Tracker,
    Transmit,
    Update,
    Upsert,
    Viewer,
    Window,
)
from headcount._sorted_set import SortedSet

Mapping.register(Diff)

__all__ = [
    "AlreadyTracked",
    "BundleReport",
    "ApplyError",
    "BatchReport",
    "BulkReport",
    "Bundle",
    "Client",
    "DecodeError",
    "Diff",
    "DuplicateName",
    "Entry",
    "Event",
    "ForkError",
    "GapError",
    "Group",
    "HeadcountError",
    "Header",
    "HiddenMember",
    "LimitError",
    "ListError",
    "Member",
    "MemberList",
    "NotTracked",
    "Presence",
    "Replica",
    "Roster",
    "RosterReport",
    "Signal",
    "Snapshot",
    "SortedSet",
    "Tick",
    "TopicDiff",
    "TrackError",
    "Tracker",
    "Transmit",
    "UnknownGroup",
    "UnknownMember",
    "Update",
    "Upsert",
    "Viewer",
    "Window",
    "WindowError",
]
