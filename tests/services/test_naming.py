"""Names of runs are forgotten when nobody can still be repeating the call."""

from server.clock import after
from server.services.naming import EARLY_CANCELS_SECONDS, NAMES_SECONDS, Names
from server.storage import names
from server.storage.database import Database


async def test_old_names_go_and_young_ones_stay(database: Database) -> None:
    run = names.Named("r", "t", "f")
    for count in range(names.FORGET + 1):
        database.write_now(
            lambda tx, count=count: names.add(tx, "", f"old {count}", run, after(-NAMES_SECONDS - 1))  # type: ignore[misc]
        )
    database.write_now(lambda tx: names.add(tx, "", "young", run, after(60 - NAMES_SECONDS)))
    await Names(database).forget()
    assert database.read_now(lambda tx: names.get(tx, "", "old 0")) is None
    assert database.read_now(lambda tx: names.get(tx, "", f"old {names.FORGET}")) is None
    assert database.read_now(lambda tx: names.get(tx, "", "young")) == run


async def test_old_cancels_go_and_young_ones_stay(database: Database) -> None:
    for run_id, age in (("old", EARLY_CANCELS_SECONDS + 1), ("young", 1.0)):
        at = after(-age)
        database.write_now(lambda tx, run_id=run_id, at=at: names.cancel_early(tx, run_id, "why", at))  # type: ignore[misc]
    await Names(database).forget()
    assert database.write_now(lambda tx: names.take_early_cancel(tx, "old")) is None
    assert database.write_now(lambda tx: names.take_early_cancel(tx, "young")) == "why"


def test_a_name_belongs_to_its_caller(database: Database) -> None:
    database.write_now(lambda tx: names.add(tx, "ann", "key k", names.Named("r", "t", "f"), after(0)))
    assert database.read_now(lambda tx: names.get(tx, "bob", "key k")) is None
