"""One cluster of a Rust, an Elixir and a Python node over one `nats-server`, each node a process that is commanded
by lines, against an oracle: what the driver told each living node to track.

Every node is killed and started again, stopped and continued, and cut off from the server, twice in a row each, while
all of them write at random. At rest all of them must list the same entries, with metas, statuses and counts. Time is
counted in the heartbeats of the nodes that the driver sees on the wire. Usage: cluster.py [SEED]
"""

import asyncio
import json
import os
import pathlib
import random
import secrets
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS: dict[str, tuple[pathlib.Path, list[str]]] = {
    "rust": (ROOT, [str(ROOT / "target/debug/examples/mixed_node")]),
    "python": (ROOT, [sys.executable, str(ROOT / "ffi-python/tests/mixed/node.py")]),
    "elixir": (ROOT / "ffi-elixir", ["mix", "run", "--no-compile", "--no-deps-check", "test/mixed/node.exs"]),
}
WRITES = 200
"""The writes of each node for each fault."""
BEATS_MAX = 300
"""The heartbeats of the slowest node within which all nodes must agree."""
BEATS_STILL = 3
"""The heartbeats through which they must still agree."""

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
OWNERS = [f"conn-{n}" for n in range(4)]
Entry = tuple[str, str, str]
"""A topic, a key and an owner."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Observer:
    """Counts the Beats of each node, one for each heartbeat, as a subscriber of the cluster's subject."""

    BEAT = 2
    HEADER = 16

    def __init__(self) -> None:
        self.beats: Counter[str] = Counter()
        self.news = asyncio.Condition()

    async def follow(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'CONNECT {"verbose":false}\r\nSUB headcount.headcount.all 1\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            elif line.startswith(b"MSG"):
                await self.note((await reader.readexactly(int(line.split()[-1]) + 2))[:-2])
        raise RuntimeError("nats-server has ended")

    async def note(self, frame: bytes) -> None:
        """Count a Beat: a kind, and after the header the sender's name, which begins with its length."""
        if frame[4] != self.BEAT:
            return
        body = frame[self.HEADER :]
        async with self.news:
            self.beats[body[1 : 1 + body[0]].decode()] += 1
            self.news.notify_all()

    async def wait(self, names: Iterable[str], beats: int) -> None:
        """Wait for so many heartbeats of each of these nodes."""
        goals = {name: self.beats[name] + beats for name in names}
        begun = self.beats.copy()
        async with self.news:
            while late := [name for name, goal in goals.items() if self.beats[name] < goal]:
                fastest = max((self.beats[name] - begun[name] for name in self.beats), default=0)
                if fastest > beats + BEATS_MAX:
                    raise AssertionError(f"no heartbeats of {late}")
                await self.news.wait()


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

    def __init__(self, language: str, port: int) -> None:
        self.language = language
        self.gate = Gate(port)
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
        folder, command = PROGRAMS[self.language]
        environment = {**os.environ, "MIX_ENV": "test", "HEADCOUNT_NIF_FEATURES": "nats"}
        pipe = asyncio.subprocess.PIPE
        self.child = await asyncio.create_subprocess_exec(
            *command, self.url, self.language, cwd=folder, env=environment, stdin=pipe, stdout=pipe, limit=2**26
        )
        line = await self.line()
        assert line == "ready", f"{self.language}: {line}"

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
            defaults = {} if verb in ("state", "gone") else {"meta": {}, "status": 0}
            parts = {**defaults, **values}
            text = f"{{:{verb},{','.join(elixir(parts[name]) for name in order if name in parts)}}}"
        self.process.stdin.write(text.encode() + b"\n")

    def write(self, rng: random.Random) -> None:
        """Send a random write, and note what it does and answers."""
        topic, key, owner = entry = rng.choice(TOPICS), rng.choice(KEYS), rng.choice(OWNERS)
        if self.tracked and rng.random() < 0.5:
            topic, key, owner = entry = rng.choice(list(self.tracked))
        what = {"topic": topic, "key": key, "owner": owner}
        content = rng.choice(METAS), rng.randrange(4)
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

    async def state(self) -> Any:
        await self.settle()
        self.send("state", topics=TOPICS)
        state = json.loads(await self.line())
        return {topic: {**held, "entries": in_order(held["entries"])} for topic, held in state.items()}

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


def in_order(entries: Iterable[list[Any]]) -> list[str]:
    return sorted(json.dumps(entry, sort_keys=True) for entry in entries)


def oracle(nodes: Iterable[Node]) -> dict[str, Any]:
    state = {}
    held = [item for node in nodes for item in node.tracked.items()]
    for topic in TOPICS:
        entries = [[key, meta, status] for (where, key, _), (meta, status) in held if where == topic]
        counts = [len(entries), len({key for key, _, _ in entries})]
        state[topic] = {"entries": in_order(entries), "counts": counts}
    return state


def differences(name: str, state: Any, expected: Any) -> Iterator[str]:
    for topic, right in expected.items():
        got = state[topic]
        missing = Counter(right["entries"]) - Counter(got["entries"])
        extra = Counter(got["entries"]) - Counter(right["entries"])
        if missing or extra or got["counts"] != right["counts"]:
            yield f"{name}, {topic[:20]!r}: counts {got['counts']} for {right['counts']}"
            yield from (f"  missing {entry[:200]}" for entry in missing)
            yield from (f"  extra {entry[:200]}" for entry in extra)


class Cluster:
    def __init__(self, rng: random.Random, port: int) -> None:
        self.rng = rng
        self.observer = Observer()
        self.nodes = [Node(language, port) for language in PROGRAMS]

    def others(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if other is not node]

    def write(self, nodes: list[Node], writes: int) -> None:
        turns = nodes * writes
        self.rng.shuffle(turns)
        for node in turns:
            node.write(self.rng)

    async def agree(self, what: str, views: list[tuple[Node, list[Node]]]) -> None:
        """Wait until each of these nodes lists what those nodes track, and goes on to."""
        beating = [node.language for node, _ in views if node.gate.is_open]
        still = 0
        wrong: list[str] = []
        for _ in range(BEATS_MAX):
            wrong = []
            for node, visible in views:
                state = await self.answer_of(node, [other for other in visible if other is not node])
                wrong += differences(node.language, state, oracle(visible))
            still = 0 if wrong else still + 1
            if still > BEATS_STILL:
                return
            await self.observer.wait(beating, 1)
        raise AssertionError("\n".join([f"{what}: no agreement after {BEATS_MAX} heartbeats", *wrong[:20]]))

    async def answer_of(self, node: Node, others: list[Node]) -> Any:
        """Return the state of a node, which has heartbeats of the others to answer."""
        asked = asyncio.ensure_future(node.state())
        names = [other.language for other in others]
        patience = asyncio.ensure_future(self.observer.wait(names, BEATS_MAX)) if names else asked
        await asyncio.wait({asked, patience}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
            raise AssertionError(f"{node.language} does not answer")
        if patience is not asked:
            patience.cancel()
        return asked.result()

    async def fault(self, kind: str, node: Node) -> None:
        """Let all nodes write around a fault of one; they agree during the fault and after it."""
        what = f"{kind} {node.language}"
        others = self.others(node)
        self.write(self.nodes, WRITES // 2)
        if kind == "kill":
            await node.kill()
            self.write(others, WRITES // 2)
        else:
            await self.begin(kind, node)
            self.write(self.nodes, WRITES // 2)
        views = [(other, others) for other in others]
        if kind == "cut":
            views.append((node, [node]))
        await self.agree(f"during {what}", views)
        await self.end(kind, node)
        await self.agree(f"after {what}", [(each, self.nodes) for each in self.nodes])

    async def begin(self, kind: str, node: Node) -> None:
        if kind == "stop":
            await node.settle()
            node.process.send_signal(signal.SIGSTOP)
        else:
            node.gate.close()

    async def end(self, kind: str, node: Node) -> None:
        if kind == "kill":
            await node.run()
            self.write([node], WRITES // 2)
        elif kind == "stop":
            node.process.send_signal(signal.SIGCONT)
        else:
            node.gate.is_open = True

    async def run(self) -> None:
        await asyncio.gather(*(node.start() for node in self.nodes))
        await self.agree("at the start", [(node, self.nodes) for node in self.nodes])
        for kind in ("kill", "stop", "cut"):
            for node in self.nodes:
                for time in ("once", "again"):
                    await self.fault(kind, node)
                    entries = sum(len(each.tracked) for each in self.nodes)
                    print(f"{kind} {node.language} {time}: {entries} entries agree", flush=True)


async def guarded(work: Callable[[], Any], guard: "asyncio.Task[None]") -> None:
    """Do work; fail as soon as the guard does."""
    task = asyncio.ensure_future(work())
    await asyncio.wait({task, guard}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await guard
    await task


async def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else secrets.randbits(32)
    print(f"SEED={seed}", flush=True)
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        "nats-server", "-a", "127.0.0.1", "-p", str(port), stderr=asyncio.subprocess.DEVNULL
    )
    cluster = Cluster(random.Random(seed), port)
    try:
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
        await guarded(cluster.run, asyncio.ensure_future(cluster.observer.follow(port)))
    except BaseException:
        print(f"failed with SEED={seed}", flush=True)
        raise
    finally:
        for node in cluster.nodes:
            await node.end()
        server.kill()


if __name__ == "__main__":
    asyncio.run(main())
