"""The examples, each with two worker processes over a `nats-server`; one of them is killed."""

import asyncio
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import unittest
import urllib.error
import urllib.request
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from nats_server import NatsServer
from waiting import until, wait_until

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(server: NatsServer, *command: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "NATS_URL": server.url, "TTL": "600"}
    quiet = subprocess.DEVNULL
    run = [sys.executable, "-m", *command]
    return subprocess.Popen(run, cwd=EXAMPLES, env=environment, stdout=quiet, stderr=quiet)


def ask(port: int, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except (urllib.error.URLError, ConnectionError):
        return None


def is_empty(port: int) -> bool:
    return bool(ask(port, "/rooms/lobby") == [])


class FastApi(unittest.IsolatedAsyncioTestCase):
    async def test_two_workers_one_of_which_is_killed(self) -> None:
        ports = free_port(), free_port()
        with NatsServer() as server:
            workers = [start(server, "uvicorn", "fastapi_app:app", "--port", str(port)) for port in ports]
            try:
                for port in ports:
                    await until(functools.partial(is_empty, port))
                await self.visit(ports, workers)
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()

    async def visit(self, ports: tuple[int, int], workers: "list[subprocess.Popen[bytes]]") -> None:
        async with connect(f"ws://127.0.0.1:{ports[0]}/rooms/lobby/ann") as ann:
            present: dict[str, str] = {}
            await self.follow(ann, present, ["ann"])
            async with connect(f"ws://127.0.0.1:{ports[0]}/rooms/lobby/bob"):
                await self.follow(ann, present, ["ann", "bob"])
            await self.follow(ann, present, ["ann"])
            async with connect(f"ws://127.0.0.1:{ports[1]}/rooms/lobby/eve") as eve:
                await self.follow(ann, present, ["ann", "eve"])
                await self.follow(eve, {}, ["ann", "eve"])
                self.assertEqual(ask(ports[1], "/rooms/lobby"), ["ann", "eve"])
                workers[1].kill()
                await self.follow(ann, present, ["ann"])
        await until(functools.partial(is_empty, ports[0]))

    async def follow(
        self, client: ClientConnection, present: dict[str, str], expected: list[str]
    ) -> None:
        """Read until these users are present."""
        async with asyncio.timeout(60):
            while sorted(present.values()) != expected:
                told = json.loads(await client.recv())
                if "reset" in told:
                    present.clear()
                    continue
                present.update({entry["ref"]: entry["user"] for entry in told["joins"]})
                for entry in told["leaves"]:
                    present.pop(entry["ref"], None)


class FlaskAndGunicorn(unittest.TestCase):
    def test_two_workers_one_of_which_is_killed(self) -> None:
        port = free_port()
        options = ["--workers", "2", "--preload", "--bind", f"127.0.0.1:{port}", "flask_app:app"]
        with NatsServer() as server:
            master = start(server, "gunicorn", *options)
            try:
                wait_until(functools.partial(is_empty, port))
                self.visit(port)
            finally:
                master.terminate()
                self.assertEqual(master.wait(60), 0)

    def visit(self, port: int) -> None:
        by_worker: dict[int, list[str]] = {}
        number = 0
        while len(by_worker) < 2:
            number += 1
            user = f"user-{number}"
            visit = ask(port, f"/rooms/lobby/{user}", "POST")
            by_worker.setdefault(visit["worker"], []).append(user)
        everybody = sorted(user for users in by_worker.values() for user in users)
        for _ in range(10):
            wait_until(lambda: bool(ask(port, "/rooms/lobby") == everybody))
        killed, left = by_worker
        if sys.platform != "win32":
            os.kill(killed, signal.SIGKILL)
        wait_until(lambda: bool(ask(port, "/rooms/lobby") == sorted(by_worker[left])))


if __name__ == "__main__":
    unittest.main()
