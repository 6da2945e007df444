"""PostgreSQL and Redis go away under load and come back: no run is lost, and requests are refused in time."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fix_cluster import Cluster
from fix_cluster_crowd import Story, check, live_through
from fix_ledger import Ledger
from fix_postgres import Postgres
from fix_redis import Redis
from fix_server import CONFIG, Server, eventually

SEED = int(os.environ["FAULT_SEED"])  # conftest.py chooses one
USERS = 20
REFUSED_SECONDS = 8.0  # the longest that a request may take that is refused
FAULTS = CONFIG.with_name("faults.json")
ENVIRONMENT = {"BG_JOB_MAX_RETRIES": "1000", "GRAPHWIRE_LEASE_SECONDS": "2"}
LONG_SECONDS = 10.0

pytestmark = [pytest.mark.alone, pytest.mark.nightly, pytest.mark.timeout(300)]

Trouble = Callable[[Cluster], None]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One of this file's own: it does not come to a good end. It keeps what it says that it has."""
    folder = tmp_path_factory.mktemp("postgres")
    cluster = Postgres(folder)
    yield cluster
    cluster.stop("immediate")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cluster(start_cluster: Callable[..., Cluster], postgres: Postgres, redis: Redis) -> Cluster:
    made = start_cluster(apis=2, workers=2, config=FAULTS, postgres=postgres, redis=redis, **ENVIRONMENT)
    made.rows.write_history()
    return made


@pytest.fixture
def live(cluster: Cluster, tmp_path: Path) -> Callable[..., Story]:
    """Have users live through some trouble, between a second before and a second after it."""

    def live(trouble: Callable[[], None]) -> Story:
        def begin(failed: threading.Event) -> dict[int, float]:
            failed.wait(1.0)
            trouble()
            failed.wait(1.0)
            return {}

        story = live_through(cluster, Ledger(tmp_path / "ledger"), USERS, SEED, begin)
        check(story)
        logs = [member.log for member in (*cluster.apis, *cluster.workers)]
        assert not [log for log in logs if "Traceback" in log]
        return story

    return live


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_restarted(live: Callable[..., Story], postgres: Postgres, mode: str) -> None:
    def restart() -> None:
        for seconds in (0, 0.5, 1):
            postgres.stop(mode)
            pause(seconds)
            postgres.start()
            pause(1)

    live(restart)


def test_redis_is_killed_and_comes_back_empty(live: Callable[..., Story], redis: Redis) -> None:
    def restart() -> None:
        for seconds in (0, 0.5, 1):
            redis.kill()
            pause(seconds)
            redis.start()
            pause(1)

    story = live(restart)
    assert story.refusals == []


@pytest.mark.parametrize("how", ["cut", "silent"])
def test_the_way_to_postgresql_is_gone_for_ten_seconds(
    live: Callable[..., Story], cluster: Cluster, how: str
) -> None:
    def part() -> None:
        with getattr(cluster.to_postgres, how)():
            pause(LONG_SECONDS)

    story = live(part)
    assert max(story.refusals, default=0) < REFUSED_SECONDS


@pytest.mark.parametrize("how", ["cut", "silent"])
def test_the_way_to_redis_is_gone_for_ten_seconds(
    live: Callable[..., Story], cluster: Cluster, how: str
) -> None:
    def part() -> None:
        with getattr(cluster.to_redis, how)():
            pause(LONG_SECONDS)

    story = live(part)
    assert story.refusals == []


@pytest.mark.parametrize("how", ["cut", "silent"])
def test_requests_are_refused_in_time_while_postgresql_is_away(cluster: Cluster, how: str) -> None:
    server = cluster.servers[0]
    thread = server.new_thread()
    server.wait("echo", {"data": "x"}, thread)
    body = {"assistant_id": "echo", "input": {"data": "y"}}
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"/threads/{thread}", None),
        ("GET", f"/threads/{thread}/state", None),
        ("GET", f"/threads/{thread}/stream", None),
        ("POST", "/threads", {}),
        ("POST", f"/threads/{thread}/runs", body),
        ("POST", f"/threads/{thread}/runs/stream", body),
        ("POST", "/runs/wait", body),
        ("POST", "/assistants/search", {}),
        ("PUT", "/store/items", {"namespace": ["a"], "key": "b", "value": {}}),
    ]
    with getattr(cluster.to_postgres, how)():
        answers = at_once(server, requests * 4)
    assert {status for status, *_ in answers} == {503}
    assert {after for _, after, *_ in answers} == {"1"}
    assert {detail for *_, detail, _ in answers} == {
        "The database cannot be reached at present; try again later."
    }
    assert max(seconds for *_, seconds in answers) < REFUSED_SECONDS
    assert eventually(lambda: server.request("POST", "/threads", {}).status == 200)
    assert server.wait("echo", {"data": "z"}, thread)


def at_once(server: Server, requests: list[tuple[str, str, Any]]) -> list[tuple[int, str | None, str, float]]:
    """(status, retry-after, detail, seconds) of requests that are made together."""

    def ask(request: tuple[str, str, Any]) -> tuple[int, str | None, str, float]:
        began = time.monotonic()
        response = server.request(*request)
        detail = response.json().get("detail")
        return response.status, response.header("retry-after"), detail, time.monotonic() - began

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))
