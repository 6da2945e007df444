"""A PostgreSQL of the tests' own: started once a session on a free port, a schema for each test that asks."""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()


def _binaries() -> Path:
    """The newest that is installed; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    assert initdb, "PostgreSQL is not installed: `make test` installs it"
    return Path(initdb).parent


class Postgres:
    """A cluster in a directory. It can be stopped, killed and started again: what it has is kept."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._options = options
        # PostgreSQL does not run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "--username=graphwire", "--encoding=UTF8", "--no-sync",
                  "--locale=C", "-D", str(folder / "data"))  # fmt: skip
        self.start()

    @property
    def uri(self) -> str:
        return f"postgresql://graphwire@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when it takes connections."""
        own = (f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}")
        settings = (*own, "max_connections=300", *self._options)
        options = " ".join(f"-c {setting}" for setting in settings)
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", log, "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """`fast` cuts every connection; `immediate` is a crash."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.folder / "data"))

    def _run(self, program: str, *arguments: str) -> None:
        if self._user:  # whoever starts pytest closes the folder of all temporary files again
            for parent in self.folder.parents:
                if parent.stat().st_uid == 0 and parent != Path(parent.anchor) and parent.name != "tmp":
                    parent.chmod(parent.stat().st_mode | 0o011)
        # Its output goes to a file: the server would inherit a pipe and keep it open.
        said = self.folder.parent / f"{self.folder.name}-{program}.log"
        done = subprocess.run(
            [_binaries() / program, *arguments],
            cwd=self.folder,
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            stdin=subprocess.DEVNULL,
            stdout=said.open("w"),
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, f"{program} failed: {said.read_text()}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The cluster that tests share."""
    folder = Path(tempfile.mkdtemp(prefix="graphwire-postgres-"))  # pytest keeps its own from other users
    cluster = Postgres(folder, "fsync=off", "full_page_writes=off")
    yield cluster
    cluster.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_schema() -> Callable[[], str]:
    """Names of schemas that nobody has."""
    return lambda: f"test_{os.getpid()}_{next(_numbers)}"
