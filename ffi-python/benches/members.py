"""`MemberList` beside the pair that one writes by hand with `sortedcontainers`.

All do the same work: members with a name, kept in the order of (name, id), whose rows are asked for
by position and whose positions by id. sortedcontainers has no collection of that kind, so its side
is a dict from id to name, and a `SortedKeyList` or the keys of a `SortedDict` over (name, id).
"""

import gc
import multiprocessing
import random
from collections.abc import Callable, Iterator, Sized
from typing import Any, Protocol

from headcount import MemberList, SortedSet
from sortedcontainers import SortedDict, SortedKeyList

from names import Names
from timing import ROUNDS, Figures, Report, medians, resident, timed

BATCH = 1_000
OURS = "MemberList"


class Members(Protocol):
    """What all of them can do. Writes answer with positions."""

    def load(self, members: list[tuple[int, str]]) -> None: ...
    def upsert(self, id: int, name: str) -> object: ...
    def remove(self, id: int) -> object: ...
    def index(self, id: int) -> int: ...
    def get(self, id: int) -> object: ...
    def page(self, start: int) -> Sized: ...


class Ours:
    """A `MemberList` with one group."""

    def __init__(self) -> None:
        self.rows = MemberList(int, groups=["all"], headers=False)

    def load(self, members: list[tuple[int, str]]) -> None:
        self.rows.bulk_load((id, "all", name) for id, name in members)

    def upsert(self, id: int, name: str) -> object:
        return self.rows.upsert(id, "all", name).index

    def remove(self, id: int) -> object:
        return self.rows.remove(id)

    def index(self, id: int) -> int:
        return self.rows.index(id)

    def get(self, id: int) -> object:
        return self.rows.get(id)

    def page(self, start: int) -> Sized:
        return self.rows[start : start + 100]


class OurSet:
    """A dict and a `SortedSet` of tuples: the same pair with our set."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.order: SortedSet[Any] = SortedSet()

    def load(self, members: list[tuple[int, str]]) -> None:
        self.names = dict(members)
        self.order = SortedSet((name, id) for id, name in members)

    def upsert(self, id: int, name: str) -> object:
        old = self.names.get(id)
        if old is not None:
            self.order.remove((old, id))
        self.names[id] = name
        return self.order.insert((name, id))

    def remove(self, id: int) -> object:
        return self.order.take((self.names.pop(id), id))

    def index(self, id: int) -> int:
        return self.order.index((self.names[id], id))

    def get(self, id: int) -> object:
        return self.names.get(id)

    def page(self, start: int) -> Sized:
        return self.order[start : start + 100]


class HandWritten:
    """A dict from id to name, and an order of (name, id)."""

    def __init__(self, order: Any) -> None:
        self.names: dict[int, str] = {}
        self.order = order

    def index(self, id: int) -> int:
        found: int = self.order.index((self.names[id], id))
        return found

    def get(self, id: int) -> object:
        return self.names.get(id)


class KeyList(HandWritten):
    """A dict and a `SortedKeyList`, the fastest of sortedcontainers for this work."""

    def __init__(self) -> None:
        super().__init__(SortedKeyList(key=lambda entry: entry))

    def load(self, members: list[tuple[int, str]]) -> None:
        self.names = dict(members)
        self.order = SortedKeyList(((name, id) for id, name in members), key=lambda entry: entry)

    def upsert(self, id: int, name: str) -> object:
        old = self.names.get(id)
        if old is not None:
            self.order.remove((old, id))
        self.names[id] = name
        self.order.add((name, id))
        return self.order.index((name, id))

    def remove(self, id: int) -> object:
        entry = (self.names.pop(id), id)
        at = self.order.index(entry)
        del self.order[at]
        return at

    def page(self, start: int) -> Sized:
        rows: list[object] = self.order[start : start + 100]
        return rows


class Dict(HandWritten):
    """A dict and a `SortedDict` from (name, id) to anything one keeps of a member."""

    def __init__(self) -> None:
        super().__init__(SortedDict())

    def load(self, members: list[tuple[int, str]]) -> None:
        self.names = dict(members)
        self.order = SortedDict({(name, id): None for id, name in members})

    def upsert(self, id: int, name: str) -> object:
        old = self.names.get(id)
        if old is not None:
            del self.order[old, id]
        self.names[id] = name
        self.order[name, id] = None
        return self.order.index((name, id))

    def remove(self, id: int) -> object:
        entry = (self.names.pop(id), id)
        at = self.order.index(entry)
        del self.order[entry]
        return at

    def page(self, start: int) -> Sized:
        rows: list[object] = self.order.keys()[start : start + 100]
        return rows


KINDS: dict[str, Callable[[], Members]] = {
    OURS: Ours,
    "dict + SortedSet": OurSet,
    "dict + SortedKeyList": KeyList,
    "dict + SortedDict": Dict,
}


def make_members(size: int) -> tuple[Names, list[tuple[int, str]]]:
    """Return members, whose strings all structures share, and what draws more names."""
    names = Names(1)
    return names, [(id * 7919 % 2**31, names.draw()) for id in range(size)]


def memory(kind: str, size: int) -> float:
    """Return the bytes a member that a loaded structure takes, in a process of its own.

    The members themselves are held before and after: their strings and ids are not counted for the
    structures that keep the objects.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory, (kind, size))


def _memory(kind: str, size: int) -> float:
    _, members = make_members(size)
    KINDS[kind]().load(members[:1_000])
    gc.collect()
    before = resident()
    held = KINDS[kind]()
    held.load(members)
    gc.collect()
    return (resident() - before) / size


def measure(size: int, with_memory: bool = True) -> Figures:
    """Return the figures of all structures at one size, in turns."""
    names, members = make_members(size)
    rng = random.Random(2)
    figures: Figures = {}

    def note(metric: str, kind: str, figure: float) -> None:
        figures.setdefault(metric, {}).setdefault(kind, []).append(figure)

    held: dict[str, Members] = {}
    for _ in range(ROUNDS if size <= 200_000 else 1):
        for kind, make in KINDS.items():
            held.pop(kind, None)
            gc.collect()
            held[kind] = make()
            note("bulk load, unsorted", kind, timed(size, lambda: held[kind].load(members)))
    for kind in KINDS if with_memory else ():
        note("memory a member", kind, memory(kind, size))
    count = max(1_000, min(size // 4, 20_000))
    for _ in range(ROUNDS):
        moves = [(rng.choice(members)[0], names.draw()) for _ in range(count)]
        fresh = [(2**40 + at, names.draw()) for at in range(count)]
        asked = [rng.choice(members)[0] for _ in range(count)]
        starts = [rng.randrange(max(1, size - 100)) for _ in range(count // 10)]
        for kind, rows in held.items():
            for metric, figure in work(rows, moves, fresh, asked, starts):
                note(metric, kind, figure)
        check(held, asked[:100])
        for metric, figure in batches(rng, members, names, count):
            note("apply_batch of 1,000, a change", metric, figure)
    return figures


def check(held: dict[str, Members], asked: list[int]) -> None:
    """Check that all structures of names in the order of code points agree."""
    answers = [
        [rows.index(id) for id in asked] for kind, rows in held.items() if kind != OURS
    ]
    assert all(answer == answers[0] for answer in answers), "all of them agree"


def work(
    rows: Members,
    moves: list[tuple[int, str]],
    fresh: list[tuple[int, str]],
    asked: list[int],
    starts: list[int],
) -> Iterator[tuple[str, float]]:
    """Do one round and yield metrics with nanoseconds."""
    yield "upsert that moves", timed(len(moves), lambda: [rows.upsert(*move) for move in moves])
    yield "upsert of a new member", timed(len(fresh), lambda: [rows.upsert(*new) for new in fresh])
    yield "remove", timed(len(fresh), lambda: [rows.remove(id) for id, _ in fresh])
    yield "index of an id", timed(len(asked), lambda: [rows.index(id) for id in asked])
    yield "get of an id", timed(len(asked), lambda: [rows.get(id) for id in asked])
    # As a server does: each page is written out before the next one is asked for.
    yield "slice of 100", timed(len(starts), lambda: [len(rows.page(at)) for at in starts])


def batches(
    rng: random.Random, members: list[tuple[int, str]], names: Names, count: int
) -> Iterator[tuple[str, float]]:
    """Yield the nanoseconds of a change in batches, and in single calls on an equal list."""
    changes = [("upsert", rng.choice(members)[0], "all", names.draw()) for _ in range(count)]
    single, batched = Ours(), Ours()
    for rows in single, batched:
        rows.load(members)
    parts = [changes[at : at + BATCH] for at in range(0, count, BATCH)]
    upsert, apply_batch = single.rows.upsert, batched.rows.apply_batch
    yield "single calls", timed(count, lambda: [upsert(*change[1:]) for change in changes])
    yield "apply_batch", timed(count, lambda: [apply_batch(part) for part in parts])


def add_goals(report: Report, figures: Figures) -> None:
    """Add the goals of member lists."""
    found = medians(figures)

    def add(name: str, metric: str, unit: str, least: float) -> None:
        by_kind = {kind: of for kind, of in found[metric].items() if kind != "dict + SortedSet"}
        report.add(name, by_kind, OURS, unit, least)

    add("MemberList: bulk load", "bulk load, unsorted", "ns a member", 10)
    add("MemberList: slice of 100 rows", "slice of 100", "ns", 1)
    add("MemberList: get", "get of an id", "ns", 1)
    if "memory a member" in found:
        add("MemberList: memory", "memory a member", "bytes a member", 3)
    batched = found["apply_batch of 1,000, a change"]
    report.add("MemberList: apply_batch, a change", batched, "apply_batch", "ns", 1)
