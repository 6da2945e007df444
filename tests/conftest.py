"""Fixtures by subject: the real server and its engines, nodes held by the test, a model on loopback."""

import os
import random

# One seed for all processes of a run: it stands in the names of tests, which they must agree on.
os.environ.setdefault("FAULT_SEED", str(random.randrange(2**32)))

pytest_plugins = [
    "fix_engine",
    "fix_server",
    "fix_collector",
    "fix_gate",
    "fix_openai",
    "fix_receiver",
    "fix_postgres",
    "fix_pgbouncer",
    "fix_redis",
    "fix_cluster",
    "fix_database",
    "fix_broker",
    "fix_async_proxy",
    "fix_browser",
    "fix_cutter",
]
