"""Headcount's Python collections beside `sortedcontainers`, in the same run.

    pip install './ffi-python[bench]'
    python ffi-python/benches/compare.py                      # 10k and 100k; 1M takes some minutes
    python ffi-python/benches/compare.py 1000000 --json out.json

Every structure does the same work: members with a name, kept in the order of (name, id), whose
rows are asked for by position and whose positions by id. sortedcontainers has no collection of
that kind, so its side is the pair one writes by hand: a dict from id to name, and a
`SortedKeyList` or the keys of a `SortedDict` over (name, id). Figures are medians of rounds in
which the structures take turns; the ratio says how many times faster headcount is.
"""

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from headcount import MemberList, SortedSet
from sortedcontainers import SortedDict, SortedKeyList

ROUNDS = 5
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiouy"


def make_name(rng: random.Random) -> str:
    """A name of 12 letters."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(6))


class Members(Protocol):
    """What all of them can do. Writes answer with positions."""

    def load(self, members: list[tuple[int, str]]) -> None: ...
    def upsert(self, id: int, name: str) -> object: ...
    def remove(self, id: int) -> object: ...
    def index(self, id: int) -> int: ...
    def page(self, start: int) -> object: ...


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

    def page(self, start: int) -> object:
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
        return self.order.remove((self.names.pop(id), id))

    def index(self, id: int) -> int:
        return self.order.index((self.names[id], id))

    def page(self, start: int) -> object:
        return self.order[start : start + 100]


class KeyList:
    """A dict and a `SortedKeyList`, the fastest of sortedcontainers for this work."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.order = SortedKeyList(key=lambda entry: entry)

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

    def index(self, id: int) -> int:
        found: int = self.order.index((self.names[id], id))
        return found

    def page(self, start: int) -> object:
        return self.order[start : start + 100]


class Dict:
    """A dict and a `SortedDict` from (name, id) to anything one keeps of a member."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.order = SortedDict()

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

    def index(self, id: int) -> int:
        found: int = self.order.index((self.names[id], id))
        return found

    def page(self, start: int) -> object:
        return self.order.keys()[start : start + 100]


KINDS: dict[str, Callable[[], Members]] = {
    "MemberList": Ours,
    "dict + SortedSet": OurSet,
    "dict + SortedKeyList": KeyList,
    "dict + SortedDict": Dict,
}
Figures = dict[str, dict[str, list[float]]]


def resident() -> int:
    """Bytes of this process in memory (Linux); 0 elsewhere."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096
    except OSError:
        return 0


def timed(count: int, work: Callable[[], object]) -> float:
    """Nanoseconds on the processor for each of `count` operations, all in this thread."""
    gc.disable()
    start = time.thread_time_ns()
    work()
    took = time.thread_time_ns() - start
    gc.enable()
    return took / count


def compare(size: int) -> Figures:
    """All structures at one size, in turns."""
    rng = random.Random(1)
    members = [(id * 7919 % 2**31, make_name(rng)) for id in range(size)]
    figures: Figures = {}

    def note(metric: str, kind: str, figure: float) -> None:
        figures.setdefault(metric, {}).setdefault(kind, []).append(figure)

    held: dict[str, Members] = {}
    for kind, make in KINDS.items():
        gc.collect()
        before = resident()
        held[kind] = make()
        note("bulk load, unsorted", kind, timed(size, lambda: held[kind].load(members)))
        gc.collect()
        note("memory a member", kind, (resident() - before) / size)
    count = max(1_000, min(size // 4, 20_000))
    for _ in range(ROUNDS):
        moves = [(rng.choice(members)[0], make_name(rng)) for _ in range(count)]
        fresh = [(2**40 + at, make_name(rng)) for at in range(count)]
        asked = [rng.choice(members)[0] for _ in range(count)]
        starts = [rng.randrange(max(1, size - 100)) for _ in range(count // 10)]
        answers = []
        for kind, rows in held.items():
            for metric, figure in work(rows, moves, fresh, asked, starts):
                note(metric, kind, figure)
            answers.append([rows.index(id) for id in asked[:100]])
        assert all(answer == answers[0] for answer in answers), "all of them agree"
    return figures


def work(
    rows: Members,
    moves: list[tuple[int, str]],
    fresh: list[tuple[int, str]],
    asked: list[int],
    starts: list[int],
) -> Iterator[tuple[str, float]]:
    """One round: metrics and nanoseconds."""
    yield "upsert that moves", timed(len(moves), lambda: [rows.upsert(*move) for move in moves])
    yield "upsert of a new member", timed(len(fresh), lambda: [rows.upsert(*new) for new in fresh])
    yield "remove", timed(len(fresh), lambda: [rows.remove(id) for id, _ in fresh])
    yield "index of an id", timed(len(asked), lambda: [rows.index(id) for id in asked])
    yield "slice of 100", timed(len(starts), lambda: [rows.page(start) for start in starts])


def show(size: int, figures: Figures) -> None:
    """The table of one size."""
    print(f"\n{size:,} members; ns an operation, bytes a member; in brackets x MemberList")
    print("  " + " " * 26 + "".join(f"{kind:>26}" for kind in KINDS))
    behind = 0
    for metric, by_kind in figures.items():
        medians = {kind: statistics.median(by_kind[kind]) for kind in KINDS}
        ours = medians["MemberList"] or 1.0
        cells = [f"{median:,.0f} [{median / ours:.2f}]" for median in medians.values()]
        print(f"  {metric:<26}" + "".join(f"{cell:>26}" for cell in cells))
        theirs = [median for kind, median in medians.items() if kind not in ("MemberList", "dict + SortedSet")]
        behind += ours >= min(theirs)
    print(f"  ahead of both of sortedcontainers in {len(figures) - behind} of {len(figures)} lines")


def main() -> None:
    """Runs all sizes."""
    parser = argparse.ArgumentParser(description="Headcount beside sortedcontainers.")
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--json", help="also write the medians to this file")
    args = parser.parse_args()
    report = []
    for size in args.sizes:
        figures = compare(size)
        show(size, figures)
        medians = {
            metric: {kind: statistics.median(values) for kind, values in by_kind.items()}
            for metric, by_kind in figures.items()
        }
        report.append({"members": size, "medians": medians})
    if args.json:
        with open(args.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
