"""The Python node of the cluster of several languages, commanded by lines: see `cluster.py`."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from headcount import AlreadyTracked, Event, NotTracked, aio


class Heard:
    """Keeps the keys of the signals of other nodes."""

    def __init__(self, node: aio.Node) -> None:
        self.keys: list[str] = []
        self.task = asyncio.ensure_future(self.listen(node.events()))

    async def listen(self, events: aio.Subscription[Event]) -> None:
        async for event in events:
            if event.signal is not None:
                self.keys.append(event.signal.key.decode())

    def take(self) -> list[str]:
        keys, self.keys = self.keys, []
        return keys


async def watch(node: aio.Node, topics: list[str], watches: list[aio.Watch]) -> bool:
    watches += [node.watch(topic) for topic in topics]
    for each in watches:
        await each.ready()
    return True


def answer(node: aio.Node, heard: Heard, command: dict[str, Any]) -> object:
    verb = command.pop("verb")
    if verb == "heard":
        return heard.take()
    if verb == "signal":
        node.signal(command["topic"], command["key"], 1)
        return True
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
    shape: dict[str, Any] = {"mode": "interest", "counts": True, "partitions": 4_096}
    async with aio.connect(url, name=name, heartbeat=0.2, down_after=2.0, **shape) as node:
        heard, watches = Heard(node), list[aio.Watch]()
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            if command["verb"] == "watch":
                result: object = await watch(node, command["topics"], watches)
            else:
                result = answer(node, heard, command)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
