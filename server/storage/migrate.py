"""Bring the tables up to date: nothing happens when they are."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ..errors import ConfigError

_HERE = Path(__file__).parent / "migrations"


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the missing migrations in one transaction. Raises ConfigError: a newer database, a full disk."""
    try:
        _upgrade(engine, revision)
    except CommandError as failure:
        raise ConfigError(f"{engine.url.database} was made by a newer version: {failure}") from failure
    except DBAPIError as failure:
        raise ConfigError(f"cannot prepare the database {engine.url.database}: {failure.orig}") from failure


def _upgrade(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    with engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
        if present == ScriptDirectory.from_config(config).get_current_head():
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else "SELECT 1")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("COMMIT")
