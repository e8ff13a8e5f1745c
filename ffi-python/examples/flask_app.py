"""Who is in a room, for browsers that poll: a visit counts for 30 seconds. Run it beside a nats-server:

    NATS_URL=nats://127.0.0.1:4222 gunicorn --workers 2 --preload flask_app:app

POST /rooms/lobby/ann says that Ann is there (again and again), DELETE that she left, GET /rooms/lobby
who is there, on all workers.
"""

import functools
import os

from flask import Flask

import headcount

app = Flask(__name__)
TTL = float(os.environ.get("TTL", "30"))


@functools.cache
def node() -> headcount.Node:
    """The node of this worker, made with its first request: after the fork."""
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    return headcount.connect(url, heartbeat=0.5, down_after=2.5)


@app.get("/rooms/<room>")
def members(room: str) -> list[str]:
    return sorted({str(entry.key) for entry in node().list(room)})


@app.post("/rooms/<room>/<user>")
def visit(room: str, user: str) -> dict[str, int]:
    node().upsert(room, user, "browser", ttl=TTL)
    return {"worker": os.getpid()}


@app.delete("/rooms/<room>/<user>")
def leave(room: str, user: str) -> dict[str, bool]:
    return {"left": node().untrack(room, user, "browser")}
