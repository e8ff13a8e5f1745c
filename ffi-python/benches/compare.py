"""Headcount's Python module beside its rivals, in the same run.

    pip install './ffi-python[bench]'
    python ffi-python/benches/compare.py                      # 10k and 100k; 1M takes some minutes
    python ffi-python/benches/compare.py 1000000 --json out.json

Rivals are the pairs that one writes by hand with `sortedcontainers` (see `members.py`), its
`SortedSet` (`sets.py`), and Redis (`presence.py`), where it is installed. Figures are medians of
rounds in which the structures take turns; a ratio says how many times faster, or smaller, headcount
is than the best rival. The last table holds them against the goals.
"""

import argparse
import json

import members
import presence
import sets
from timing import Figures, Report, medians


def show(title: str, figures: Figures) -> None:
    """Print the table of one comparison."""
    found = medians(figures)
    kinds = list(dict.fromkeys(kind for by_kind in found.values() for kind in by_kind))
    print(f"\n{title}; in brackets x the first column")
    print(" " * 32 + "".join(f"{kind:>28}" for kind in kinds))
    for metric, by_kind in found.items():
        ours = next(iter(by_kind.values())) or 1.0
        cells = [
            f"{by_kind[kind]:,.0f} [{by_kind[kind] / ours:.2f}]" if kind in by_kind else ""
            for kind in kinds
        ]
        print(f"  {metric:<30}" + "".join(f"{cell:>28}" for cell in cells))


def run(sizes: list[int]) -> tuple[list[object], Report]:
    """Run all comparisons; the goals are those of the largest size."""
    records: list[object] = []
    report = Report()

    def record(title: str, figures: Figures) -> None:
        show(title, figures)
        records.append({"title": title, "medians": medians(figures)})

    for size in sizes:
        lists = members.measure(size)
        record(f"{size:,} members; ns an operation, bytes a member", lists)
        values = sets.measure(size)
        record(f"{size:,} values in a set; ns an operation, ns a value of a load", values)
        if size == max(sizes):
            members.add_goals(report, lists)
            sets.add_goals(report, values)
    nodes = presence.measure()
    record("Presence; ns an operation", nodes)
    presence.add_goals(report, nodes)
    return records, report


def main() -> None:
    """Run all sizes."""
    parser = argparse.ArgumentParser(description="Headcount beside its rivals.")
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--json", help="also write the medians to this file")
    args = parser.parse_args()
    records, report = run(args.sizes)
    report.show()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(records, file, indent=1)


if __name__ == "__main__":
    main()
