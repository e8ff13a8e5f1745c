"""Waits until something is so, for tests of nodes."""

import asyncio
import time
from collections.abc import Callable

from headcount._cluster import NodeBase


def keys(node: NodeBase, topic: str) -> list[str]:
    return sorted(str(entry.key) for entry in node.list(topic))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)
