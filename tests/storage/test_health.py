"""Readiness says the truth about the database and its disk, and costs little however often it is asked."""

import asyncio
import threading

import pytest
from fix_database import CONNECTIONS, only_sqlite

from server.errors import NotReady
from server.storage import health
from server.storage.database import Database, Tx
from server.storage.health import Health


async def test_a_database_with_room_is_ready(database: Database) -> None:
    await Health(database, 0).check()


@only_sqlite
async def test_less_free_space_than_wanted_is_not_ready(database: Database) -> None:
    with pytest.raises(NotReady, match="bytes left; 9000000000000000000 are wanted"):
        await Health(database, 9 * 10**18).check()


async def test_a_database_that_does_not_answer_is_not_ready_in_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.1)
    go_on = threading.Event()
    held = asyncio.gather(*(database.write(lambda _: go_on.wait(10)) for _ in range(CONNECTIONS)))
    await asyncio.sleep(0)  # they are under way now
    with pytest.raises(NotReady, match="did not take a write"):
        await Health(database, 0).check()
    go_on.set()
    assert all(await held)


@only_sqlite
async def test_a_database_that_takes_no_write_is_not_ready_though_it_can_be_read(
    database: Database,
) -> None:
    await database.write(lambda tx: tx.exec_driver_sql("PRAGMA query_only=ON").close())
    with pytest.raises(NotReady, match="takes no write"):
        await Health(database, 0).check()


@only_sqlite
async def test_who_asks_all_the_time_does_not_make_it_write_all_the_time(database: Database) -> None:
    asked = Health(database, 0)
    before = await database.write(changes)
    await asyncio.gather(*(asked.check() for _ in range(100)))
    assert await database.write(changes) == before + 1


def changes(tx: Tx) -> int:
    """How many rows this connection has written."""
    return int(tx.exec_driver_sql("SELECT total_changes()").scalar_one())
