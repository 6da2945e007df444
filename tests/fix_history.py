"""What the server's database saw: every change of a run's status in its order, and whether rows agree.

Looked at from outside, on a connection of the test's own. A trigger belongs to the transaction that sets it
off, so the history holds exactly what was committed.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from fix_server import Server

ACTIVE = ("pending", "running")
WRITE_DOWN = """
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
FORGET = """
DROP TRIGGER test_added;
DROP TRIGGER test_changed;
DROP TRIGGER test_removed;
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
        self._database.executescript(WRITE_DOWN)

    def changes(self, thread: str) -> list[Change]:
        rows = self._database.execute(
            "SELECT thread, run, before, after FROM test_history WHERE thread = ? ORDER BY number", [thread]
        )
        return [Change(*row) for row in rows]

    def close(self) -> None:
        self._database.executescript(FORGET)
        self._database.close()


def connect(server: Server) -> sqlite3.Connection:
    return sqlite3.connect(server.data_dir / "graphwire.db", isolation_level=None)


def contradictions(server: Server) -> list[tuple[str, str]]:
    """Threads whose status and whose runs do not agree, (thread, its status): one consistent view."""
    with closing(connect(server)) as database:
        return database.execute(CONTRADICTIONS).fetchall()


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
