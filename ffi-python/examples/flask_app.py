"""Who is in a room, for browsers that poll: a visit counts for 30 seconds. Run it beside a nats-server:

    NATS_URL=nats://127.0.0.1:4222 gunicorn --workers 2 --preload flask_app:app

POST /rooms/lobby/ann says that Ann is there (again and again), GET /rooms/lobby who is there, on all
workers. Nothing says that she left: an entry belongs to the worker that took the POST, so no other
worker can end it. Her last visit on each worker ends by itself.
"""

import functools
import os
import threading

from flask import Flask

import headcount

app = Flask(__name__)
TTL = float(os.environ.get("TTL", "30"))


_lock = threading.Lock()


@functools.cache
def connect() -> headcount.Node:
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    return headcount.connect(url, heartbeat=0.5, down_after=2.5)


def node() -> headcount.Node:
    """Return the node of this worker, made with its first request: after the fork."""
    with _lock:  # Without it, threads with the first requests would each make one.
        return connect()


@app.get("/rooms/<room>")
def members(room: str) -> list[str]:
    # A user whose requests reached two workers has two entries.
    return sorted({str(entry.key) for entry in node().list(room)})


@app.post("/rooms/<room>/<user>")
def visit(room: str, user: str) -> dict[str, int]:
    node().upsert(room, user, "browser", ttl=TTL)
    return {"worker": os.getpid()}
