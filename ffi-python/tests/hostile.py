"""Calls every public callable with every hostile value in every parameter; see `test_hostile.py`.

It runs as a program of its own, so that an abort is seen as one. Prints how many calls it made.
"""

import array
import asyncio
import contextlib
import decimal
import functools
import inspect
import itertools
import json
import mmap
import pathlib
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any, is_typeddict

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

assert sys.platform == "linux", "memory is limited by what Linux says of a process"
import resource  # noqa: E402

MEGABYTE = 1 << 20
LIE = 10**13


class Boom(Exception):
    """What hostile objects raise."""


# What the documentation says that arguments can raise, and what the objects above raise.
ALLOWED = (
    TypeError, ValueError, OverflowError, LookupError, MemoryError, RecursionError, BufferError, OSError,
    headcount.HeadcountError, Boom,
)  # fmt: skip


def boom(*_args: object) -> Any:
    raise Boom


def returning(answer: Any) -> Callable[..., Any]:
    return lambda *_: answer


def raising(**methods: Any) -> object:
    return type("Hostile", (), methods)()


class OddUuid(uuid.UUID):
    def __getattribute__(self, name: str) -> Any:
        raise Boom


def deep(depth: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    return nest


def endless(item: object) -> Iterator[object]:
    while True:
        yield item


def entering(target: Any, answer: object) -> Any:
    """A method that uses the object under test before it answers."""

    def method(*_args: object) -> object:
        with contextlib.suppress(*ALLOWED):
            repr(target)
            len(target)
            target.clear() if hasattr(target, "clear") else list(target)
        return answer

    return method


def numbers() -> list[object]:
    whole = [0, 1, 2**15, 2**31, 2**32, 2**62, 2**63, 2**64, 2**128, 10**5000]
    reals = [0.5, float("nan"), float("inf"), 1e308, 5e-324, 1.8446744073709552e19]
    return [True, *whole, *(-n for n in whole), *reals, *(-x for x in reals)]


def texts() -> list[object]:
    parts = ["", "x", "\0", "\ud800", "\U0010ffff", "c:4294967295", "a:1:2:3", "online"]
    name = type("Name", (str,), {"__str__": boom, "__hash__": boom, "__len__": boom})
    return [*parts, "x" * MEGABYTE, "é" * MEGABYTE, name("room")]


def buffers() -> list[object]:
    blob = type("Blob", (bytes,), {"__len__": boom, "__bytes__": boom})
    return [
        b"",
        b"\xff" * MEGABYTE,
        blob(b"HC"),
        bytearray(b"HC\1\0"),
        memoryview(b"abcdef")[::2],
        memoryview(b"abcd").cast("H"),
        memoryview(b"HC\1\0")[1:],
        array.array("d", [1.0]),
        mmap.mmap(-1, 64 * MEGABYTE),
    ]


def containers() -> list[object]:
    """What lies about its length, is no mapping, or holds what it should not."""
    return [
        range(LIE),
        raising(__len__=lambda _: LIE, __iter__=lambda _: iter(())),
        raising(__len__=lambda _: LIE, __getitem__=boom),
        raising(__len__=boom, __iter__=lambda _: iter(["online"])),
        raising(__iter__=boom),
        raising(__iter__=lambda self: self, __next__=lambda _: 1),
        type("Liar", (list,), {"__len__": lambda _: LIE})(["online"]),
        type("Liar", (tuple,), {"__len__": lambda _: LIE, "__getitem__": boom})(("a", 1)),
        type("Liar", (dict,), {"__len__": boom, "items": boom, "keys": boom})(),
        [],
        (),
        {},
        [None],
        [("upsert",)],
        [("upsert", 1, "online", 1, -1)],
        [("upsert", 1, 1), ("set_key", 1, 2**63, 1)],
        [("upsert", *range(100_000))],
        [tuple(range(100_000))],
        [(1, "online", ("a", "b"))],
        ["online"] * 10_000,
        deep(100_000),
        {"a": deep(2_000)},
        set(),
    ]


def others() -> list[object]:
    far = 2**70
    odd = type("Meta", (type,), {"__instancecheck__": boom, "__eq__": boom, "__hash__": boom})
    return [
        None,
        object(),
        Exception,
        lambda *_: boom(),
        decimal.Decimal("sNaN"),
        uuid.UUID(int=2**128 - 1),
        OddUuid.__new__(OddUuid),
        slice(None),
        slice(None, None, -1),
        slice(-far, far, far),
        slice(far, -far, -far),
        slice(0, 0, 0),
        slice(raising(__index__=boom)),
        raising(__index__=boom, __int__=boom, __float__=boom),
        raising(__index__=lambda _: far, __float__=lambda _: float("nan")),
        raising(__hash__=boom, __eq__=boom, __repr__=boom, __str__=boom, __bool__=boom),
        raising(__getattr__=boom, __class__=property(boom)),
        odd("Odd", (), {}),
    ]


CONSTANT = [*numbers(), *texts(), *buffers(), *containers(), *others()]
# What is used up by a call, or needs the object under test.
FRESH: list[Callable[[Any], object]] = [
    lambda _: itertools.count(),
    lambda _: endless(None),
    lambda _: endless("online"),
    lambda _: endless(b"x"),
    lambda _: endless((1, "online", 1)),
    lambda _: endless(("upsert", 1, "online", 1)),
    lambda _: endless(("set_payload", 1, "x" * 10_000)),
    lambda _: endless((1, 1)),
    lambda _: endless((1, 1, range(100), "x" * 10_000)),
    lambda _: endless((1, 1, endless(1))),
    lambda _: endless(("upsert", 1, 1, [1])),
    lambda _: endless(()),
    lambda _: (boom() for _ in range(3)),
    lambda _: {"epoch": 1, "version": 1, "frames": endless({})},
    lambda target: target,
    lambda target: type(target),
    lambda target: raising(__iter__=entering(target, iter(["online"]))),
    lambda target: slice(raising(__index__=entering(target, 3))),
    lambda target: raising(__index__=entering(target, 0), __float__=entering(target, 0.0)),
    lambda target: raising(__call__=entering(target, ("online", 1))),
]
VALUES: list[Callable[[Any], object]] = [
    *((lambda _, value=value: value) for value in CONSTANT),
    *FRESH,
]


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


class Tally:
    """Makes calls, and keeps those that ended as none may."""

    def __init__(self) -> None:
        self.calls = 0
        self.wrong: list[str] = []

    def call(self, what: str, function: Callable[..., Any], args: Any, named: Any) -> None:
        self.calls += 1
        try:
            answer = function(*args, **named)
            if isinstance(answer, Iterator) and not isinstance(answer, itertools.count):
                list(itertools.islice(answer, 1_000))
        except ALLOWED:
            return
        except BaseException as error:
            self.wrong.append(f"{what}: {type(error)}: {error}"[:200])

    def parameters(self, what: str, make: Callable[[], tuple[Any, Callable[..., Any]]]) -> None:
        """Every hostile value in every parameter of what `make` gives with its target."""
        target, function = make()
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            signature = inspect.Signature(
                [inspect.Parameter(f"arg{n}", inspect.Parameter.POSITIONAL_ONLY) for n in (0, 1)]
            )
        self.call(what, function, (), {})
        given = list(signature.parameters.values())
        for spoilt in given:
            for number, value_for in enumerate(VALUES):
                target, function = make()
                args: list[Any] = []
                named: dict[str, Any] = {}
                bad = value_for(target)
                for parameter in given:
                    is_spoilt = parameter is spoilt
                    if not is_spoilt and parameter.default is not inspect.Parameter.empty:
                        continue
                    value = bad if is_spoilt else good(parameter.name, target)
                    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                        named[parameter.name] = value
                    elif parameter.kind is parameter.KEYWORD_ONLY or (
                        is_spoilt and parameter.kind is not parameter.POSITIONAL_ONLY
                    ):
                        named[parameter.name] = value
                    elif named:
                        named[parameter.name] = value
                    else:
                        args.append(value)
                self.call(f"{what}({spoilt.name}=#{number})", function, args, named)


SPECIAL = ("__getitem__", "__contains__", "__eq__", "__lt__", "__iter__", "__len__", "__hash__")


def methods(target: Any) -> list[str]:
    public = [name for name in dir(target) if not name.startswith("_")]
    return [*public, *(name for name in (*SPECIAL, "__repr__", "__str__") if hasattr(target, name))]


def of_method(make: Callable[[], Any], name: str) -> Callable[[], tuple[Any, Any]]:
    def bound() -> tuple[Any, Any]:
        target = make()
        return target, getattr(target, name)

    return bound


def with_mappings(tally: Tally) -> None:
    """What a mapping of a roster answers, and what it does meanwhile."""
    change = tracker().take_diff()["room"]
    for number, answer in enumerate(CONSTANT):
        for answer in (answer, (answer, "key"), ("online", answer), ("online", "key", answer)):
            for made in rosters_that(returning(answer)):
                tally.call(f"mapping #{number}", made.apply, (change,), {})
    for made in rosters_that(lambda _: boom()):
        tally.call("mapping raises", made.apply, (change,), {})

    def enter(entry: Any) -> Any:
        made.list.add_group(f"g{made.list.member_count()}")
        if entry.owner == "conn-1" and not made.online_count():
            made.list.bulk_load([("9", "online", "z")])
            inner.append(entry)
            if len(inner) < 50:
                made.apply(change)
        return ("online", entry.key)

    inner: list[Any] = []
    made = next(rosters_that(enter))
    tally.call("mapping enters", made.apply, (change,), {})


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """What this process has, and 400 megabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 400 * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


WAITING = {headcount.Node, headcount.Subscription, headcount.Watch}
"""Classes whose methods wait; the verbs of a node are called on that for asyncio."""


async def main() -> None:
    # Tables are saved to any path.
    with tempfile.TemporaryDirectory() as away, contextlib.chdir(away):
        await call_all()


async def call_all() -> None:
    await node()
    tally = Tally()
    with limited_memory():
        call_each(tally)
    await node().stop()
    print(json.dumps({"calls": tally.calls, "wrong": tally.wrong}))


def call_each(tally: Tally) -> None:
    values = [getattr(headcount, name) for name in headcount.__all__]
    public = {value for value in values if inspect.isclass(value) and not is_typeddict(value)}
    made = {type(make()) for make in TARGETS.values()}
    errors = {kind for kind in public if issubclass(kind, Exception)}
    missing = public - made - errors - WAITING
    assert not missing, f"no instance of {missing}"
    given = public - {headcount.Subscription, headcount.Watch}  # Only nodes make those.
    for kind in sorted(given, key=lambda kind: str(kind.__name__)):
        tally.parameters(kind.__name__, returning((None, kind)))
        if not issubclass(kind, Exception):
            for name in ("from_binary", "restore", "__class_getitem__"):
                if hasattr(kind, name):
                    function = getattr(kind, name)
                    tally.parameters(f"{kind.__name__}.{name}", returning((None, function)))
    for title, make in TARGETS.items():
        for name in methods(make()):
            attribute = getattr(make(), name, None)
            if callable(attribute) and not inspect.iscoroutinefunction(attribute):
                tally.parameters(f"{title}.{name}", of_method(make, name))
    with_mappings(tally)


if __name__ == "__main__":
    asyncio.run(main())
