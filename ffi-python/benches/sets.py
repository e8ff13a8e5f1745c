"""`SortedSet` beside `sortedcontainers.SortedSet`: the same calls on the same objects."""

import gc
import random
from typing import Any

import headcount
import sortedcontainers

from names import Names
from timing import ROUNDS, Figures, Report, medians, timed

KINDS: dict[str, Any] = {
    "headcount.SortedSet": headcount.SortedSet,
    "sortedcontainers.SortedSet": sortedcontainers.SortedSet,
}
OURS = "headcount.SortedSet"


def make_values(size: int) -> dict[str, list[Any]]:
    """Return the values of each kind of set: scores of a leaderboard, and names."""
    names, rng = Names(3), random.Random(3)
    return {
        "tuples": [(names.draw(), id) for id in range(size)],
        "str": [names.draw() for _ in range(size)],
        "int": rng.sample(range(size * 10), size),
    }


def equal(value: Any) -> Any:
    """Return another object with the same value, as a caller that asks for it has one."""
    match value:
        case (name, id):
            return (equal(name), equal(id))
        case str():
            return (value + " ")[:-1]
        case _:
            return value + 1 - 1


def measure(size: int) -> Figures:
    """Return the figures of both sets at one size, in turns."""
    figures: Figures = {}
    rng = random.Random(4)
    for type_name, values in make_values(size).items():
        for _ in range(ROUNDS):
            count = min(size, 20_000)
            asked = [equal(rng.choice(values)) for _ in range(count)]
            starts = [rng.randrange(max(1, size - 100)) for _ in range(count // 10)]
            for kind, make in KINDS.items():
                gc.collect()

                def note(metric: str, figure: float, kind: str = kind) -> None:
                    by_kind = figures.setdefault(f"{metric}, {type_name}", {})
                    by_kind.setdefault(kind, []).append(figure)

                held: list[Any] = []
                note("load", timed(size, lambda: held.append(make(values))))
                held_set = held[0]
                note("in", timed(count, lambda: [value in held_set for value in asked]))
                note("index", timed(count, lambda: [held_set.index(value) for value in asked]))
                pages = timed(len(starts), lambda: [len(held_set[at : at + 100]) for at in starts])
                note("slice of 100", pages)
    return figures


def add_goals(report: Report, figures: Figures) -> None:
    """Add the goals of sets."""
    found = medians(figures)
    for type_name in "str", "tuples", "int":
        report.add(f"SortedSet of {type_name}: in", found[f"in, {type_name}"], OURS, "ns", 1)
    for type_name in "tuples", "str":
        slices = found[f"slice of 100, {type_name}"]
        report.add(f"SortedSet of {type_name}: slice of 100", slices, OURS, "ns", 1)
