"""Nodes over a real `nats-server`: processes that are killed and forked, servers that go, TLS, credentials."""

import asyncio
import json
import logging
import pathlib
import subprocess
import sys
import threading
import unittest
from types import TracebackType
from typing import Any, Self

import headcount
from headcount import ConnectError, aio
from nats_server import Certificates, NatsServer
from waiting import keys, until, wait_until

FAST: dict[str, Any] = {"heartbeat": 0.2, "down_after": 2.0}
HERE = pathlib.Path(__file__).resolve().parent


class Process:
    """A node in a process of its own, which is killed at the end."""

    def __init__(self, url: str, name: str, mode: str = "all") -> None:
        program = str(HERE / "node_process.py")
        command = [sys.executable, "-W", "ignore::DeprecationWarning", program, url, name, mode]
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.line() == "ready"

    def line(self) -> Any:
        assert self.child.stdout is not None
        return json.loads(self.child.stdout.readline())

    def ask(self, command: str) -> Any:
        assert self.child.stdin is not None
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return self.line()

    def lists(self, expected: list[str]) -> None:
        wait_until(lambda: bool(self.ask("keys room") == expected))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.child.kill()
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            if stream is not None:
                stream.close()


class Processes(unittest.TestCase):
    def test_two_processes_one_of_which_is_killed_and_one_ends(self) -> None:
        with NatsServer() as server, Process(server.url, "a") as a:
            with Process(server.url, "b") as b:
                a.ask("track room ann")
                b.ask("track room bob")
                a.lists(["ann", "bob"])
                b.lists(["ann", "bob"])
            a.lists(["ann"])
            with Process(server.url, "b") as b:
                b.ask("track room eve")
                a.lists(["ann", "eve"])
                assert b.child.stdin is not None
                b.child.stdin.close()  # It says Goodbye.
                self.assertEqual(b.child.wait(), 0)
                b.child.stdin = None
            a.lists(["ann"])

    def test_a_fork_has_nodes_of_its_own(self) -> None:
        with NatsServer() as server, Process(server.url, "a") as a:
            a.ask("track room ann")
            self.assertEqual(a.ask("fork"), "ForkError")
            a.lists(["ann"])
            a.ask("track room bob")
            a.lists(["ann", "bob"])

    def test_a_server_that_goes_and_returns(self) -> None:
        with NatsServer() as server, Process(server.url, "a") as a, Process(server.url, "b") as b:
            a.ask("track room ann")
            b.lists(["ann"])
            server.kill()
            b.lists([])
            a.ask("track room bob")
            server.start()
            b.lists(["ann", "bob"])
            self.assertGreater(b.ask("errors"), 0)


class Watches(unittest.IsolatedAsyncioTestCase):
    async def test_nodes_are_sent_what_they_watch(self) -> None:
        options: dict[str, Any] = {**FAST, "mode": "interest", "unwatch_after": 0.3}
        with NatsServer() as server, Process(server.url, "c", "interest") as c:
            c.ask("track room cleo")
            async with (
                aio.connect(server.url, name="a", **options) as a,
                aio.connect(server.url, name="b", **options) as b,
            ):
                a.track("room", "ann", "c")
                await until(lambda: b.is_synced() and len(b.replicas()) == 2)
                self.assertEqual(len(b), 0)
                with self.assertRaises(headcount.NotWatched):
                    b.list("room")
                async with b.watch("room") as watch:
                    await watch.ready()
                    self.assertEqual(keys(b, "room"), ["ann", "cleo"])
                    async with b.subscribe("room") as changes:
                        await anext(changes)
                        before = deltas(b)
                        for n in range(20):
                            a.track("hall", f"user {n}", "c")
                            await asyncio.sleep(0.01)
                        a.track("room", "bob", "c")
                        self.assertEqual([e.key for e in (await anext(changes)).joins], ["bob"])
                        self.assertEqual(deltas(b), before + 1, "what is not watched does not arrive")
                        c.child.kill()
                        self.assertEqual([e.key for e in (await anext(changes)).leaves], ["cleo"])
                    async with b.watch("hall") as hall:
                        await hall.ready()
                        self.assertEqual((b.count("hall"), keys(b, "room")), (20, ["ann", "bob"]))
                await until(lambda: len(b) == 0)
                before = deltas(b)
                a.untrack("room", "bob", "c")
                beats = b.stats()["received"]["beat"]["frames"]
                await until(lambda: b.stats()["received"]["beat"]["frames"] > beats + 2)
                self.assertEqual((deltas(b), len(b)), (before, 0))


    async def test_nodes_count_what_they_do_not_hold(self) -> None:
        options: dict[str, Any] = {**FAST, "mode": "interest", "counts": True, "unwatch_after": 0.3}
        with NatsServer() as server, Process(server.url, "c", "counts") as c:
            c.ask("track room ann")
            async with (
                aio.connect(server.url, name="a", **options) as a,
                aio.connect(server.url, name="b", **options) as b,
            ):
                a.track("room", "ann", "c")
                a.track("room", "bob", "c")
                await until(lambda: b.is_synced() and len(b.replicas()) == 2)
                with self.assertRaises(headcount.NotWatched):
                    b.count("room")
                async with b.watch_counts("room") as watch:
                    await watch.ready()
                    await until(lambda: b.count("room") == 3)
                    keys = b.count_keys("room")
                    self.assertEqual((keys.at_least, keys.at_most, len(b)), (2, 3, 0))
                    c.ask("untrack room ann")
                    c.ask("track room cleo")
                    c.ask("track room dan")
                    await until(lambda: b.count("room") == 4)
                    c.child.kill()
                    await until(lambda: b.count("room") == 2)
                    self.assertEqual((b.count_keys("room").is_exact, b.stats()["entries"]), (True, 0))
                with self.assertRaises(headcount.NotWatched):
                    b.count("room")


def deltas(node: aio.Node) -> int:
    received = node.stats()["received"]
    return received["delta"]["frames"] if "delta" in received else 0


class Connections(unittest.IsolatedAsyncioTestCase):
    async def test_a_loop_that_is_blocked_hides_nobody(self) -> None:
        with NatsServer() as server:
            async with aio.connect(server.url, name="a", **FAST) as a:
                async with aio.connect(server.url, name="b", **FAST) as b, b.events() as events:
                    a.track("room", "ann", "c")
                    await until(lambda: b.count("room") == 1 and len(a.replicas()) == 1)
                    try:
                        async with asyncio.timeout(0.5):
                            while (await anext(events)).kind:
                                pass
                    except TimeoutError:
                        pass
                    done = threading.Event()
                    threading.Timer(3.0, done.set).start()
                    done.wait()
                    self.assertEqual((a.replicas(), b.replicas()), ([(b.replica, True)], [(a.replica, True)]))
                    with self.assertRaises(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await anext(events)

    async def test_a_node_that_starts_before_the_server(self) -> None:
        server = NatsServer()
        with self.assertLogs("headcount", logging.WARNING) as logged:
            joining = asyncio.ensure_future(aio.connect(server.url, name="a", timeout=60).start())
            await until(lambda: bool(logged.records))
            server.start()
            a = await joining
        await a.stop()
        server.kill()
        self.assertIn("next attempt in", logged.output[0])
        with self.assertRaises(ConnectError) as raised:
            await aio.connect(server.url, timeout=0)
        self.assertTrue(raised.exception.is_transient)

    async def test_an_attempt_that_is_cancelled_leaves_no_node(self) -> None:
        with NatsServer() as server:
            async with aio.connect(server.url, name="a", **FAST) as a:
                for _ in range(3):
                    joining = asyncio.ensure_future(aio.connect(server.url, name="b", **FAST).start())
                    await asyncio.sleep(0)
                    joining.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await joining
                await asyncio.sleep(0.5)
                await until(lambda: not any(up for _, up in a.replicas()))

    async def test_users_tokens_and_urls_with_passwords(self) -> None:
        with NatsServer("--user", "ann", "--pass", "secret") as server:
            async with (
                aio.connect(server.url, name="a", user="ann", password="secret") as a,
                aio.connect(server.url.replace("//", "//ann:secret@"), name="b") as b,
            ):
                a.track("room", "ann", "c")
                await until(lambda: keys(b, "room") == ["ann"])
            for options in ({}, {"user": "ann", "password": "wrong"}, {"token": "x"}):
                with self.assertRaises(ConnectError) as raised:
                    await aio.connect(server.url, **options)  # type: ignore[arg-type]
                self.assertFalse(raised.exception.is_transient)
                self.assertNotIn("secret", str(raised.exception))
            with self.assertRaisesRegex(ValueError, "go together"):
                await aio.connect(server.url, user="ann")
            for option in ("credentials", "tls_ca"):
                with self.assertRaisesRegex(FileNotFoundError, option) as missing:
                    await aio.connect(server.url, **{option: "/no/such/file"})  # type: ignore[arg-type]
                self.assertEqual(missing.exception.filename, "/no/such/file")
        with NatsServer("--auth", "t0ken") as server:
            with self.assertNoLogs("headcount", logging.WARNING):
                async with aio.connect(server.url, name="a", token="t0ken"):
                    pass
                headcount.connect(server.url, name="a", token="t0ken").stop()
            async with aio.connect(server.url.replace("//", "//t0ken@"), name="a"):
                pass

    async def test_credentials_and_keys(self) -> None:
        data = pathlib.Path(__file__).parents[3] / "core" / "tests" / "nats"
        file = data / "user.creds"
        with NatsServer("-c", str(data / "server.conf")) as server:
            async with (
                aio.connect(server.url, name="a", credentials=file) as a,
                aio.connect(server.url, name="b", credentials=str(file)) as b,
            ):
                a.track("room", "ann", "c")
                await until(lambda: keys(b, "room") == ["ann"])
            with self.assertRaises(ConnectError):
                await aio.connect(server.url, timeout=0)
        seed = next(line for line in file.read_text().splitlines() if line.startswith("SU"))
        with NatsServer("-c", str(data / "users.conf")) as server:
            async with aio.connect(server.url, name="a", nkey=seed):
                pass
            with self.assertRaisesRegex(OSError, r"credentials: cannot read .*users\.conf: "):
                await aio.connect(server.url, credentials=data / "users.conf")

    async def test_both_sides_show_certificates(self) -> None:
        made = Certificates()
        self.addCleanup(made.close)
        options = ["--tlsverify", f"--tlscert={made.cert}", f"--tlskey={made.key}", f"--tlscacert={made.root}"]
        with NatsServer(*options) as server:
            async with (
                aio.connect(server.url, name="a", tls_ca=made.root, tls_cert=made.cert, tls_key=made.key) as a,
                aio.connect(server.url, name="b", tls_ca=made.root, tls_cert=made.cert, tls_key=made.key) as b,
            ):
                a.track("room", "ann", "c")
                await until(lambda: keys(b, "room") == ["ann"])
            with self.assertRaises(ConnectError):
                await aio.connect(server.url, tls_ca=made.root, timeout=0)
            with self.assertRaisesRegex(ValueError, "tls_cert and tls_key go together"):
                await aio.connect(server.url, tls_cert=made.cert)

    async def test_tls(self) -> None:
        certificates = Certificates()
        options = ["--tls", "--tlscert", str(certificates.cert), "--tlskey", str(certificates.key)]
        with NatsServer(*options) as server:
            url = server.url.replace("nats://", "tls://")
            async with (
                aio.connect(url, name="a", tls_ca=certificates.root) as a,
                aio.connect(server.url, name="b", tls_ca=str(certificates.root)) as b,
            ):
                a.track("room", "ann", "c")
                await until(lambda: keys(b, "room") == ["ann"])
            with self.assertRaises(ConnectError):
                await aio.connect(url, name="c", timeout=0)
        with NatsServer() as plain:
            for demanded in ({"tls": True}, {"tls_ca": certificates.root}):
                with self.assertRaises(ConnectError):
                    await aio.connect(plain.url, name="c", timeout=0, **demanded)
        certificates.close()

    async def test_clusters_and_keys_keep_strangers_out(self) -> None:
        key = b"0123456789abcdef"
        with NatsServer() as server, self.assertLogs("headcount", logging.WARNING) as logged:
            async with (
                aio.connect(server.url, name="a", key=key, **FAST) as a,
                aio.connect(server.url, name="b", key=key, **FAST) as b,
                aio.connect(server.url, name="c", **FAST) as stranger,
                aio.connect(server.url, name="d", cluster="other", **FAST) as elsewhere,
            ):
                for node in (a, stranger, elsewhere):
                    node.track("room", node.replica.name, "c")
                await until(lambda: keys(b, "room") == ["a"])
                await until(lambda: sum(b.stats()["refused"].values()) > 3)
                self.assertEqual((keys(b, "room"), keys(stranger, "room")), (["a"], ["c"]))
        self.assertIn("refused frame 2", "\n".join(logged.output))


class Threads(unittest.TestCase):
    def test_a_node_for_threads(self) -> None:
        with NatsServer() as server, headcount.connect(server.url, name="a", **FAST) as a:
            with headcount.connect(server.url, name="b", **FAST) as b, b.subscribe("room") as changes:
                self.assertEqual(changes.next(60).joins, [])
                a.track("room", "ann", "c")
                self.assertEqual(changes.next(60).joins[0].key, "ann")


if __name__ == "__main__":
    unittest.main()
