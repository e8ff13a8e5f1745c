"""A node in a process of its own, commanded by lines: URL NAME [all | interest | counts]; see `test_nats.py`."""

import json
import os
import sys
from typing import Literal

import headcount

assert sys.platform != "win32", "there is no os.fork"


def answer(node: headcount.Node, line: str) -> object:
    match line.split():
        case ["track", topic, key]:
            return node.track(topic, key, node.replica.name)
        case ["untrack", topic, key]:
            return node.untrack(topic, key, node.replica.name)
        case ["keys", topic]:
            return sorted(str(entry.key) for entry in node.list(topic))
        case ["errors"]:
            return node.stats()["transport_errors"]
        case ["fork"]:
            return in_child(node)
    raise ValueError(line)


def in_child(node: headcount.Node) -> str:
    """What a child of the process gets from the node of its parent, and from one of its own."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            node.track("room", "child", "c")
            told = "nothing"
        except headcount.ForkError:
            told = "ForkError"
        with headcount.connect(sys.argv[1], name="child", heartbeat=0.2, down_after=2.0) as own:
            own.track("room", "child", "c")
            while own.count("room") < 2:
                pass
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        return report.read()


def main() -> None:
    url, name = sys.argv[1:3]
    counts = sys.argv[3:] == ["counts"]
    mode: Literal["all", "interest"] = "interest" if counts or sys.argv[3:] == ["interest"] else "all"
    with headcount.connect(url, name=name, mode=mode, counts=counts, heartbeat=0.2, down_after=2.0) as node:
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(node, line)), flush=True)


if __name__ == "__main__":
    main()
