"""A `nats-server` for tests (Debian package nats-server), on a port that nothing else has."""

import pathlib
import socket
import subprocess
import tempfile
from types import TracebackType
from typing import Self

from waiting import wait_until


class NatsServer:
    """A server that can be killed and started again on its port; a context manager."""

    def __init__(self, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"nats://127.0.0.1:{self.port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class Certificates:
    """A root and a certificate of 127.0.0.1 in a temporary folder, made by `openssl`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._folder.name)
        self.root, self.cert, self.key = folder / "root.pem", folder / "cert.pem", folder / "key.pem"
        root_key, request, names = folder / "root-key.pem", folder / "request.pem", folder / "names.txt"
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
        commands = [
            [*new, "-x509", "-days", "2", "-subj", "/CN=root", "-keyout", root_key, "-out", self.root],
            [*new, "-subj", "/CN=server", "-keyout", self.key, "-out", request],
            [
                "openssl", "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", root_key,
                "-CAcreateserial", "-days", "2", "-extfile", names, "-out", self.cert,
            ],
        ]  # fmt: skip
        for command in commands:
            subprocess.run([str(part) for part in command], check=True, capture_output=True)

    def close(self) -> None:
        self._folder.cleanup()
