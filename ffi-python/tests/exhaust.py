"""Does large work with too little memory; see `test_hostile.py`.

Each job is done in a process for each limit from next to nothing to enough. It may end well or in a
`MemoryError`, after which the object still works. Prints how the processes ended.
"""

import collections
import functools
import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from headcount import Clause, ListSpec, MemberList, MemberTable, Presence, SortedSet, Tracker, Transmit

assert sys.platform == "linux", "memory is limited by what Linux says of a process"
import resource  # noqa: E402

MEGABYTE = 1 << 20
MANY = 100_000


@functools.cache
def full_tracker() -> Tracker:
    made = Tracker("a")
    for number in range(MANY):
        made.track(f"room {number % 8}", f"user {number}", f"conn {number}", b"x" * 40)
    return made


@functools.cache
def full_presence() -> Presence:
    made = Presence("a")
    for number in range(MANY):
        made.track("room", f"user {number}", f"conn {number}", b"x" * 40)
    made.handle_timeout(0.0)
    return made


@functools.cache
def full_list() -> Any:
    made = MemberList(str, groups=["online", "offline"])
    made.bulk_load(MEMBERS)
    return made


def table() -> Any:
    made = MemberTable(int)
    made.add_list(ListSpec("all", "online", groups=[(Clause(all=[1]), "staff")]))
    return made


@functools.cache
def full_table() -> Any:
    made = table()
    made.bulk_load((number, f"name of some length {number}") for number in range(MANY))
    return made


@functools.cache
def json_list() -> Any:
    made = MemberList(int, groups=["online"], payloads="json")
    made.upsert(1, "online", 1)
    return made


MEMBERS = [(f"user {n:060}"[-64:], "online", f"name of some length {n}") for n in range(MANY)]


@functools.cache
def wide_set() -> SortedSet[int]:
    return SortedSet(range(10 * MANY))


@functools.cache
def frame() -> bytes:
    return full_tracker().delta_since() or b""


@functools.cache
def snapshot() -> bytes:
    return full_presence().snapshot()


def receive() -> None:
    """A new peer asks for everything, and gets it."""
    peer = Presence("b")
    for now in range(5_000):
        if peer.count("room") == MANY:
            return
        for sender, receiver in ((full_presence(), peer), (peer, full_presence())):
            sender.handle_timeout(now / 100)
            for out in sender.poll():
                if isinstance(out, Transmit):
                    receiver.handle_message(now / 100, sender.replica.name, out.frame)
    raise AssertionError("the peer did not get everything")


Job = tuple[Callable[[], object], Callable[[], object]]
"""What is made with enough memory, and the work that follows with too little."""

JOBS: dict[str, Job] = {
    "sorted set": (list, lambda: SortedSet(range(10 * MANY))),
    "sorted set slice": (wide_set, lambda: wide_set()[:]),
    "sorted set union": (wide_set, lambda: wide_set() | range(12 * MANY)),
    "bulk_load": (list, lambda: MemberList(str, groups=["online"]).bulk_load(MEMBERS)),
    "apply_batch": (
        full_list,
        lambda: full_list().apply_batch(
            ("upsert", name[::-1], "offline", key) for name, _, key in MEMBERS
        ),
    ),
    "payloads": (
        json_list,
        lambda: json_list().apply_batch(("set_payload", 1, "x" * 10_000) for _ in range(MANY // 5)),
    ),
    "set_group_many": (
        full_list,
        lambda: full_list().set_group_many([name for name, _, _ in MEMBERS], "offline"),
    ),
    "bulk_load of a table": (list, lambda: table().bulk_load((n, key, [1]) for n, (_, _, key) in enumerate(MEMBERS))),
    "apply_batch of a table": (
        full_table,
        lambda: full_table().apply_batch((("upsert", n, -n, [n % 2]) for n in range(2 * MANY)), rows=True).rows,
    ),
    "set_attrs_many": (full_table, lambda: full_table().set_attrs_many(range(MANY), set=[1])),
    "index_of_many": (full_list, lambda: full_list().index_of_many(name for name, _, _ in MEMBERS)),
    "rows_of": (full_list, lambda: full_list().rows_of(name for name, _, _ in MEMBERS)),
    "rows of a table": (full_table, lambda: full_table().list_named("all")[:]),
    "rows": (full_list, lambda: full_list()[:]),
    "rows backwards": (full_list, lambda: full_list()[::-1]),
    "snapshot rows": (full_list, lambda: full_list().snapshot()[:]),
    "list": (full_presence, lambda: full_presence().list("room")),
    "list of a tracker": (full_tracker, lambda: [full_tracker().list(f"room {n}") for n in range(8)]),
    "take_diff": (full_tracker, lambda: full_tracker().take_diff().joins),
    "take_diff of a presence": (full_presence, lambda: full_presence().take_diff().joins),
    "delta_since": (full_tracker, lambda: full_tracker().delta_since()),
    "apply": (frame, lambda: Tracker("b").apply(frame())),
    "snapshot": (full_presence, lambda: full_presence().snapshot()),
    "restore": (snapshot, lambda: Presence.restore(snapshot(), "b")),
    "receive": (full_presence, receive),
}


def limit_memory(megabytes: int) -> None:
    """Limit this process to what it has and so many megabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def attempt(job: str, megabytes: int) -> str:
    make, work = JOBS[job]
    make()
    signal.alarm(300)  # One that hangs ends as SIGALRM.
    limit_memory(megabytes)
    end = "done"
    try:
        work()
    except MemoryError:
        end = "no memory"
    if full_list.cache_info().currsize:
        assert full_list().member_count() >= MANY
    if full_table.cache_info().currsize:
        assert full_table().list_named("all").member_count() == len(full_table()) in (MANY, 2 * MANY)
    if full_presence.cache_info().currsize:
        assert full_presence().count("room") == MANY
    return end


def end_of(job: str, megabytes: int) -> str:
    """Attempt a job in another process."""
    command = [sys.executable, __file__, job, str(megabytes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return done.stdout.strip() if done.returncode == 0 else "another exception"


def main() -> None:
    if len(sys.argv) > 1:
        print(attempt(sys.argv[1], int(sys.argv[2])))
        return
    report: dict[str, dict[str, int]] = {}
    for job in JOBS:
        report[job] = dict(collections.Counter(end_of(job, 3 * step * step) for step in range(10)))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
