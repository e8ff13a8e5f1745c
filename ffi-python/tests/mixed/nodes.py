"""The nodes of the cluster in several languages, each a process behind a proxy, and what is written to them: see
`cluster.py`.
"""

import asyncio
import json
import os
import pathlib
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[3]
Program = tuple[pathlib.Path, list[str]]
"""A folder, and the command that starts a node there."""
PROGRAMS: dict[str, Program] = {
    "rust": (ROOT, [str(ROOT / "target/debug/examples/mixed_node")]),
    "python": (ROOT, [sys.executable, str(ROOT / "ffi-python/tests/mixed/node.py")]),
    "elixir": (ROOT / "ffi-elixir", ["mix", "run", "--no-compile", "--no-deps-check", "test/mixed/node.exs"]),
}

TOPICS = ["room", "room ", "räume/日本/🦀", "t" * 256]
PREFIX = "user:" + "x" * 240
KEYS = ["ann", "Ann", "ann ", "", "0", "zoë", "zoe\u0308", "ключ", '"\\\n\t#{1}', *(f"{PREFIX}{n}" for n in range(11))]
METAS: list[dict[str, Any]] = [
    {},
    {"device": "phone"},
    {"device": None, "tags": [], "on": True},
    {"näme": "名前🦀", "quote": '"\\\n\u0000#{1}', "": {}},
    {"n": [0, -1, 2**63, -(2**63), 2**64 - 1, 0.5], "deep": [[[{"a": [None, False]}]]]},
    {"long": "ö" * 4000},
]
NAMES = ["ann", "Åsa 名前🦀", "zoe\u0308", "O'Neil \"Bob\"", "x" * 32]
OWNERS = [f"conn-{n}" for n in range(4)]
STATUSES = ["online", "idle", "dnd", "invisible"]
Entry = tuple[str, str, str]
"""A topic, a key and an owner."""
Content = tuple[dict[str, Any], int]
"""A meta and a status."""


@dataclass
class Places:
    """Where the nodes write. Rooms are topics of the server, in which keys are ids of users."""

    rooms: list[str]
    users: list[str]

    @property
    def topics(self) -> list[str]:
        return [*TOPICS, *self.rooms]

    def entry(self, rng: random.Random) -> Entry:
        topic = rng.choice(self.topics)
        return topic, rng.choice(self.users if topic in self.rooms else KEYS), rng.choice(OWNERS)

    def content(self, rng: random.Random, topic: str) -> Content:
        if topic in self.rooms:
            return {"username": rng.choice(NAMES)}, rng.randrange(3)
        return rng.choice(METAS), rng.randrange(4)

    def in_order(self, topic: str, entries: Iterable[Iterable[Any]]) -> list[str]:
        """Return entries - key, meta and status - as sorted text, of users' metas only the name."""
        if topic in self.rooms:
            entries = [(key, {"username": meta["username"]}, status) for key, meta, status in entries]
        return sorted(json.dumps(list(entry), sort_keys=True) for entry in entries)


class Gate:
    """A proxy to the server that can be closed: bytes under way are lost, new connections are refused."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.is_open = True
        self.writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> str:
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.pipe(reader, far_writer), self.pipe(far_reader, writer))

    async def pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()
        self.writers.discard(writer)

    def close(self) -> None:
        self.is_open = False
        for writer in list(self.writers):
            writer.transport.abort()


def elixir(value: Any) -> str:
    """Return a value in Elixir's syntax."""
    match value:
        case None | True | False:
            return {None: "nil", True: "true", False: "false"}[value]
        case str():
            return f"<<{','.join(map(str, value.encode()))}>>"
        case dict():
            return f"%{{{','.join(f'{elixir(k)} => {elixir(v)}' for k, v in value.items())}}}"
        case list():
            return f"[{','.join(map(elixir, value))}]"
        case _:
            return str(value)


class Node:
    """A node in a process of its own, and the oracle: what it was told to track."""

    def __init__(self, language: str, port: int, places: Places, program: Program | None = None) -> None:
        self.language = language
        self.program = program
        self.gate = Gate(port)
        self.places = places
        self.child: asyncio.subprocess.Process | None = None
        self.tracked: dict[Entry, tuple[dict[str, Any], int]] = {}
        self.expected: list[bool | None] = []
        """The results of the writes that are not answered yet."""

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self.child is not None
        return self.child

    async def start(self) -> None:
        self.url = await self.gate.listen()
        await self.run()

    async def run(self) -> None:
        folder, command = self.program or PROGRAMS[self.language]
        environment = {**os.environ, "MIX_ENV": "test", "HEADCOUNT_NIF_FEATURES": "nats"}
        pipe = asyncio.subprocess.PIPE
        self.child = await asyncio.create_subprocess_exec(
            *command, self.url, self.language, cwd=folder, env=environment, stdin=pipe, stdout=pipe, limit=2**26
        )
        line = await self.line()
        assert line == "ready", f"{self.language}: {line}"
        assert await self.ask("watch", topics=self.places.topics)

    async def line(self) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode().strip()
        if not line:
            raise AssertionError(f"{self.language} has ended: {await self.process.wait()}")
        return line

    def send(self, verb: str, **values: Any) -> None:
        assert self.process.stdin is not None
        text = json.dumps({"verb": verb, **values})
        if self.language == "elixir":
            order = ["owner", "topic", "key", "meta", "status", "topics"]
            defaults = {"meta": {}, "status": 0} if verb in ("track", "update", "untrack") else {}
            parts = {**defaults, **values}
            text = f"{{{','.join([f':{verb}', *(elixir(parts[name]) for name in order if name in parts)])}}}"
        self.process.stdin.write(text.encode() + b"\n")

    def write(self, rng: random.Random) -> None:
        """Send a random write, and note what it does and answers."""
        topic, key, owner = entry = self.places.entry(rng)
        if self.tracked and rng.random() < 0.5:
            topic, key, owner = entry = rng.choice(list(self.tracked))
        what = {"topic": topic, "key": key, "owner": owner}
        content = self.places.content(rng, topic)
        is_tracked = entry in self.tracked
        roll = rng.random()
        if roll < 0.005:
            self.send("gone", owner=owner)
            self.expected.append(None)
            self.tracked = {entry: held for entry, held in self.tracked.items() if entry[2] != owner}
        elif roll < 0.2:
            self.send("untrack", **what)
            self.expected.append(is_tracked)
            self.tracked.pop(entry, None)
        else:
            verb = rng.choice(["track", "update"])
            self.send(verb, **what, meta=content[0], status=content[1])
            is_done = is_tracked == (verb == "update")
            self.expected.append(is_done)
            if is_done:
                self.tracked[entry] = content

    async def settle(self) -> None:
        """Read the answers to all writes."""
        for number, expected in enumerate(self.expected):
            answer = json.loads(await self.line())
            if expected is not None and answer != expected:
                raise AssertionError(f"{self.language}: answer {number} is {answer}, not {expected}")
        self.expected.clear()

    async def ask(self, verb: str, **values: Any) -> Any:
        await self.settle()
        self.send(verb, **values)
        return json.loads(await self.line())

    async def state(self) -> dict[str, dict[str, Any]]:
        """Return what the node lists and counts in each topic."""
        state = await self.ask("state", topics=self.places.topics)
        in_order = self.places.in_order
        return {topic: {**held, "entries": in_order(topic, held["entries"])} for topic, held in state.items()}

    async def end(self) -> None:
        self.gate.close()
        if self.child is not None and self.child.returncode is None:
            self.child.kill()
            await self.child.wait()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()
        self.tracked.clear()
        self.expected.clear()
