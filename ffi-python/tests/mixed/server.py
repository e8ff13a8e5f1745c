"""The reference server as a node of the cluster, with guests as its clients, and the PostgreSQL that it needs: see
`cluster.py`.
"""

import asyncio
import contextlib
import glob
import itertools
import json
import os
import pathlib
import random
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import websockets

from nodes import ROOT, STATUSES, Node, Places

SECRET = "a secret that a server and its clients share"
GUESTS = 4
SESSIONS = [f"session {n}" for n in range(8)]
"""Session n is one of guest n mod 4."""
TURNS = 8
"""One of so many writes that the others make is one of the server."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def request(url: str, body: object = None, token: str = "") -> Any:
    """Post `body`, or get; return the data of the answer."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()

    def send() -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as response:
            return json.load(response)["data"]

    return await asyncio.to_thread(send)


class Postgres:
    """A PostgreSQL in a directory of its own (Debian package postgresql)."""

    async def start(self) -> str:
        """Start; return the address of a database."""
        self.dir = pathlib.Path(tempfile.mkdtemp())
        if sys.platform != "win32" and os.geteuid() == 0:
            # Root may not run PostgreSQL: then the user of its Debian package does.
            shutil.chown(self.dir, "postgres", "postgres")
        port = free_port()
        options = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]
        made = await self.program("initdb", *options, "--pgdata", self.dir / "data")
        assert await made.wait() == 0, "initdb failed"
        settings = ["listen_addresses=127.0.0.1", "fsync=off"]
        flags = itertools.chain(*(("-c", setting) for setting in settings))
        self.server = await self.program("postgres", "-D", self.dir / "data", "-k", self.dir, "-p", port, *flags)
        while await (await self.program("pg_isready", "--host", "127.0.0.1", "--port", port)).wait() != 0:
            assert self.server.returncode is None, "PostgreSQL has ended"
            await asyncio.sleep(0.1)
        return f"postgres://postgres@127.0.0.1:{port}/postgres"

    async def program(self, name: str, *arguments: object) -> asyncio.subprocess.Process:
        found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
        assert found, f"{name} is missing: make setup installs it"
        is_root = sys.platform != "win32" and os.geteuid() == 0
        user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if is_root else {}
        null = asyncio.subprocess.DEVNULL
        command = [found, *map(str, arguments)]
        return await asyncio.create_subprocess_exec(*command, cwd="/", stdout=null, stderr=null, **user)

    async def end(self) -> None:
        self.server.kill()
        await self.server.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Presence:
    """The users of a room as a client of Phoenix derives them from states and diffs: metas by their references."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}

    def take(self, event: str, payload: Any) -> None:
        if event == "presence_state":
            self.users = {}
            self.join(payload)
        elif event == "presence_diff":
            self.join(payload["joins"])
            for key, user in payload["leaves"].items():
                for meta in user["metas"]:
                    self.users.get(key, {}).pop(meta["phx_ref"], None)

    def join(self, users: Any) -> None:
        for key, user in users.items():
            self.users.setdefault(key, {}).update({meta["phx_ref"]: meta for meta in user["metas"]})

    def entries(self) -> list[list[Any]]:
        metas = [(key, meta) for key, user in self.users.items() for meta in user.values()]
        return [[key, meta, STATUSES.index(meta["status"])] for key, meta in metas]


class Session:
    """A socket that has joined the room."""

    def __init__(self, connection: websockets.ClientConnection, topic: str) -> None:
        self.connection = connection
        self.topic = topic
        self.presence = Presence()
        self.references = itertools.count(2)
        self.replies: dict[str, asyncio.Future[Any]] = {}
        self.reader = asyncio.ensure_future(self.read())
        self.heart = asyncio.ensure_future(self.beat())

    @classmethod
    async def join(cls, url: str, token: str, topic: str, status: str) -> "Session":
        url = f"{url.replace('http', 'ws', 1)}/chat/socket/websocket?vsn=2.0.0&token={token}"
        connection = await websockets.connect(url, ping_interval=None, max_size=None, close_timeout=0.5)
        session = cls(connection, topic)
        await session.push("phx_join", {"status": status})
        return session

    async def read(self) -> None:
        # It ends without a close frame when the server is killed.
        with contextlib.suppress(websockets.ConnectionClosedError):
            async for text in self.connection:
                _, reference, topic, event, payload = json.loads(text)
                if event == "phx_reply":
                    self.replies.pop(reference).set_result(payload)
                elif topic == self.topic:
                    self.presence.take(event, payload)

    async def push(self, event: str, payload: object) -> None:
        """Push, again and again while it is too early, until the server has done it."""
        while (reply := await self.ask(event, payload))["status"] != "ok":
            assert reply["response"]["reason"] == "rate_limited", reply
            await asyncio.sleep(reply["response"]["retry_after_ms"] / 1000)

    async def beat(self) -> None:
        """Keep the server from closing an idle socket."""
        while True:
            await asyncio.sleep(20)
            await self.ask("heartbeat", {}, "phoenix")

    async def ask(self, event: str, payload: object, topic: str = "") -> Any:
        reference = str(next(self.references))
        reply = self.replies[reference] = asyncio.get_running_loop().create_future()
        await self.connection.send(json.dumps(["1", reference, topic or self.topic, event, payload]))
        await asyncio.wait({reply, self.reader}, return_when=asyncio.FIRST_COMPLETED)
        assert reply.done(), "the server ended the connection"
        return reply.result()

    async def close(self) -> None:
        self.heart.cancel()
        await self.connection.close()
        await self.reader


class Server(Node):
    """The server: what its guests' sessions show in one room, and how many users it counts in another."""

    def __init__(self, port: int, places: Places, database: str) -> None:
        super().__init__("server", port, places)
        self.database = database
        self.tokens: list[str] = []
        self.ids: list[str] = []
        self.names: list[str] = []
        self.sessions: dict[str, Session] = {}
        self.writes: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()

    async def start(self) -> None:
        """Start the server, and make guests and rooms, which are added to the places."""
        self.gate_url = await self.gate.listen()
        await self.begin()
        for _ in range(GUESTS):
            guest = await request(f"{self.api}/auth/guest", {})
            self.tokens.append(guest["token"])
            self.ids.append(guest["user"]["id"])
            self.names.append(guest["user"]["username"])
        ada = await request(f"{self.api}/auth/register", {"username": "ada", "password": "correct horse"})
        for name in ("open", "counted"):
            room = await request(f"{self.api}/rooms", {"name": name}, ada["token"])
            self.places.rooms.append(f"room:{room['id']}")
        self.places.users += self.ids
        await self.watch()

    async def run(self) -> None:
        await self.begin()
        await self.watch()

    async def begin(self) -> None:
        """Start the process, and wait until it is ready."""
        options = {
            "--port": "0",
            "--admin-addr": "127.0.0.1:0",
            "--grace-ms": "0",
            "--down-after-ms": "2000",
            "--auth-per-minute": "10000",
            "--refusal-delay-ms": "0",
            "--log": "headcount_server=error",
            "--database": self.database,
            "--nats": self.gate_url,
        }
        self.child = await asyncio.create_subprocess_exec(
            ROOT / "target/debug/headcount-server",
            *itertools.chain(*options.items()),
            env={**os.environ, "HEADCOUNT_JWT_SECRET": SECRET},
            stdout=asyncio.subprocess.PIPE,
        )
        self.url = (await self.line()).split()[-1]
        self.api = f"{self.url}/api/v1"
        while True:
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"{self.url}/readyz")
                break
            except urllib.error.HTTPError:
                await asyncio.sleep(0.05)

    async def watch(self) -> None:
        """Have a client that follows the room; its session is one of those that the others list."""
        await self.enter("watcher", 0)
        self.worker = asyncio.ensure_future(self.work())

    def guest(self, session: str) -> int:
        return int(session[-1]) % GUESTS if session in SESSIONS else 0

    async def enter(self, name: str, status: int) -> None:
        guest = self.guest(name)
        token, room = self.tokens[guest], self.places.rooms[0]
        self.sessions[name] = await Session.join(self.url, token, room, STATUSES[status])
        self.note(name, status)

    def note(self, name: str, status: int) -> None:
        guest = self.guest(name)
        self.tracked[self.places.rooms[0], self.ids[guest], name] = {"username": self.names[guest]}, status

    def write(self, rng: random.Random) -> None:
        """Let one of the guests come, go, or choose a status, at some of the turns."""
        name, status, roll = rng.choice(SESSIONS), rng.randrange(3), rng.random()
        if rng.randrange(TURNS) == 0:
            self.writes.put_nowait(lambda: self.change(name, status, goes=roll < 0.5))

    async def change(self, name: str, status: int, *, goes: bool) -> None:
        session = self.sessions.get(name)
        if session is None:
            await self.enter(name, status)
        elif goes:
            await self.sessions.pop(name).close()
            del self.tracked[self.places.rooms[0], self.ids[self.guest(name)], name]
        else:
            await session.push("set_status", {"status": STATUSES[status]})
            self.note(name, status)

    async def work(self) -> None:
        while True:
            await (await self.writes.get())()
            self.writes.task_done()

    async def settle(self) -> None:
        """Wait until the server has answered all writes."""
        done = asyncio.ensure_future(self.writes.join())
        await asyncio.wait({done, self.worker}, return_when=asyncio.FIRST_COMPLETED)
        if self.worker.done():
            done.cancel()
            await self.worker

    async def state(self) -> dict[str, dict[str, Any]]:
        await self.settle()
        room, counted = self.places.rooms
        watcher = self.sessions["watcher"]
        assert not watcher.reader.done(), "the server has closed the watcher's socket"
        entries = watcher.presence.entries()
        counts = [len(entries), len({key for key, _, _ in entries})]
        answer = await request(f"{self.api}/rooms/{counted.removeprefix('room:')}", token=self.tokens[0])
        listed = {"entries": self.places.in_order(room, entries), "counts": counts}
        return {room: listed, counted: {"keys of nodes": answer["online"]}}

    async def kill(self) -> None:
        self.worker.cancel()
        self.writes = asyncio.Queue()
        await super().kill()
        for session in self.sessions.values():
            await session.close()
        self.sessions.clear()

    async def end(self) -> None:
        self.worker.cancel()
        await super().end()
