"""A Redis of the tests' own: started once a session on a free port, a key prefix for each test that asks."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class Redis:
    """A server that keeps nothing on disk. It can be killed and started again: its memory is lost."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._options = options
        self.start()

    @property
    def uri(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when it answers."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "Redis is not installed: `make test` installs it"
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 *self._options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "Redis does not answer"

    def kill(self) -> None:
        """At once; what it had is gone."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            time.sleep(0.01)
            return False


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """The server that tests share."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()
