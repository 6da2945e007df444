"""A server for the tests that do not kill it, and the fixtures that only tests of faults need."""

import functools
from collections.abc import Callable

import pytest
from fix_engine import Engine
from fix_ledger import ledger
from fix_server import CONFIG, RunningServer, Server

__all__ = ["ledger", "shared_sturdy", "sturdy"]


@pytest.fixture(scope="session")
def shared_sturdy(start_shared_server: RunningServer) -> Callable[[Engine], Server]:
    """One server of each engine, kept while tests of the other run."""
    return functools.cache(lambda engine: start_shared_server(CONFIG.with_name("faults.json"), engine=engine))


@pytest.fixture(scope="session")
def sturdy(engine: Engine, shared_sturdy: Callable[[Engine], Server]) -> Server:
    return shared_sturdy(engine)
