"""Several processes on one PostgreSQL and one Redis: each can die alone, and the ways to both can be cut."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_engine import Distributed, namespace_of
from fix_fork import fork
from fix_postgres import Postgres
from fix_proxy import Proxy
from fix_redis import Redis
from fix_rows import Rows
from fix_server import CONFIG, Server, free_port, start, stop

STOP_SECONDS = 30.0


class Api:
    """A process that takes requests. It keeps its port when it starts again."""

    def __init__(self, begin: Callable[..., Server]) -> None:
        self._begin = begin
        self.server = begin()

    @property
    def pid(self) -> int:
        return self.server.process.pid

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    def stop(self) -> None:
        stop(self.server)

    def restart(self) -> Server:
        """After it was killed or stopped; returns when it answers."""
        self.server = self._begin(port=self.server.port)
        return self.server

    @property
    def log(self) -> str:
        return self.server.log


class Worker:
    """A process that executes runs and takes no requests. Its log tells when it began."""

    def __init__(self, folder: Path, config: Path, env: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        self._config, self._env, self._log_path = config, env, folder / "server.log"
        self._port = free_port()
        self.restart()

    def restart(self) -> None:
        """After it was killed or stopped."""
        flags = ["--config", str(self._config), "--port", str(self._port)]
        self.process = fork(["worker", *flags], self._env, self._log_path)

    @property
    def probes(self) -> Server:
        """What it shows of itself."""
        return Server(self._port, self.process, self._log_path, self._log_path.parent)

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As a replacement does it; the exit status."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")


@dataclass(frozen=True)
class Cluster:
    apis: list[Api]
    workers: list[Worker]
    to_postgres: Proxy
    to_redis: Proxy
    rows: Rows
    add_worker: Callable[[], Worker]  # one more

    @property
    def servers(self) -> list[Server]:
        """The API processes, to be asked."""
        return [api.server for api in self.apis]

    def close(self) -> None:
        for member in (*self.apis, *self.workers):
            member.kill()
        self.to_postgres.close()
        self.to_redis.close()


@pytest.fixture(scope="module")
def start_cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis
) -> Iterator[Callable[..., Cluster]]:
    """`start_cluster(apis=2, workers=2)`: without workers the API processes execute the runs themselves."""
    started: list[Cluster] = []

    def start_one(
        *,
        apis: int = 1,
        workers: int = 0,
        config: Path = CONFIG,
        postgres: Postgres = postgres,
        redis: Redis = redis,
        **env: str,
    ) -> Cluster:
        folder = tmp_path_factory.mktemp("server")
        ways = Proxy(postgres.port), Proxy(redis.port)
        engine = Distributed(ways[0].uri(postgres.uri), ways[1].uri(redis.uri), namespace_of(folder))
        flags = ["--role", "api" if workers else "all"]

        def begin(number: int, **options: Any) -> Server:
            return start(folder / f"api{number}", config, *flags, engine=engine, **options, **env)

        rows = Rows(postgres.uri, str(engine.namespace))

        def add_worker() -> Worker:
            own = {**engine.environment(folder), "PYTHONUNBUFFERED": "1", **env}
            cluster.workers.append(Worker(folder / f"worker{len(cluster.workers)}", config, own))
            return cluster.workers[-1]

        cluster = Cluster([], [], *ways, rows, add_worker)
        started.append(cluster)
        for number in range(apis):
            cluster.apis.append(Api(lambda number=number, **options: begin(number, **options)))
        for _ in range(workers):
            cluster.add_worker()
        return cluster

    yield start_one
    for cluster in started:
        cluster.close()
