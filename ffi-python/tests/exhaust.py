"""Does large work with too little memory; see `test_hostile.py`.

Each job has a process of its own, and is done with each limit from next to nothing to enough. It may
end well or in a `MemoryError`, after which the object still works. Prints how the attempts ended.
"""

import collections
import functools
import json
import pathlib
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from headcount import MemberList, Presence, SortedSet, Tracker, Transmit

MEGABYTE = 1 << 20
MANY = 200_000


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


JOBS: dict[str, Callable[[], object]] = {
    "sorted set": lambda: SortedSet(range(20 * MANY)),
    "sorted set slice": lambda: wide_set()[:],
    "bulk_load": lambda: MemberList(str, groups=["online"]).bulk_load(MEMBERS),
    "apply_batch": lambda: full_list().apply_batch(
        ("upsert", name[::-1], "offline", key) for name, _, key in MEMBERS
    ),
    "set_group_many": lambda: full_list().set_group_many([name for name, _, _ in MEMBERS], "offline"),
    "rows": lambda: full_list()[:],
    "rows backwards": lambda: full_list()[::-1],
    "snapshot rows": lambda: full_list().snapshot()[:],
    "list": lambda: [full_presence().list("room"), full_tracker().list("room 1")],
    "take_diff": lambda: [full_tracker().take_diff().joins, full_presence().take_diff().joins],
    "delta_since": lambda: full_tracker().delta_since(),
    "apply": lambda: Tracker("b").apply(frame()),
    "snapshot": lambda: full_presence().snapshot(),
    "restore": lambda: Presence.restore(snapshot(), "b"),
    "receive": receive,
}


def limit_memory(megabytes: int) -> None:
    """Limit this process to what it has and so many megabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def attempt(job: str, megabytes: int) -> str:
    limit_memory(megabytes)
    end = "done"
    try:
        JOBS[job]()
    except MemoryError:
        end = "no memory"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert full_list().member_count() >= MANY
    assert full_presence().count("room") == MANY
    return end


def attempts(job: str) -> dict[str, int]:
    """Do a job in this process, with ever more memory."""
    for make in (full_list, full_presence, full_tracker, wide_set, frame, snapshot):
        make()
    return dict(collections.Counter(attempt(job, 6 * step * step) for step in range(10)))


def ends(job: str) -> dict[str, int]:
    """Do a job in another process, which ends as SIGALRM when it hangs."""
    command = [sys.executable, __file__, job]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode < 0:
        return {signal.Signals(-done.returncode).name: 1}
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {"another exception": 1}


def main() -> None:
    if len(sys.argv) > 1:
        signal.alarm(600)
        print(json.dumps(attempts(sys.argv[1])))
    else:
        print(json.dumps({job: ends(job) for job in JOBS}))


if __name__ == "__main__":
    main()
