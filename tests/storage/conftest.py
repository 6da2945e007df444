"""A database of each engine, until the suite has one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_postgres import Postgres

from server.storage.database import SqliteDatabase
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase
from server.storage.tables import metadata


@pytest.fixture
def postgres_schema(
    postgres: Postgres, new_schema: Callable[[], str]
) -> Iterator[Callable[[], PostgresDatabase]]:
    """Opens a new schema, each time anew."""
    schema, opened = new_schema(), []

    def open_() -> PostgresDatabase:
        found = PostgresDatabase(postgres.uri, schema=schema, connections=5)
        if not opened:
            with found.engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
            found.write_now(metadata.create_all)
        opened.append(found)
        return found

    yield open_
    for each in opened:
        each.close()


@pytest.fixture
def postgres_database(postgres_schema: Callable[[], PostgresDatabase]) -> PostgresDatabase:
    return postgres_schema()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_database")
        return
    opened = SqliteDatabase(tmp_path / "db")
    migrate(opened.engine)
    yield opened
    opened.close()
