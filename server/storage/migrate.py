"""Bring the tables up to date: nothing happens when they are.

All of it happens in one transaction. Any number of processes may call at once: one does it, the others wait.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..errors import ConfigError, StorageFull, StorageUnavailable
from .database import SqliteDatabase, Tx

if TYPE_CHECKING:  # whoever serves from SQLite is spared the driver
    from .postgres import PostgresDatabase

_HERE = Path(__file__).parent / "migrations"
_EXISTS = text("SELECT to_regnamespace(:schema) IS NOT NULL")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('graphwire:migrate:' || :schema, 0))")


def migrate(database: "SqliteDatabase | PostgresDatabase", revision: str = "head") -> None:
    """Run the missing migrations. Raises ConfigError: a newer database, a full disk, no permission."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))

    def work(tx: Tx) -> None:
        tx.exec_driver_sql("SELECT 1")  # from here on Alembic sees a transaction, and leaves its end to us
        if not isinstance(database, SqliteDatabase):
            tx.execute(_LOCK, {"schema": database.schema})
            # Who may not make schemas may use one that there is.
            if not tx.execute(_EXISTS, {"schema": database.schema}).scalar_one():
                tx.exec_driver_sql(f"CREATE SCHEMA {database.schema}")
        config.attributes["connection"] = tx
        command.upgrade(config, revision)

    head = ScriptDirectory.from_config(config).get_current_head()
    try:
        if database.read_now(_present) != head:
            run = database.write_now if isinstance(database, SqliteDatabase) else database.migrate_now
            run(work)
    except CommandError as failure:
        raise ConfigError(f"{_name(database)} was made by a newer version: {failure}") from failure
    except (DBAPIError, StorageFull, StorageUnavailable) as failure:
        cause = failure.orig if isinstance(failure, DBAPIError) else failure
        raise ConfigError(f"cannot prepare the database {_name(database)}: {cause}") from failure


def _present(tx: Tx) -> str | None:
    return MigrationContext.configure(tx).get_current_revision()


def _name(database: "SqliteDatabase | PostgresDatabase") -> str:
    found = str(database.engine.url.database)
    return found if isinstance(database, SqliteDatabase) else f"{found} (schema {database.schema})"
