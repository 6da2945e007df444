import pytest

from server.storage.database import SqliteDatabase
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase
from server.storage.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        opened = SqliteDatabase(tmp_path / "db")
        migrate(opened.engine)
    else:
        schema = request.getfixturevalue("new_schema")()
        opened = PostgresDatabase(request.getfixturevalue("postgres").uri, schema=schema, connections=5)
        with opened.engine.connect() as c:
            c.exec_driver_sql(f"CREATE SCHEMA {schema}")
        opened.write_now(lambda tx: metadata.create_all(tx))
    yield opened
    opened.close()
