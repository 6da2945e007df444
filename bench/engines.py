"""A PostgreSQL and a Redis of the bench's own, and Graphwire on them: one process, or several.

They are started as the tests start theirs (tests/fix_postgres.py, tests/fix_redis.py), but PostgreSQL keeps
its promises to the disk, as it does for users.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from redis import Redis as RedisClient

from .processes import HOST, ROOT, Subject, free_port, running
from .server import CONFIG, command

sys.path.append(str(ROOT / "tests"))
from fix_postgres import Postgres
from fix_redis import Redis

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Engines:
    postgres: Postgres
    redis: Redis

    def environment(self, namespace: str) -> dict[str, str]:
        return {
            "DATABASE_URI": self.postgres.uri,
            "REDIS_URI": self.redis.uri,
            "GRAPHWIRE_NAMESPACE": namespace,
        }

    def connections(self) -> int:
        """How many connections PostgreSQL has, without this one."""
        query = (
            "SELECT count(*) - 1 FROM pg_stat_activity "
            "WHERE datname IS NOT NULL AND backend_type = 'client backend'"
        )
        with psycopg.connect(self.postgres.uri) as connection:
            [(count,)] = connection.execute(query).fetchall()
        return int(count)

    def redis_info(self) -> dict[str, float]:
        with RedisClient.from_url(self.redis.uri) as client:
            return {key: value for key, value in client.info().items() if isinstance(value, int | float)}

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time that the two have used."""
        server = int((self.postgres.folder / "data" / "postmaster.pid").read_text().split()[0])
        return {
            "postgres": cpu_seconds(server, reaped=True) + sum(cpu_seconds(pid) for pid in _children(server)),
            "redis": cpu_seconds(self.redis.process.pid),
        }


@dataclass(frozen=True, slots=True)
class Cluster:
    """Graphwire on some engine: where requests go, and its processes by what they do."""

    subject: Subject
    roles: dict[str, list[int]]

    def cpu(self) -> dict[str, float]:
        return {role: sum(cpu_seconds(pid) for pid in pids) for role, pids in self.roles.items()}


@contextmanager
def engines() -> Iterator[Engines]:
    with tempfile.TemporaryDirectory(prefix="bench-engines-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # PostgreSQL runs as another user where we are root
        places = [Path(folder) / name for name in ("postgres", "redis")]
        for place in places:
            place.mkdir()
        redis = Redis(places[1])
        try:
            postgres = Postgres(places[0])
            try:
                yield Engines(postgres, redis)
            finally:
                postgres.stop("immediate")
        finally:
            redis.kill()
            shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def cluster(engines: Engines, namespace: str, *, workers: int) -> AsyncIterator[Cluster]:
    """One process that serves, and so many that execute; none: the one that serves does it too."""
    environment = engines.environment(namespace)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cluster-")))
        port = free_port()
        serving = [sys.executable, *command(port), "--role", "api" if workers else "all"]
        subject = await stack.enter_async_context(running(serving, port, environment, folder / "api.log"))
        roles = {"api" if workers else "serve": [subject.pid or 0]}
        working = []
        for number in range(workers):
            probe = free_port()
            flags = ["worker", "--config", str(CONFIG), "--host", HOST, "--port", str(probe)]
            starting = [sys.executable, "-m", "server", *flags]
            log = folder / f"worker{number}.log"
            worker = await stack.enter_async_context(running(starting, probe, environment, log))
            working.append(worker.pid or 0)
        if working:
            roles["worker"] = working
        await asyncio.sleep(1)  # the first beats and elections
        yield Cluster(subject, roles)


def cpu_seconds(pid: int, *, reaped: bool = False) -> float:
    """Processor time of a process; with `reaped` also of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if reaped else 13])) / TICKS


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
