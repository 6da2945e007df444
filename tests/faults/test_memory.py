"""Thousands of short runs leave nothing in memory but the streams that can still be read again."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fix_ledger import Ledger
from fix_server import CONFIG, RunningServer, eventually

RUNS = 2_000
WARM_UP = 200
AT_ONCE = 16
MEMORY_BYTES_MAX = 20 * 1024 * 1024

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("thread", [None, "new"], ids=["stateless", "on threads"])
def test_two_thousand_runs_leave_less_than_20_megabytes(
    start_server: RunningServer, ledger: Ledger, thread: str | None
) -> None:
    server = start_server(CONFIG.with_name("faults.json"))
    graph_input = ledger.input(steps=1, pause=0)

    def run(_: int) -> None:
        values = server.wait("ledger", graph_input, thread=thread)
        assert list(values["done"].values()) == [1]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, range(WARM_UP)))
        before = server.resident_bytes()
        list(pool.map(run, range(RUNS - WARM_UP)))
    assert eventually(lambda: server.resident_bytes() - before < MEMORY_BYTES_MAX)
