"""Real-time presence as a delta-CRDT, and sorted, sliced member lists for millions.

* `Tracker`: who is here. Entries by topic, key and owner, replicated by frames.
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
    Group,
    Header,
    Member,
    MemberList,
    Replica,
    Snapshot,
    SortedSet,
    TopicDiff,
    Tracker,
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
    "GapError",
    "Group",
    "HeadcountError",
    "Header",
    "LimitError",
    "ListError",
    "Member",
    "MemberList",
    "NotTracked",
    "Replica",
    "Snapshot",
    "SortedSet",
    "TopicDiff",
    "TrackError",
    "Tracker",
    "UnknownGroup",
    "UnknownMember",
    "Update",
    "Upsert",
]
