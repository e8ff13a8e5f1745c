"""`Presence` beside Redis, where a topic is a hash from session to the JSON of its meta.

It needs `redis-server`, which is started here on a socket of its own, without persistence.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headcount import Presence

from names import Names
from timing import ROUNDS, Figures, Goal, Report, medians, timed

TRACK_NS_MAX = 2_000
MEMBERS = 100
LISTS = 200
TRACKS = 10_000


@contextmanager
def redis_client() -> Iterator[Any]:
    """Start a Redis and yield a client, or `None` where one of both is not installed."""
    if find_spec("redis") is None or shutil.which("redis-server") is None:
        yield None
        return
    import redis

    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "redis.sock")
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""]
        server = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.01)
            with redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client:
                yield client
        finally:
            server.terminate()
            server.wait()


def make_meta(name: str, at: int) -> dict[str, Any]:
    """Return a meta such as a chat has."""
    return {"name": name, "device": "phone", "idle": at % 3 == 0, "since": 1_700_000_000 + at}


def ours(presence: Presence) -> list[tuple[object, object]]:
    """Return keys and metas of a room."""
    return [(entry.key, entry.json()) for entry in presence.list("room")]


def theirs(client: Any) -> list[tuple[object, object]]:
    """Return keys and metas of a room in Redis."""
    read = client.hgetall("room").items()
    return [(field.partition("|")[0], json.loads(meta)) for field, meta in read]


def measure() -> Figures:
    """Return the figures of both."""
    figures: Figures = {}

    def note(metric: str, kind: str, figure: float) -> None:
        figures.setdefault(metric, {}).setdefault(kind, []).append(figure)

    names = Names(5)
    metas = [make_meta(names.draw(), at) for at in range(TRACKS)]
    presence = Presence("bench")
    with redis_client() as client:
        for at, meta in enumerate(metas[:MEMBERS]):
            presence.track("room", f"user-{at}", f"conn-{at}", meta)
            if client:
                client.hset("room", f"user-{at}|conn-{at}", json.dumps(meta))
        if client:
            by_key = [dict(read) for read in (ours(presence), theirs(client))]
            assert by_key[0] == by_key[1], "both have the same members"
        for _ in range(ROUNDS):
            tracker = Presence("bench")
            calls = [("lobby", f"user-{at}", f"conn-{at}", meta) for at, meta in enumerate(metas)]
            took = timed(TRACKS, lambda: [tracker.track(*call) for call in calls])
            note("track", "Presence", took)
            took = timed(LISTS, lambda: [len(ours(presence)) for _ in range(LISTS)], wall=True)
            note("list of 100", "Presence", took)
            if client:
                took = timed(LISTS, lambda: [len(theirs(client)) for _ in range(LISTS)], wall=True)
                note("list of 100", "redis-py", took)
                fields = [(f"user-{at}|conn-{at}", meta) for at, meta in enumerate(metas[:1_000])]
                hset = client.hset
                took = timed(
                    len(fields),
                    lambda: [hset("lobby", field, json.dumps(meta)) for field, meta in fields],
                    wall=True,
                )
                note("track", "redis-py", took)
                client.delete("lobby")
    return figures


def add_goals(report: Report, figures: Figures) -> None:
    """Add the goals of presence."""
    found = medians(figures)
    limit = Goal("Presence.track, meta of 4", found["track"]["Presence"], TRACK_NS_MAX, "ns", 1)
    limit.of = "limit of 2 us"
    report.goals.append(limit)
    listed = found["list of 100"]
    if "redis-py" in listed:
        report.add("list of 100 with keys and metas", listed, "Presence", "ns", 10)
    else:
        print("redis-server or redis-py is not installed: no list beside Redis")
