"""A PgBouncer in transaction mode before the PostgreSQL of the tests: each transaction in another session."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_postgres import Postgres

SESSIONS = 3  # of PostgreSQL, for all connections together: fewer than any process would open


class PgBouncer:
    def __init__(self, folder: Path, postgres: Postgres) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._folder, self._settings = folder, folder / "pgbouncer.ini"
        self._settings.write_text(
            f"[databases]\n"
            f"postgres = host=127.0.0.1 port={postgres.port} user=graphwire\n"
            f"[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {SESSIONS}\nmax_client_conn = 200\n"
            # What a session was left with meets whoever is next.
            f"server_reset_query =\nserver_round_robin = 1\n"
        )
        # It does not run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
            shutil.chown(self._settings, self._user)
        self.start()

    @property
    def uri(self) -> str:
        return f"postgresql://graphwire@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when it takes connections."""
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "PgBouncer is not installed: `make test` installs it"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, str(self._settings)],
                cwd=self._folder,
                user=self._user,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while not self._listens():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "PgBouncer does not listen"

    def kill(self) -> None:
        """At once: every connection is cut."""
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
            return False
        return True


@pytest.fixture
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    folder = Path(tempfile.mkdtemp(prefix="graphwire-pgbouncer-"))  # pytest keeps its own from other users
    pooler = PgBouncer(folder, postgres)
    yield pooler
    pooler.kill()
    shutil.rmtree(folder)
