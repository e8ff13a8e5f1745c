"""The objects whose methods `hostile.py` calls, and what their parameters take."""

import functools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import headcount
from headcount import (
    Clause,
    Client,
    ListSpec,
    MemberList,
    MemberTable,
    MemoryNetwork,
    Presence,
    Replica,
    Roster,
    SortedSet,
    Tracker,
    Transmit,
    aio,
)


def tracker() -> Tracker:
    made = Tracker("a", incarnation=1, salt=0)
    made.track("room", "1", "conn-1", {"a": 1})
    return made


def presence() -> Presence:
    made = Presence("a", grace=1.0)
    made.track("room", "1", "conn-1")
    made.handle_timeout(0.0)
    return made


def watching() -> Presence:
    made = Presence("a", mode="interest", unwatch_after=1.0)
    made.watch(0.0, "room")
    return made


def counting() -> Presence:
    made = Presence("a", mode="interest", counts=True, unwatch_after=1.0)
    made.watch_counts(0.0, "room")
    return made


def left() -> Presence:
    made = presence()
    made.leave_gracefully(1.0)
    return made


def member_list(ids: Any = int) -> Any:
    made = MemberList(ids, groups=["online", "offline"], payloads="json")
    made.upsert(GOOD_IDS[ids], "online", 1)
    return made


def viewer(ids: Any = int, *, discord: bool = False, resumable: bool = False) -> Any:
    made = member_list(ids).viewer(discord=discord, resumable=resumable)
    made.open("c:0")
    return made


def member_table(ids: Any = int) -> Any:
    made = MemberTable(ids, payloads="json")
    made.upsert(GOOD_IDS[ids], 1, attrs=[1])
    made.add_list(list_spec())
    made.build()
    return made


def list_spec() -> Any:
    return ListSpec("room", "online", admit=[Clause(all=[1])])


def list_view(ids: Any = int) -> Any:
    return member_table(ids).list_named("room")


def table_viewer() -> Any:
    made = list_view().viewer()
    made.open("c:0")
    return made


def roster() -> Any:
    return Roster(member_list(), lambda entry: ("online", entry.key), offline="offline")


def table_roster() -> Any:
    return Roster(member_table(), lambda entry: (entry.key, [1]), status_bits=[1], rows_stay=True)


def rosters_that(mapping: Callable[[Any], Any]) -> Iterator[Any]:
    yield Roster(MemberList(str, groups=["online"]), mapping)
    yield Roster(MemberTable(str), mapping)


def client() -> Client:
    made = Client()
    made.open("c:0")
    made.apply(viewer().open("c:0"))
    return made


def event() -> Any:
    made = Presence("b")
    sender = presence()
    sender.signal("room", "1", 1, b"x")
    frames = [out.frame for out in sender.poll() if isinstance(out, Transmit)]
    for frame in frames:
        made.handle_message(0.0, "a", frame)
    events = [out for out in made.poll() if isinstance(out, headcount.Event)]
    return next(found for found in events if found.signal is not None)


def update() -> Any:
    made = tracker()
    made.take_diff()
    made.update("room", "1", "conn-1", {})
    (changed,) = made.take_diff().updates
    return changed


def leave() -> Any:
    made = tracker()
    made.take_diff()
    made.untrack("room", "1", "conn-1")
    (gone,) = made.take_diff()["room"].leaves
    return gone


def tick() -> Any:
    return member_list().tick(1.0)


@functools.cache
def node() -> aio.Node:
    """The one node, which runs: a thread for each call would be too many."""
    return aio.connect(MemoryNetwork(), name="a")


GOOD_IDS: dict[Any, Any] = {int: 1, str: "1", uuid.UUID: uuid.UUID(int=1)}

# An instance of every class; of some, one of each sort.
TARGETS: dict[str, Callable[[], Any]] = {
    "Tracker": tracker,
    "Presence": presence,
    "Presence that left": left,
    "MemberList of int": member_list,
    "MemberList of str": lambda: member_list(str),
    "MemberList of UUID": lambda: member_list(uuid.UUID),
    "Clause": lambda: Clause(all=[1]),
    "ListSpec": list_spec,
    "MemberTable of int": member_table,
    "MemberTable of str": lambda: member_table(str),
    "MemberTable of UUID": lambda: member_table(uuid.UUID),
    "ListView": list_view,
    "ListMove": lambda: member_table().set_attrs(1, clear=[1])[0],
    "TableUpsert": lambda: member_table().upsert(2, 1),
    "TableBatchReport": lambda: member_table().apply_batch([("upsert", 2, 1), ("remove", 3)], rows=True),
    "TableMember": lambda: member_table().get(1),
    "TableTick": lambda: member_table().tick(1.0),
    "Viewer of a table": table_viewer,
    "Snapshot": lambda: member_list().snapshot(),
    "Viewer": viewer,
    "Viewer of UUID": lambda: viewer(uuid.UUID),
    "Viewer of Discord": lambda: viewer(discord=True),
    "resumable Viewer": lambda: viewer(resumable=True),
    "Collation": lambda: headcount.Collation("de"),
    "Bundle": lambda: viewer().open("c:1"),
    "Bundle of format 2": lambda: viewer(resumable=True).open("c:1"),
    "Tick": tick,
    "Roster": roster,
    "Roster over a table": table_roster,
    "RosterReport": lambda: roster().apply(tracker().take_diff()["room"]),
    "SortedSet": lambda: SortedSet([1, "a", b"b", (2, "c")]),
    "Replica": lambda: tracker().replica,
    "Diff": lambda: tracker().take_diff(),
    "TopicDiff": lambda: tracker().take_diff()["room"],
    "Update": update,
    "Leave": leave,
    "Entry": lambda: tracker().list("room")[0],
    "Event": event,
    "Signal": lambda: event().signal,
    "Presence that watches": watching,
    "Presence that counts": counting,
    "Keys": lambda: tracker().count_keys("room"),
    "GroupSubscription": lambda: watching().poll_subscription(),
    "Transmit": lambda: next(out for out in presence().poll() if isinstance(out, Transmit)),
    "Group": lambda: member_list().groups()[0],
    "Header": lambda: member_list()[0],
    "Member": lambda: member_list()[1],
    "Upsert": lambda: member_list().upsert(2, "online", 1),
    "BatchReport": lambda: member_list().apply_batch([]),
    "BulkReport": lambda: member_list().bulk_load([]),
    "Client": client,
    "ListRequest": lambda: client().request(),
    "BundleReport": lambda: client().apply(viewer().open("c:0")),
    "Window": lambda: client().windows["c:0"],
    "Node": node,
    "Attendance": lambda: node().presence("room", "1"),
    "Watch": lambda: node().watch("room"),
    "Watch of counts": lambda: node().watch_counts("room"),
    "MemoryNetwork": MemoryNetwork,
}

# What a parameter gets while another one is hostile.
GOOD: dict[str, Any] = {
    "where": "memory://hostile",
    "name": "online",
    "to": "offline",
    "group": "online",
    "topic": "room",
    "owner": "conn-1",
    "window": "c:0",
    "now": 1.0,
    "ttl": 1.0,
    "sender": "b",
    "payload": b"{}",
    "kind": 1,
    "incarnation": 1,
    "salt": 1,
    "epoch": 2,
    "guild": "1",
    "data": b"",
    "frame": b"",
    "snapshot": b"",
    "attrs": 1,
    "column": 0,
    "default_group": "online",
    "prefix": "a",
    "value": 1,
    "values": [1],
    "names": ["online"],
    "members": [],
    "changes": [],
    "windows": ["c:0"],
    "message": "text",
    "offset": 0,
    "clock": 0,
    "start": 0,
    "limit": 0,
    "chunk": 0,
    "time": 1.0,
}


def good(parameter: str, target: Any) -> Any:
    """A value that this parameter takes."""
    if isinstance(target, Roster):
        target = getattr(target, "list", None) or target.table
    is_list = isinstance(target, MemberList)
    is_table = isinstance(target, MemberTable)
    match parameter:
        case "id" if is_table:
            return next(iter(target.list_named("room").snapshot()[1:])).id
        case "ids" if is_table:
            return [good("id", target)]
        case "list" if is_table:
            return target.list_named("room")
        case "spec":
            return list_spec()
        case "id" if is_list:
            return target[1].id
        case "ids" if is_list:
            return [good("id", target)]
        case "ids":
            return int
        case "key":
            return 1 if is_list or is_table else "1"
        case "tick":
            return tick()
        case "change":
            return tracker().take_diff()["room"]
        case "replica":
            return Replica("b", 1, 1)
        case "list" | "target":
            return member_list()
        case "mapping":
            return lambda entry: ("online", entry.key)
        case "bundle":
            return viewer().open("c:0")
        case "presence":
            return presence()
    return GOOD.get(parameter, "room")
