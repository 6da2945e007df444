"""kill -9 while crons fire, and servers that were down: every tick makes its run, and none makes two (D11).

Nothing here waits for a clock: while the server is down, the dates of its crons are put into the past.
"""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fix_server import CONFIG, Server, eventually, spawn, start, stop

CRONS = 200
LONG_AGO = "2020-01-01T00:00:00.000000+00:00"
FAULTS = CONFIG.with_name("faults.json")


class Machine:
    """Servers, one after the other, on the same directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server: Server | None = None

    def start(self) -> Server:
        self.server = start(self._folder, FAULTS)
        return self.server

    def stop(self) -> None:
        if self.server is not None:
            stop(self.server)

    def start_and_kill_at_the_next_run(self) -> None:
        """As soon as one run more is stored than there were, while others are being made."""
        before = self.value("SELECT count(*) FROM runs")
        arguments = ["serve", "--no-reload", "--config", str(FAULTS), "--port", "0"]
        env = {"GRAPHWIRE_DATA_DIR": str(self._folder / "data")}
        process = spawn(arguments, env, self._folder / "server.log")
        fired = eventually(lambda: self.value("SELECT count(*) FROM runs") > before, seconds=60)
        process.kill()
        process.wait()
        assert fired

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        database = f"file:{self._folder / 'data' / 'graphwire.db'}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as connection:
            return connection.execute(query).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def let_be_due(self, since: str) -> None:
        """While no server is there: all crons have been due since then."""
        with closing(sqlite3.connect(self._folder / "data" / "graphwire.db")) as connection, connection:
            connection.execute("UPDATE crons SET next_run_date = ?, due_at = ?", (since, since))

    def fired(self) -> dict[str, tuple[bool, int]]:
        """Of each cron whether its tick was taken, and how many runs it has."""
        query = """
            SELECT cron_id, next_run_date != ?, count(run_id) FROM crons
            LEFT JOIN runs ON runs.metadata ->> 'cron_id' = cron_id GROUP BY cron_id
        """.replace("?", f"'{LONG_AGO}'")
        return {cron_id: (bool(taken), runs) for cron_id, taken, runs in self.rows(query)}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def make(server: Server, count: int, **said: Any) -> list[str]:
    body = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {}, "on_run_completed": "keep", **said}
    with ThreadPoolExecutor(8) as pool:
        crons = pool.map(lambda _: server.post("/runs/crons", body), range(count))
        return [cron["cron_id"] for cron in crons]


def test_a_tick_makes_one_run_however_often_the_server_dies_of_it(machine: Machine) -> None:
    made = make(machine.start(), CRONS)
    machine.stop()
    machine.let_be_due(LONG_AGO)
    left = []
    for _ in range(3):
        machine.start_and_kill_at_the_next_run()
        fired = machine.fired()
        assert sorted(fired) == sorted(made)
        # A run without its tick would be made again, a tick without its run would be lost.
        assert set(fired.values()) <= {(True, 1), (False, 0)}
        left.append([taken for taken, _ in fired.values()].count(False))
        if not left[-1]:
            break
    assert left[0] > 0, "the first server was killed when it had done everything: this test tests nothing"
    server = machine.start()
    assert eventually(lambda: set(machine.fired().values()) == {(True, 1)}, seconds=30)
    assert server.post("/runs/crons/count", {}) == CRONS


def test_ticks_that_a_server_slept_through_are_made_up_for_once_by_the_next(machine: Machine) -> None:
    made = make(machine.start(), 1, schedule="0 * * * *")
    machine.stop()
    machine.let_be_due((datetime.now(UTC) - timedelta(hours=30)).isoformat(timespec="microseconds"))
    server = machine.start()
    cron = f"/runs/crons/{made[0]}"
    assert eventually(lambda: datetime.fromisoformat(server.get(cron)["next_run_date"]) > datetime.now(UTC))
    ended = "SELECT count(*) FROM runs WHERE status = 'success'"
    assert eventually(lambda: machine.value(ended) == 1)
    assert machine.value("SELECT count(*) FROM runs") == 1


def test_a_cron_goes_on_after_the_server_died(machine: Machine) -> None:
    server = machine.start()
    thread_id = server.new_thread()
    body = {"assistant_id": "echo", "schedule": "* * * * * *", "input": {}}
    cron = server.post(f"/threads/{thread_id}/runs/crons", body)
    runs = f"/threads/{thread_id}/runs?limit=1000"
    assert eventually(lambda: len(server.get(runs)) > 0)
    server.process.kill()
    server.process.wait()
    before = machine.value("SELECT count(*) FROM runs")
    again = machine.start()
    assert eventually(lambda: len(again.get(runs)) > before + 1, seconds=10)
    found = again.get(runs)
    assert {run["metadata"]["cron_id"] for run in found} == {cron["cron_id"]}
    seconds = [run["created_at"][:19] for run in found]
    assert len(set(seconds)) == len(seconds)
