"""What PostgreSQL saw: every change of a run in its order, and whether rows agree.

Looked at from outside, on connections of the test's own that no proxy cuts. As in fix_history.py the history
is written by triggers, so it holds exactly what was committed.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

WRITE_DOWN = """
CREATE TABLE test_history (
    number bigserial PRIMARY KEY, thread text, run text, before text, after text, attempt int, handovers int
);
CREATE FUNCTION test_write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO {schema}.test_history (thread, run, before, after, attempt, handovers) VALUES (
        coalesce(new.thread_id, old.thread_id), coalesce(new.run_id, old.run_id),
        old.status, new.status, new.attempt, new.handovers
    );
    RETURN NULL;
END $$;
CREATE TRIGGER test_added AFTER INSERT OR DELETE OR UPDATE OF status ON runs
FOR EACH ROW EXECUTE FUNCTION test_write_down();
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
    attempt: int | None
    handovers: int | None


class Rows:
    """The tables of one cluster."""

    def __init__(self, uri: str, schema: str) -> None:
        self._uri, self._schema = uri, schema

    def ask(self, statement: str, *values: Any) -> list[Any]:
        options = f"-c search_path={self._schema}"
        with psycopg.connect(self._uri, autocommit=True, options=options) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *values: Any) -> Any:
        return self.ask(statement, *values)[0][0]

    def write_history(self) -> None:
        """From now on."""
        self.ask(WRITE_DOWN.replace("{schema}", self._schema))

    def history(self) -> list[Change]:
        columns = "thread, run, before, after, attempt, handovers"
        return [Change(*row) for row in self.ask(f"SELECT {columns} FROM test_history ORDER BY number")]

    def contradictions(self) -> list[tuple[str, str]]:
        return self.ask(CONTRADICTIONS)

    def active(self) -> list[tuple[str, str]]:
        """(run, status) of all that have not ended."""
        return self.ask("SELECT run_id, status FROM runs WHERE status IN ('pending', 'running')")


def ran_twice_at_once(changes: list[Change]) -> list[Change]:
    """The beginnings of a run while another of its thread was running. Must be empty."""
    running: dict[str, str] = {}
    found = []
    for change in changes:
        if change.before == "running" and running.get(change.thread) == change.run:
            del running[change.thread]
        if change.after == "running":
            if change.thread in running:
                found.append(change)
            running[change.thread] = change.run
    return found
