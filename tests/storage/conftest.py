"""A schema of PostgreSQL with the tables alone, as they are before anything was migrated."""

from collections.abc import Callable, Iterator

import pytest
from fix_postgres import Postgres

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
