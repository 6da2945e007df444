"""What a server runs on: its own process and directory, or PostgreSQL and Redis.

What users see is tested on every engine. A test that is about a data directory, a full or damaged disk, or
SQLite's statements has the mark `embedded` and runs on that engine alone.
"""

import functools
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

ENGINES = ["embedded", "distributed"]
FAULTS = [f"faults/test_{subject}.py" for subject in ("answers", "burst", "busy")]
ON_EVERY_ENGINE = [Path(__file__).parent / name for name in ("acceptance", "api", *FAULTS)]


class Engine(Protocol):
    def environment(self, folder: Path) -> dict[str, str]:
        """What makes a server run on it. The same folder is the same data, for whoever starts again there."""

    def database(self, folder: Path) -> sqlalchemy.Engine:
        """The database of such a server, seen from outside; each statement is a transaction."""


@dataclass(frozen=True)
class Embedded:
    def environment(self, folder: Path) -> dict[str, str]:
        return {"GRAPHWIRE_DATA_DIR": str(folder / "data")}

    def database(self, folder: Path) -> sqlalchemy.Engine:
        return _database(f"sqlite:///{folder / 'data' / 'graphwire.db'}")


@dataclass(frozen=True)
class Distributed:
    """`namespace` is the schema and the prefix of keys; the folder's unless it is said."""

    database_uri: str
    redis_uri: str
    namespace: str | None = None

    def environment(self, folder: Path) -> dict[str, str]:
        return {
            "DATABASE_URI": self.database_uri,
            "REDIS_URI": self.redis_uri,
            "GRAPHWIRE_NAMESPACE": self.namespace or namespace_of(folder),
        }

    def database(self, folder: Path) -> sqlalchemy.Engine:
        uri = self.database_uri.replace("postgresql://", "postgresql+psycopg://")
        return _database(uri, options=f"-c search_path={self.namespace or namespace_of(folder)}")


EMBEDDED = Embedded()
# For a test that kills a server: whoever comes after it on the same data is believed that it is dead so soon.
SOON_MISSED = {"GRAPHWIRE_LEASE_SECONDS": "3"}


@functools.cache
def _database(uri: str, **connect_args: Any) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        uri, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=connect_args
    )


def namespace_of(folder: Path) -> str:
    return f"test_{blake2s(str(folder).encode(), digest_size=8).hexdigest()}"


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine of this test's servers."""
    if getattr(request, "param", "embedded") == "embedded":
        return EMBEDDED
    postgres, redis = request.getfixturevalue("postgres"), request.getfixturevalue("redis")
    return Distributed(postgres.uri, redis.uri)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests run once on each engine that is theirs."""
    item = metafunc.definition
    everywhere = any(item.path.is_relative_to(folder) for folder in ON_EVERY_ENGINE)
    if "engine" in metafunc.fixturenames and everywhere and item.get_closest_marker("embedded") is None:
        metafunc.parametrize("engine", ENGINES, indirect=True, scope="session")
