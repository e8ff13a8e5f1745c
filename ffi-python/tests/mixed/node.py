"""The Python node of the cluster in three languages, commanded by lines: see `cluster.py`."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from headcount import AlreadyTracked, NotTracked, aio


def answer(node: aio.Node, command: dict[str, Any]) -> object:
    verb = command.pop("verb")
    if verb == "state":
        return {topic: state(node, topic) for topic in command["topics"]}
    if verb == "gone":
        return node.untrack_owner(command["owner"]) > 0
    if verb == "untrack":
        return node.untrack(command["topic"], command["key"], command["owner"])
    write: Callable[..., str] = node.track if verb == "track" else node.update
    try:
        write(**command)
    except (AlreadyTracked, NotTracked):
        return False
    return True


def state(node: aio.Node, topic: str) -> dict[str, object]:
    entries = [[entry.key, entry.json() or {}, entry.status] for entry in node.list(topic)]
    keys = node.count_keys(topic)
    assert keys.is_exact
    return {"entries": entries, "counts": [node.count(topic), keys.at_most]}


async def main() -> None:
    url, name = sys.argv[1:]
    logging.disable(logging.WARNING)
    loop = asyncio.get_running_loop()
    async with aio.connect(url, name=name, heartbeat=0.2, down_after=2.0) as node:
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(answer(node, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
