"""Figures of structures that take turns, and the goals that they are held against.

Why not pyperf: it gives each benchmark processes of its own, one after the other. Here the rivals
take turns within each round, so that what else the machine does meets all of them alike; and writes
change the structure that they measure, which pyperf would repeat an unknown number of times.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Figures = dict[str, dict[str, list[float]]]
ROUNDS = 5


def timed(count: int, work: Callable[[], object], *, wall: bool = False) -> float:
    """Return nanoseconds for each of `count` operations.

    It is the time of this thread on the processor; with `wall`, for a rival in another process, the
    time that passes.
    """
    clock = time.perf_counter_ns if wall else time.thread_time_ns
    gc.disable()
    start = clock()
    kept = work()
    took = clock() - start
    gc.enable()
    del kept
    return took / count


def resident() -> int:
    """Return the bytes of this process in memory (Linux); 0 elsewhere."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096
    except OSError:
        return 0


def medians(figures: Figures) -> dict[str, dict[str, float]]:
    """Return the median of each metric and structure."""
    return {
        metric: {kind: statistics.median(values) for kind, values in by_kind.items()}
        for metric, by_kind in figures.items()
    }


@dataclass
class Goal:
    """A line of the report: our figure beside that of the fastest rival, or beside a limit."""

    name: str
    ours: float
    rival: float
    unit: str
    least: float
    of: str = ""

    @property
    def ratio(self) -> float:
        """How many times better we are."""
        return self.rival / self.ours if self.ours else float("inf")

    @property
    def is_met(self) -> bool:
        """Whether the ratio is as large as the goal says."""
        return self.ratio >= self.least


@dataclass
class Report:
    """The goals of one run."""

    goals: list[Goal] = field(default_factory=list)

    def add(self, name: str, figures: dict[str, float], ours: str, unit: str, least: float) -> None:
        """Add a goal: our structure beside the best of all others."""
        rivals = {kind: figure for kind, figure in figures.items() if kind != ours}
        best = min(rivals, key=lambda kind: rivals[kind])
        self.goals.append(Goal(name, figures[ours], rivals[best], unit, least, best))

    def show(self) -> None:
        """Print a table."""
        print(f"\n{'goal':<44}{'ours':>12}{'rival':>12}{'ratio':>8}{'goal':>8}")
        for goal in self.goals:
            print(
                f"{goal.name:<44}{goal.ours:>12,.0f}{goal.rival:>12,.0f}{goal.ratio:>8.2f}"
                f"{goal.least:>7g}x  {'met' if goal.is_met else 'MISSED':<7} {goal.unit}, {goal.of}"
            )
