"""What the server's database saw: every change of a run's status in its order, and whether rows agree.

Looked at from outside, on a connection of the test's own. A trigger belongs to the transaction that sets it
off, so the history holds exactly what was committed.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any

from fix_server import Server
from sqlalchemy import Connection, text

ACTIVE = ("pending", "running")
WRITE_DOWN_ON_SQLITE = """
CREATE TABLE test_history (
    number INTEGER PRIMARY KEY, thread TEXT NOT NULL, run TEXT NOT NULL, before TEXT, after TEXT
);
CREATE TRIGGER test_added AFTER INSERT ON runs BEGIN
    INSERT INTO test_history (thread, run, after) VALUES (new.thread_id, new.run_id, new.status);
END;
CREATE TRIGGER test_changed AFTER UPDATE OF status ON runs BEGIN
    INSERT INTO test_history (thread, run, before, after)
    VALUES (new.thread_id, new.run_id, old.status, new.status);
END;
CREATE TRIGGER test_removed AFTER DELETE ON runs BEGIN
    INSERT INTO test_history (thread, run, before) VALUES (old.thread_id, old.run_id, old.status);
END;
"""
FORGET_ON_SQLITE = """
DROP TRIGGER test_added;
DROP TRIGGER test_changed;
DROP TRIGGER test_removed;
DROP TABLE test_history;
"""
WRITE_DOWN_ON_POSTGRES = """
CREATE TABLE test_history (
    number SERIAL PRIMARY KEY, thread TEXT NOT NULL, run TEXT NOT NULL, before TEXT, after TEXT
);
CREATE FUNCTION test_write_down() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test_history (thread, run, before, after) VALUES (
        coalesce(new.thread_id, old.thread_id), coalesce(new.run_id, old.run_id), old.status, new.status
    );
    RETURN NULL;
END $$;
CREATE TRIGGER test_changed AFTER INSERT OR DELETE OR UPDATE OF status ON runs
FOR EACH ROW EXECUTE FUNCTION test_write_down();
"""
FORGET_ON_POSTGRES = """
DROP TRIGGER test_changed ON runs;
DROP FUNCTION test_write_down;
DROP TABLE test_history;
"""
# A thread that says it is busy though nothing will ever change that, or says it is not though something runs.
CONTRADICTIONS = """
SELECT thread_id, status FROM threads
WHERE (status = 'busy') != EXISTS (
    SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
)
"""


@dataclass(frozen=True)
class Change:
    """A run's status before and after; None: the run was not there."""

    thread: str
    run: str
    before: str | None
    after: str | None


class History:
    """Writes down what happens to the runs of a server while it is open."""

    def __init__(self, server: Server) -> None:
        self._database = connect(server)
        self._run(WRITE_DOWN_ON_SQLITE, WRITE_DOWN_ON_POSTGRES)

    def changes(self, thread: str) -> list[Change]:
        rows = self._database.execute(
            text(
                "SELECT thread, run, before, after FROM test_history WHERE thread = :thread ORDER BY number"
            ),
            {"thread": thread},
        )
        return [Change(*row) for row in rows]

    def close(self) -> None:
        self._run(FORGET_ON_SQLITE, FORGET_ON_POSTGRES)
        self._database.close()

    def _run(self, on_sqlite: str, on_postgres: str) -> None:
        raw: Any = self._database.connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.executescript(on_sqlite)
        else:
            raw.execute(on_postgres)


def connect(server: Server) -> Connection:
    return server.engine.database(server.data_dir.parent).connect()


def contradictions(server: Server) -> list[tuple[str, str]]:
    """Threads whose status and whose runs do not agree, (thread, its status): one consistent view."""
    with connect(server) as database:
        return [(thread, status) for thread, status in database.execute(text(CONTRADICTIONS))]


def most_running(changes: list[Change]) -> int:
    """How many runs of one thread were running at the same time, at most."""
    most, running = 0, 0
    for change in changes:
        running += (change.after == "running") - (change.before == "running")
        most = max(most, running)
    return most


def left_active(changes: list[Change]) -> set[str]:
    """Runs that were admitted and did not come to an end."""
    last = {change.run: change.after for change in changes}
    return {run for run, status in last.items() if status in ACTIVE}
