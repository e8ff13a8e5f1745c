"""Real-time presence as a delta-CRDT, and sorted, sliced member lists for millions.

* `Tracker`: who is here. Entries by topic, key and owner, replicated by frames.
* `Presence`: the same for all nodes of a cluster, sans-I/O; `headcount.aio` drives it.
* `MemberList`: in what order. A sorted, grouped list of members with positions.
* `SortedSet`: the same tree as a plain ordered set with positions.
"""

from headcount._errors import (
    AlreadyTracked,
    ApplyError,
    DecodeError,
    GapError,
    HeadcountError,
    LimitError,
    ListError,
    NotTracked,
    TrackError,
    UnknownGroup,
    UnknownMember,
)
from headcount._headcount import (
    BatchReport,
    BulkReport,
    Diff,
    Entry,
    Event,
    Group,
    Header,
    Member,
    MemberList,
    Presence,
    Replica,
    Signal,
    Snapshot,
    SortedSet,
    TopicDiff,
    Tracker,
    Transmit,
    Update,
    Upsert,
)

__all__ = [
    "AlreadyTracked",
    "ApplyError",
    "BatchReport",
    "BulkReport",
    "DecodeError",
    "Diff",
    "Entry",
    "Event",
    "GapError",
    "Group",
    "HeadcountError",
    "Header",
    "LimitError",
    "ListError",
    "Member",
    "MemberList",
    "NotTracked",
    "Presence",
    "Replica",
    "Signal",
    "Snapshot",
    "SortedSet",
    "TopicDiff",
    "TrackError",
    "Tracker",
    "Transmit",
    "UnknownGroup",
    "UnknownMember",
    "Update",
    "Upsert",
]
