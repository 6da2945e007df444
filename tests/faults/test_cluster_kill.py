"""kill -9 of workers and API processes at fifty random moments while forty runs execute.

FAULT_SEED takes the same random moments again, it stands in the names of the tests; FAULT_KILLS changes their
number.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fix_cluster import Api, Cluster, Worker
from fix_cluster_crowd import check, live_through, restarts_heard
from fix_ledger import Ledger
from fix_server import CONFIG

KILLS = int(os.environ.get("FAULT_KILLS", "50"))
SEED = int(os.environ["FAULT_SEED"])  # conftest.py chooses one
USERS = 40
BETWEEN_SECONDS_MAX = 1.0
LEASE_SECONDS = 2
ENVIRONMENT = {"BG_JOB_MAX_RETRIES": "1000", "GRAPHWIRE_LEASE_SECONDS": f"{LEASE_SECONDS}"}

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]


@pytest.mark.parametrize("seed", [SEED], ids="seed-{}".format)
def test_no_run_is_lost_and_none_runs_twice_at_once(
    start_cluster: Callable[..., Cluster], tmp_path: Path, seed: int
) -> None:
    cluster = start_cluster(apis=2, workers=2, config=CONFIG.with_name("faults.json"), **ENVIRONMENT)
    cluster.rows.write_history()
    story = live_through(
        cluster, Ledger(tmp_path / "ledger"), USERS, seed, lambda failed: kill_all(cluster, seed, failed)
    )
    assert len(story.deaths) == KILLS
    assert len({step.run for step in story.steps if step.ended is None}) > KILLS / 5
    assert restarts_heard(story) > 0
    check(story)
    logs = [member.log for member in (*cluster.apis, *cluster.workers)]
    assert not [log for log in logs if "Traceback" in log]


def kill_all(cluster: Cluster, seed: int, failed: threading.Event) -> dict[int, float]:
    """One after the other, whichever live; each is started again meanwhile."""
    chance, deaths = random.Random(seed), {}
    members: list[Api | Worker] = [*cluster.apis, *cluster.workers]
    with ThreadPoolExecutor(len(members)) as pool:
        starting = {member: pool.submit(lambda: None) for member in members}
        while len(deaths) < KILLS and not failed.wait(chance.uniform(0, BETWEEN_SECONDS_MAX)):
            up = [member for member in members if starting[member].done()]
            if not up:
                continue
            member = chance.choice(up)
            member.kill()
            deaths[member.pid] = time.monotonic()
            starting[member] = pool.submit(member.restart)
        for start in starting.values():
            start.result()
    return deaths
