"""One cluster over one `nats-server` of a Rust, an Elixir and a Python node and the reference server, each a process,
against an oracle: what the driver told each living node to track. The three are commanded by lines, the server by the
sockets of guests.

Every node is killed and started again, stopped and continued, and cut off from NATS, twice in a row each, while
all of them write at random. At rest all of them must list the same entries, with metas, statuses and counts, and hear
each other's signals. Time is counted in the heartbeats of the nodes that the driver sees on the wire. Usage: cluster.py
[SEED]
"""

import asyncio
import contextlib
import random
import secrets
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from nodes import PROGRAMS, TOPICS, Node, Places
from server import Postgres, Server, free_port

WRITES = 200
"""The writes of each node for each fault."""
BEATS_MAX = 300
"""The heartbeats of the slowest node within which all nodes must agree."""
BEATS_STILL = 3
"""The heartbeats through which they must still agree."""
STRANGERS = [str(uuid.UUID(int=n)) for n in range(1, 6)]
"""Users that no database has."""


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


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
            name = body[1 : 1 + body[0]].decode()
            # The server has a new name at each start.
            self.beats["server" if is_uuid(name) else name] += 1
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


def oracle(nodes: Iterable[Node], places: Places) -> dict[str, dict[str, Any]]:
    state: dict[str, dict[str, Any]] = {}
    for topic in places.topics:
        held = [[item for item in node.tracked.items() if item[0][0] == topic] for node in nodes]
        entries = [[key, meta, status] for items in held for (_, key, _), (meta, status) in items]
        state[topic] = {
            "entries": places.in_order(topic, entries),
            "counts": [len(entries), len({key for key, _, _ in entries})],
            "keys of nodes": sum(len({key for (_, key, _), _ in items}) for items in held),
        }
    return state


def differences(name: str, state: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Tell in what a state is not the one expected. A node need not tell of all."""
    for topic, got in state.items():
        for what, right in expected[topic].items():
            if what == "entries" and what in got:
                missing, extra = Counter(right) - Counter(got[what]), Counter(got[what]) - Counter(right)
                yield from (f"{name}, {topic[:20]!r}: missing {entry[:200]}" for entry in missing)
                yield from (f"{name}, {topic[:20]!r}: extra {entry[:200]}" for entry in extra)
            elif got.get(what, right) != right:
                yield f"{name}, {topic[:20]!r}: {what} {got[what]} for {right}"


class Agreement:
    """Waits until nodes agree, by the heartbeats that an observer sees."""

    def __init__(self, places: Places) -> None:
        self.observer = Observer()
        self.places = places

    async def agree(self, what: str, views: list[tuple[Node, list[Node]]]) -> None:
        """Wait until each of these nodes lists what those nodes track, and goes on to."""
        beating = [node.language for node, _ in views if node.gate.is_open]
        still = 0
        wrong: list[str] = []
        for _ in range(BEATS_MAX):
            wrong = []
            for node, visible in views:
                state = await self.answer_of(node, [other for other in visible if other is not node])
                wrong += differences(node.language, state, oracle(visible, self.places))
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


class Cluster(Agreement):
    def __init__(self, rng: random.Random, port: int, database: str) -> None:
        super().__init__(Places([], [*STRANGERS]))
        self.rng = rng
        self.server = Server(port, self.places, database)
        self.programs = [Node(language, port, self.places) for language in PROGRAMS]
        self.nodes = [*self.programs, self.server]

    def others(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if other is not node]

    def write(self, nodes: list[Node], writes: int) -> None:
        turns = nodes * writes
        self.rng.shuffle(turns)
        for node in turns:
            node.write(self.rng)

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
        await self.signal(f"after {what}")

    async def begin(self, kind: str, node: Node) -> None:
        if sys.platform != "win32" and kind == "stop":
            await node.settle()
            node.process.send_signal(signal.SIGSTOP)
        else:
            node.gate.close()

    async def end(self, kind: str, node: Node) -> None:
        if kind == "kill":
            await node.run()
            self.write([node], WRITES // 2)
        elif sys.platform != "win32" and kind == "stop":
            node.process.send_signal(signal.SIGCONT)
        else:
            node.gate.is_open = True

    async def signal(self, what: str) -> None:
        """Wait until each program has heard a signal of each other one. Signals may be lost: they are sent again."""
        missing = {language: PROGRAMS.keys() - {language} for language in PROGRAMS}
        for _ in range(BEATS_MAX):
            for node in self.programs:
                await node.ask("signal", topic=TOPICS[0], key=node.language)
            await self.observer.wait(list(PROGRAMS), 1)
            for node in self.programs:
                missing[node.language] -= set(await node.ask("heard"))
            if not any(missing.values()):
                return
        raise AssertionError(f"{what}: signals not heard: {missing}")

    async def run(self) -> None:
        # It makes the rooms in which the others write.
        await self.server.start()
        await asyncio.gather(*(node.start() for node in self.programs))
        await self.agree("at the start", [(node, self.nodes) for node in self.nodes])
        for kind in ("kill", "stop", "cut"):
            for node in self.nodes:
                for time in ("once", "again"):
                    await self.fault(kind, node)
                    entries = sum(len(each.tracked) for each in self.nodes)
                    print(f"{kind} {node.language} {time}: {entries} entries agree", flush=True)


@contextlib.asynccontextmanager
async def nats_server() -> AsyncIterator[int]:
    """Run a `nats-server`, and return its port once it listens."""
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        "nats-server", "-a", "127.0.0.1", "-p", str(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except ConnectionRefusedError:
                assert server.returncode is None, "nats-server has ended"
                await asyncio.sleep(0.02)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()


async def guarded(work: Callable[[], Any], guard: "asyncio.Task[None]") -> None:
    """Do work; fail as soon as the guard does. End the guard with the work."""
    task = asyncio.ensure_future(work())
    await asyncio.wait({task, guard}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await guard
    guard.cancel()
    await task


async def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else secrets.randbits(32)
    print(f"SEED={seed}", flush=True)
    postgres = Postgres()
    try:
        async with nats_server() as port:
            cluster = Cluster(random.Random(seed), port, await postgres.start())
            try:
                await guarded(cluster.run, asyncio.ensure_future(cluster.observer.follow(port)))
            finally:
                for node in cluster.nodes:
                    await node.end()
    except BaseException:
        print(f"failed with SEED={seed}", flush=True)
        raise
    finally:
        await postgres.end()


if __name__ == "__main__":
    asyncio.run(main())
