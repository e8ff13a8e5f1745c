"""Real-time presence as a delta-CRDT, and sorted, sliced member lists for millions.

* `Tracker`: presence entries by topic, key and owner, replicated by frames.
* `connect`: a running node of a cluster, for threads; `headcount.aio.connect` for asyncio.
* `Presence`: the same without I/O, for networks of your own.
* `MemberList`: a sorted, grouped list of members with positions; `Viewer` and `Client` are the two
  ends of windows on it.
* `MemberTable`: the members of many lists, each once; `ListSpec` says which of them a list has.
* `Roster`: a list or a table that follows presence.
* `Collation`: sort keys in the order of a language.
* `SortedSet`: the same tree as a plain ordered set with positions.
"""

from collections.abc import Mapping
from importlib.metadata import version

from headcount._cluster import Event, GroupSubscription, Keys, MemoryNetwork, Signal, Transmit
from headcount._collation import Collation
from headcount._errors import (
    AlreadyTracked,
    ApplyError,
    ConnectError,
    DecodeError,
    DuplicateName,
    ForkError,
    GapError,
    HeadcountError,
    HiddenMember,
    LagError,
    LimitError,
    ListBuilding,
    ListError,
    NodeStopped,
    NotReady,
    NotTracked,
    NotWatched,
    ReadError,
    TrackError,
    UnknownGroup,
    UnknownList,
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
    Group,
    Header,
    Leave,
    ListRequest,
    Member,
    MemberList,
    Presence,
    Replica,
    Roster,
    RosterReport,
    Snapshot,
    Tick,
    TopicDiff,
    Tracker,
    Update,
    Upsert,
    Viewer,
    Window,
)
from headcount._node import Attendance, Node, Subscription, Watch, connect
from headcount._options import (
    ConnectOptions,
    NatsOptions,
    Peer,
    PresenceOptions,
    Stats,
    Traffic,
)
from headcount._sorted_set import SortedSet
from headcount._table import (
    Clause,
    ListMove,
    ListSpec,
    ListView,
    MemberTable,
    TableBatchReport,
    TableMember,
    TableTick,
    TableUpsert,
)

Mapping.register(Diff)

__version__ = version("headcount")

__all__ = [
    "AlreadyTracked",
    "ApplyError",
    "Attendance",
    "BatchReport",
    "BulkReport",
    "Bundle",
    "BundleReport",
    "Clause",
    "Client",
    "Collation",
    "ConnectError",
    "ConnectOptions",
    "DecodeError",
    "Diff",
    "DuplicateName",
    "Entry",
    "Event",
    "ForkError",
    "GapError",
    "Group",
    "GroupSubscription",
    "HeadcountError",
    "Header",
    "HiddenMember",
    "Keys",
    "LagError",
    "Leave",
    "LimitError",
    "ListBuilding",
    "ListError",
    "ListMove",
    "ListRequest",
    "ListSpec",
    "ListView",
    "Member",
    "MemberList",
    "MemberTable",
    "MemoryNetwork",
    "NatsOptions",
    "Node",
    "NodeStopped",
    "NotReady",
    "NotTracked",
    "NotWatched",
    "Peer",
    "Presence",
    "PresenceOptions",
    "ReadError",
    "Replica",
    "Roster",
    "RosterReport",
    "Signal",
    "Snapshot",
    "SortedSet",
    "Stats",
    "Subscription",
    "TableBatchReport",
    "TableMember",
    "TableTick",
    "TableUpsert",
    "Tick",
    "TopicDiff",
    "TrackError",
    "Tracker",
    "Traffic",
    "Transmit",
    "UnknownGroup",
    "UnknownList",
    "UnknownMember",
    "Update",
    "Upsert",
    "Viewer",
    "Watch",
    "Window",
    "WindowError",
    "__version__",
    "connect",
]
