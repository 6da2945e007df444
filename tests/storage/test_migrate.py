"""Migrations make exactly the tables that the statements expect, once."""

import sqlite3
import time
from collections.abc import Iterator
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
from langgraph.store.sqlite import SqliteStore
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError

from server import storage
from server.errors import ConfigError
from server.items import ItemSearch
from server.storage.checkpoints import open_saver
from server.storage.database import SqliteDatabase
from server.storage.item_store import ItemStore
from server.storage.migrate import migrate
from server.storage.tables import metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "graphwire.db")
    migrate(opened.engine)
    yield opened
    opened.close()


def ours(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    """LangGraph's tables are its own business, and the version is Alembic's."""
    return kind != "table" or name in metadata.tables


def schema(database: SqliteDatabase) -> list[tuple[str, str]]:
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    return database.read_now(lambda tx: [(row.name, row.sql) for row in tx.exec_driver_sql(query)])


def facts(found: list[dict[str, Any]]) -> list[str]:
    """What an inspector found, in a form that can be compared."""
    options = [{key: str(value) for key, value in item.pop("dialect_options", {}).items()} for item in found]
    return sorted(f"{item} {more}" for item, more in zip(found, options, strict=True))


def test_a_fresh_database_has_the_tables_of_the_code(database: SqliteDatabase) -> None:
    open_saver(database)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_object": ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_a_fresh_database_has_the_checks_and_partial_indexes_of_the_code(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    """What Alembic does not compare: the very rules that hold when the code does not."""
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(direct)
    made, expected = inspect(database.engine), inspect(direct)
    for table in metadata.tables:
        for name in ("get_check_constraints", "get_indexes", "get_foreign_keys", "get_unique_constraints"):
            assert facts(getattr(made, name)(table)) == facts(getattr(expected, name)(table)), (table, name)
    direct.dispose()


def test_migrating_twice_does_nothing(database: SqliteDatabase) -> None:
    before = schema(database)
    migrate(database.engine)
    assert schema(database) == before


def test_migrating_keeps_what_is_there(database: SqliteDatabase) -> None:
    insert = "INSERT INTO threads VALUES ('t', '', '', '', '{}', 'idle', '{}', NULL, NULL, '{}')"
    database.write_now(lambda tx: tx.exec_driver_sql(insert).rowcount)
    migrate(database.engine)
    assert database.read_now(lambda tx: tx.exec_driver_sql("SELECT thread_id FROM threads").scalar()) == "t"


def test_a_database_of_a_newer_version_is_refused(database: SqliteDatabase) -> None:
    newer = "UPDATE alembic_version SET version_num = '9999'"
    database.write_now(lambda tx: tx.exec_driver_sql(newer).rowcount)
    before = schema(database)
    with pytest.raises(ConfigError, match="was made by a newer version"):
        migrate(database.engine)
    assert schema(database) == before


def test_a_refused_migration_leaves_no_lock_behind(database: SqliteDatabase) -> None:
    newer = "UPDATE alembic_version SET version_num = '9999'"
    database.write_now(lambda tx: tx.exec_driver_sql(newer).rowcount)
    with pytest.raises(ConfigError):
        migrate(database.engine)
    back = "UPDATE alembic_version SET version_num = '0001'"
    assert database.write_now(lambda tx: tx.exec_driver_sql(back).rowcount) == 1


@pytest.mark.parametrize(("table", "status"), [("runs", "cancelled"), ("threads", "sleeping")])
def test_the_schema_knows_every_status_and_no_other(
    database: SqliteDatabase, table: str, status: str
) -> None:
    insert = {
        "threads": "INSERT INTO threads "
        f"VALUES ('t', '', '', '', '{{}}', '{status}', '{{}}', NULL, NULL, '')",
        "runs": "INSERT INTO runs (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs, "
        "multitask_strategy, created_at, updated_at, due_at) "
        f"VALUES ('r', 't', 'a', 'g', '{status}', '{{}}', '{{}}', 'enqueue', '', '', '')",
    }[table]
    with pytest.raises(IntegrityError, match="CHECK"):
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


def all_rows(database: SqliteDatabase, query: str) -> list[tuple[Any, ...]]:
    return database.read_now(lambda tx: [tuple(row) for row in tx.exec_driver_sql(query)])


def test_assistants_that_were_there_before_versions_are_their_own_first(tmp_path: Path) -> None:
    database = old_database(
        tmp_path / "old.db",
        "0002",
        "INSERT INTO assistants VALUES ('a', 'g', 'n', 'd', '{\"tags\":[]}', '{\"k\":1}', '{}', 1, 'c', 'u')",
    )
    migrate(database.engine)
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
    migrate(database.engine)
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
