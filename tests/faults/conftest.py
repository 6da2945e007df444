"""A server for the tests that do not kill it, and the fixtures that only tests of faults need."""

import pytest
from fix_ledger import ledger
from fix_server import CONFIG, RunningServer, Server

__all__ = ["ledger", "sturdy"]


@pytest.fixture(scope="session")
def sturdy(start_shared_server: RunningServer) -> Server:
    return start_shared_server(CONFIG.with_name("faults.json"))
