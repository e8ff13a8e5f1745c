"""Does large work with too little memory; see `test_hostile.py`.

Each job is done in a child for each limit from next to nothing to enough. It may end well or in a
`MemoryError`, after which the object still works. Prints how the children ended.
"""

import collections
import json
import os
import pathlib
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from headcount import MemberList, Presence, SortedSet, Tracker, Transmit

MEGABYTE = 1 << 20
MANY = 200_000


def full_tracker() -> Tracker:
    made = Tracker("a")
    for number in range(MANY):
        made.track(f"room {number % 8}", f"user {number}", f"conn {number}", b"x" * 40)
    return made


def full_presence() -> Presence:
    made = Presence("a")
    for number in range(MANY):
        made.track("room", f"user {number}", f"conn {number}", b"x" * 40)
    made.handle_timeout(0.0)
    return made


def full_list() -> Any:
    made = MemberList(str, groups=["online", "offline"])
    made.bulk_load(MEMBERS)
    return made


MEMBERS = [(f"user {n:060}"[-64:], "online", f"name of some length {n}") for n in range(MANY)]
TRACKER = full_tracker()
PRESENCE = full_presence()
LIST = full_list()
WIDE = SortedSet(range(10 * MANY))
FRAME = TRACKER.delta_since() or b""
SNAPSHOT = PRESENCE.snapshot()


def receive() -> None:
    """A new peer asks for everything, and gets it."""
    peer = Presence("b")
    for now in range(5_000):
        if peer.count("room") == MANY:
            return
        for sender, receiver in ((PRESENCE, peer), (peer, PRESENCE)):
            sender.handle_timeout(now / 100)
            for out in sender.poll():
                if isinstance(out, Transmit):
                    receiver.handle_message(now / 100, sender.replica.name, out.frame)
    raise AssertionError("the peer did not get everything")


JOBS: dict[str, Callable[[], object]] = {
    "sorted set": lambda: SortedSet(range(20 * MANY)),
    "sorted set slice": lambda: WIDE[:],
    "bulk_load": lambda: MemberList(str, groups=["online"]).bulk_load(MEMBERS),
    "apply_batch": lambda: LIST.apply_batch(
        ("upsert", name[::-1], "offline", key) for name, _, key in MEMBERS
    ),
    "set_group_many": lambda: LIST.set_group_many([name for name, _, _ in MEMBERS], "offline"),
    "rows": lambda: LIST[:],
    "rows backwards": lambda: LIST[::-1],
    "snapshot rows": lambda: LIST.snapshot()[:],
    "list": lambda: [PRESENCE.list("room"), TRACKER.list("room 1")],
    "take_diff": lambda: [TRACKER.take_diff().joins, PRESENCE.take_diff().joins],
    "delta_since": lambda: TRACKER.delta_since(),
    "apply": lambda: Tracker("b").apply(FRAME),
    "snapshot": lambda: PRESENCE.snapshot(),
    "restore": lambda: Presence.restore(SNAPSHOT, "b"),
    "receive": receive,
}


def limit_memory(megabytes: int) -> None:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def child(job: str, megabytes: int) -> int:
    """0 when the work was done, 1 when there was no memory for it."""
    limit_memory(megabytes)
    ended = 0
    try:
        JOBS[job]()
    except MemoryError:
        ended = 1
    assert LIST.member_count() >= MANY
    assert PRESENCE.count("room") == MANY
    return ended


def ends(job: str, megabytes: int) -> str:
    pid = os.fork()
    if pid == 0:
        signal.alarm(300)  # One that hangs ends as SIGALRM.
        code = 2
        try:
            code = child(job, megabytes)
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        return signal.Signals(-status).name
    return ("done", "no memory", "another exception")[status]


def main() -> None:
    report: dict[str, dict[str, int]] = {}
    for job in sys.argv[1:] or JOBS:
        found = collections.Counter(ends(job, 6 * step * step) for step in range(10))
        report[job] = dict(found)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
