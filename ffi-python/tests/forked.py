"""Uses objects of the parent in a child of `os.fork`; see `test_fork.py`."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import headcount
from headcount import Client, MemberList, Presence, Roster, SortedSet, Tracker

assert sys.platform != "win32", "there is no os.fork"


def make() -> dict[str, Callable[[], object]]:
    """Objects of every class with a lock, and a call on each."""
    tracker, presence = Tracker("a"), Presence("a")
    values, client = SortedSet(range(100)), Client()
    ml, followed = MemberList(int, groups=["g"]), MemberList(str, groups=["g"])
    ml.upsert(1, "g", 1)
    roster, viewer, walk = Roster(followed, lambda entry: ("g", entry.key)), ml.viewer(), iter(values)
    diff = tracker.take_diff
    node = headcount.connect("memory://forked", name="a")
    changes = node.subscribe("room")
    watch = node.watch("room")
    return {
        "node": lambda: node.upsert("room", "ann", "phone"),
        "node.list": lambda: node.list("room"),
        "node.presence": lambda: node.presence("room", "bob").__enter__(),
        "node.stats": node.stats,
        "changes": lambda: changes.next(5),
        "watch": lambda: node.watch("hall").ready(5),
        "watch.ready": lambda: watch.ready(5),
        "watch_counts": lambda: node.watch_counts("hall").ready(5),
        "track": lambda: tracker.track("room", "ann", "phone"),
        "list": lambda: tracker.list("room"),
        "in": lambda: ("room", "ann") in tracker,
        "repr": lambda: repr(tracker),
        "len": lambda: len(presence),
        "take_diff": diff,
        "presence": lambda: presence.track("room", "ann", "phone"),
        "poll": lambda: list(presence.poll()),
        "handle_timeout": lambda: presence.handle_timeout(1.0),
        "add": lambda: values.add(7),
        "contains": lambda: 7 in values,
        "slice": lambda: values[:],
        "walk": lambda: next(walk),
        "upsert": lambda: ml.upsert(1, "g", 2),
        "row": lambda: ml[0],
        "rows": lambda: ml[:],
        "members": lambda: 1 in ml,
        "tick": lambda: ml.tick(1.0),
        "open": lambda: viewer.open("c:0"),
        "windows": lambda: client.windows,
        "online": lambda: roster.online_count(),
    }


def busy(end: threading.Event) -> tuple[dict[str, Callable[[], object]], list[threading.Thread]]:
    """Objects that threads of this process use all the time, so that a fork may find their locks taken."""
    calls = make()

    def work(names: list[str]) -> None:
        while not end.is_set():
            for name in names:
                try:
                    calls[name]()
                except (headcount.TrackError, StopIteration):
                    pass

    writers = [["node", "node.list"], ["track", "take_diff"]]
    writers += [["presence", "handle_timeout"], ["add", "slice"], ["upsert", "tick"]]
    threads = [threading.Thread(target=work, args=(names,)) for names in writers]
    for thread in threads:
        thread.start()
    return calls, threads


def child(calls: dict[str, Callable[[], object]]) -> dict[str, str]:
    outcomes = {}
    for name, call in calls.items():
        try:
            outcomes[name] = repr(call())
        except Exception as error:
            outcomes[name] = type(error).__name__
    for call in make().values():
        call()
    return outcomes


def main() -> None:
    end = threading.Event()
    calls, threads = busy(end)
    reports: list[Any] = []
    for _ in range(int(sys.argv[1])):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # A child that hangs ends as SIGALRM.
            os.write(writer, json.dumps(child(calls)).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as report:
            text = report.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        reports.append({"status": status, "outcomes": json.loads(text) if text else {}})
    end.set()
    for thread in threads:
        thread.join()
    still = {name: True for name, call in make().items() if call is not None}
    print(json.dumps({"reports": reports, "calls": sorted(still)}))


if __name__ == "__main__":
    main()
