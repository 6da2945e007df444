"""Migrations make exactly the tables that the statements expect, once."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from fix_database import AnyDatabase, only_postgres
from langgraph.store.sqlite import SqliteStore
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError, IntegrityError

from server import storage
from server.errors import ConfigError
from server.rules.items import ItemSearch
from server.storage.checkpoints import open_saver
from server.storage.database import SqliteDatabase, Tx
from server.storage.item_store import ItemStore
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase
from server.storage.tables import metadata


@pytest.fixture
def database(kept_in: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AnyDatabase]:
    """One of its own: these tests break the version."""
    opened: AnyDatabase
    if kept_in == "sqlite":
        opened = SqliteDatabase(tmp_path / "graphwire.db")
    else:
        opened = request.getfixturevalue("in_new_schema")()
    migrate(opened)
    yield opened
    opened.close()


# Indexes that one engine has, and what each counts in its own way.
NOT_IN_THE_CODE = ("assistants_metadata_idx", "threads_metadata_idx", "seq")
NOT_ON_POSTGRES = ("thread_metadata",)


def ours(connection: Any, name: str | None, kind: str, *__: Any) -> bool:
    """LangGraph's tables are its own business, and the version is Alembic's."""
    return name not in NOT_IN_THE_CODE + NOT_ON_POSTGRES and (kind != "table" or name in metadata.tables)


def schema(database: AnyDatabase) -> list[tuple[Any, ...]]:
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name",
        "postgresql": "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY 1, 2",
    }[database.engine.dialect.name]
    found = all_rows(database, query)
    assert found
    return found


def facts(found: list[dict[str, Any]]) -> list[str]:
    """What an inspector found, in a form that can be compared."""
    options = [{key: str(value) for key, value in item.pop("dialect_options", {}).items()} for item in found]
    return sorted(f"{item} {more}" for item, more in zip(found, options, strict=True))


def test_a_fresh_database_has_the_tables_of_the_code(database: AnyDatabase) -> None:
    if isinstance(database, SqliteDatabase):
        open_saver(database)

    def differences(tx: Tx) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True, "include_object": ours}
        return compare_metadata(MigrationContext.configure(tx, opts=options), metadata)

    assert database.read_now(differences) == []


def test_a_fresh_database_has_the_checks_and_partial_indexes_of_the_code(
    database: AnyDatabase, tmp_path: Path
) -> None:
    """What Alembic does not compare: the very rules that hold when the code does not."""
    direct: AnyDatabase
    if isinstance(database, SqliteDatabase):
        direct = SqliteDatabase(tmp_path / "direct.db")
        direct.write_now(metadata.create_all)
    else:
        uri = database.engine.url.render_as_string(hide_password=False)
        direct = PostgresDatabase(uri, schema=f"{database.schema}_direct", connections=2)
        direct.migrate_now(lambda tx: tx.exec_driver_sql(f"CREATE SCHEMA {database.schema}_direct").close())
        direct.migrate_now(metadata.create_all)
    assert database.read_now(rules) == direct.read_now(rules)
    direct.close()


def rules(tx: Tx) -> dict[tuple[str, str], list[str]]:
    names = ("get_check_constraints", "get_indexes", "get_foreign_keys", "get_unique_constraints")
    tables = set(metadata.tables) - ({*NOT_ON_POSTGRES} if tx.dialect.name == "postgresql" else set())
    made = inspect(tx)
    return {
        (table, name): facts(
            [each for each in getattr(made, name)(table) if each["name"] not in NOT_IN_THE_CODE]
        )
        for table in tables
        for name in names
    }


def test_migrating_twice_does_nothing(database: AnyDatabase) -> None:
    before = schema(database)
    migrate(database)
    assert schema(database) == before


def test_migrating_keeps_what_is_there(database: AnyDatabase) -> None:
    insert = "INSERT INTO threads VALUES ('t', '', '', '', '{}', 'idle', '{}', NULL, NULL, '{}', '')"
    database.write_now(lambda tx: tx.exec_driver_sql(insert).rowcount)
    migrate(database)
    assert database.read_now(lambda tx: tx.exec_driver_sql("SELECT thread_id FROM threads").scalar()) == "t"


def test_a_database_of_a_newer_version_is_refused(database: AnyDatabase) -> None:
    newer = "UPDATE alembic_version SET version_num = '9999'"
    database.write_now(lambda tx: tx.exec_driver_sql(newer).rowcount)
    before = schema(database)
    with pytest.raises(ConfigError, match="was made by a newer version"):
        migrate(database)
    assert schema(database) == before


def test_a_refused_migration_leaves_no_lock_behind(database: AnyDatabase) -> None:
    newer = "UPDATE alembic_version SET version_num = '9999'"
    database.write_now(lambda tx: tx.exec_driver_sql(newer).rowcount)
    with pytest.raises(ConfigError):
        migrate(database)
    back = "UPDATE alembic_version SET version_num = '0001'"
    assert database.write_now(lambda tx: tx.exec_driver_sql(back).rowcount) == 1


@only_postgres
def test_many_processes_may_migrate_at_once(
    database: PostgresDatabase, new_schema: Callable[[], str]
) -> None:
    uri, name = database.engine.url.render_as_string(hide_password=False), new_schema()

    def one(_: int) -> str:
        opened = PostgresDatabase(uri, schema=name, connections=1)
        migrate(opened)
        version = all_rows(opened, "SELECT version_num FROM alembic_version")
        opened.close()
        return str(version)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(one, range(12))) == {
            str(all_rows(database, "SELECT version_num FROM alembic_version"))
        }


@only_postgres
def test_two_schemas_of_one_database_know_nothing_of_each_other(
    database: PostgresDatabase, new_schema: Callable[[], str]
) -> None:
    other = PostgresDatabase(
        database.engine.url.render_as_string(hide_password=False), schema=new_schema(), connections=1
    )
    with pytest.raises(DBAPIError, match="threads"):
        other.read_now(lambda tx: tx.exec_driver_sql("SELECT * FROM threads").all())
    migrate(other)
    insert = "INSERT INTO threads VALUES ('t', '', '', '', '{}', 'idle', '{}', NULL, NULL, '{}', '')"
    other.write_now(lambda tx: tx.exec_driver_sql(insert).rowcount)
    assert all_rows(database, "SELECT * FROM threads") == []
    other.close()


@pytest.mark.parametrize(("table", "status"), [("runs", "cancelled"), ("threads", "sleeping")])
def test_the_schema_knows_every_status_and_no_other(database: AnyDatabase, table: str, status: str) -> None:
    insert = {
        "threads": "INSERT INTO threads "
        f"VALUES ('t', '', '', '', '{{}}', '{status}', '{{}}', NULL, NULL, '', '')",
        "runs": "INSERT INTO runs (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs, "
        "multitask_strategy, created_at, updated_at, due_at) "
        f"VALUES ('r', 't', 'a', 'g', '{status}', '{{}}', '{{}}', 'enqueue', '', '', '')",
    }[table]
    with pytest.raises(IntegrityError, match=r"(?i)check"):
        database.write_now(lambda tx: tx.exec_driver_sql(insert).rowcount)


def old_database(path: Path, revision: str, *statements: str) -> SqliteDatabase:
    """A database as a version of before left it."""
    database = SqliteDatabase(path)
    config = Config()
    config.set_main_option("script_location", str(Path(storage.__file__ or "").parent / "migrations"))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
    return database


def all_rows(database: AnyDatabase, query: str) -> list[tuple[Any, ...]]:
    return database.read_now(lambda tx: [tuple(row) for row in tx.exec_driver_sql(query)])


def test_assistants_that_were_there_before_versions_are_their_own_first(tmp_path: Path) -> None:
    database = old_database(
        tmp_path / "old.db",
        "0002",
        "INSERT INTO assistants VALUES ('a', 'g', 'n', 'd', '{\"tags\":[]}', '{\"k\":1}', '{}', 1, 'c', 'u')",
    )
    migrate(database)
    assert all_rows(database, "SELECT * FROM assistant_versions") == [
        ("a", 1, "g", "n", "d", '{"tags":[]}', '{"k":1}', "{}", "u")
    ]
    database.close()


def test_what_the_store_of_langgraph_had_kept_moves_over(tmp_path: Path) -> None:
    database = old_database(tmp_path / "old.db", "0003")
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
        store = SqliteStore(connection, ttl={"refresh_on_read": True})
        store.setup()
        store.put(("users", "u1"), "k", {"é": [1]})
        store.put(("users",), "soon", {"n": 1}, ttl=60)
        store.get(("users",), "soon")  # which writes the time in another form
        store.put(("users",), "later", {"n": 2}, ttl=120)
    migrate(database)
    now = time.time()
    items = ItemStore(database, orjson.dumps)
    found = {item.key: item for item in items.run_now([ItemSearch()])[0]}
    assert {key: orjson.loads(item.value) for key, item in found.items()} == {
        "k": {"é": [1]},
        "soon": {"n": 1},
        "later": {"n": 2},
    }
    assert (found["k"].namespace, found["k"].expires_at) == (("users", "u1"), None)
    for key, minutes in (("soon", 60), ("later", 120)):
        item = found[key]
        assert item.ttl_seconds == minutes * 60
        assert item.expires_at == pytest.approx(now + minutes * 60, abs=10)
        assert datetime.fromisoformat(item.created_at).timestamp() == pytest.approx(now, abs=10)
    assert all_rows(database, "SELECT name FROM sqlite_master WHERE name LIKE 'store%'") == []
    database.close()
