"""A database of either engine, migrated and empty: a test that asks for `database` runs on both."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from fix_postgres import Postgres

from server.storage.checkpoints import open_saver
from server.storage.database import SqliteDatabase
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase

AnyDatabase = SqliteDatabase | PostgresDatabase
OpenDatabase = Callable[[], AnyDatabase]
CONNECTIONS = 8
only_sqlite = pytest.mark.parametrize("kept_in", ["sqlite"], indirect=True)
only_postgres = pytest.mark.parametrize("kept_in", ["postgres"], indirect=True)
KEPT = ("alembic_version", "checkpoint_migrations")  # what says how far the tables are migrated


class Schema:
    """The tables on PostgreSQL: made once a session, emptied for each test, which takes milliseconds."""

    def __init__(self, uri: str, name: str) -> None:
        self.uri, self.name = uri, name
        database = self.open()
        migrate(database)
        open_saver(database)
        database.close()
        self._connection = psycopg.connect(uri, autocommit=True)
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        self._tables = [row[0] for row in self._connection.execute(query, (name,)) if row[0] not in KEPT]

    def open(self) -> PostgresDatabase:
        return PostgresDatabase(self.uri, schema=self.name, connections=CONNECTIONS)

    def empty(self) -> None:
        deletions = "; ".join(f"DELETE FROM {self.name}.{table}" for table in self._tables)
        self._connection.execute(deletions.encode())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="session")
def schema(postgres: Postgres, new_schema: Callable[[], str]) -> Iterator[Schema]:
    made = Schema(postgres.uri, new_schema())
    yield made
    made.close()


@pytest.fixture
def in_new_schema(
    postgres: Postgres, new_schema: Callable[[], str]
) -> Iterator[Callable[[], PostgresDatabase]]:
    """Opens a schema of the test's own, which is empty, each time as one more process would."""
    name, opened = new_schema(), []

    def open_() -> PostgresDatabase:
        opened.append(PostgresDatabase(postgres.uri, schema=name, connections=2))
        return opened[-1]

    yield open_
    for database in opened:
        database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def open_database(kept_in: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenDatabase]:
    """Opens the database of the test, each time as one more process would."""
    opened: list[AnyDatabase] = []

    def open_() -> AnyDatabase:
        if kept_in == "sqlite":
            opened.append(SqliteDatabase(tmp_path / "graphwire.db"))
            migrate(opened[-1])
            open_saver(opened[-1])
        else:
            opened.append(request.getfixturevalue("schema").open())
        return opened[-1]

    if kept_in == "postgres":
        request.getfixturevalue("schema").empty()
    yield open_
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: OpenDatabase) -> AnyDatabase:
    return open_database()
