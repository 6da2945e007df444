"""How the end of a run is told: to those who watch it and to those who wait for it (contract/runs.md 9, 10).

The reference tells a cancelled run like one that succeeded. Here its stream closes with `metadata` that says
how it ended, and its result carries `__run__` beside the values; both are names and places that clients let
pass. A run that took too long has failed, and says so the way failures do.
"""

from ..models import Json, Outcome, RunStatus, ThreadStatus
from ..streaming.broker import DONE, GONE, STOPPED, Entry
from ..streaming.encode import encode, raw

FAILURES = (RunStatus.error, RunStatus.timeout)
ROLLED_BACK, DELETED = "rolled_back", "deleted"
THREAD_GONE = Entry(GONE, b"{}")  # for those who follow the thread


def cancelled(action: str, reason: str) -> Outcome:
    """A run that was stopped while it ran (`Run.stop` has the actions). Of its thread nothing is known."""
    kind = "UserRollback" if action == "rollback" else "UserInterrupt"
    return Outcome(
        RunStatus.interrupted,
        ThreadStatus.idle,
        error={"error": kind, "message": reason},
        reason=reason,
        rollback=action == "rollback",
        deleted=action == "delete",
    )


def closing(run_id: str, outcome: str, reason: str | None = None) -> Entry:
    """The last event of a run for those who watch. `outcome` is a status, ROLLED_BACK or DELETED.

    The stream of a thread shows it after every run, that of a run only when somebody made it end.
    """
    event = STOPPED if outcome in (RunStatus.interrupted, ROLLED_BACK, DELETED) else DONE
    told: Json = {"status": "run_done", "run_id": run_id, "outcome": outcome}
    return Entry(event, encode({**told, "reason": reason} if reason else told))


def closing_of(run_id: str, outcome: Outcome) -> Entry:
    """The last event of a run that was executed."""
    how = ROLLED_BACK if outcome.rollback else DELETED if outcome.deleted else outcome.status
    return closing(run_id, how, outcome.reason)


def returned(run_id: str, outcome: Outcome) -> bytes:
    """What `wait` and `join` answer: the values, with what waits for an answer."""
    if outcome.status in FAILURES:
        return failed(outcome.error)
    if outcome.status is RunStatus.interrupted:
        return stopped(run_id, closing_of(run_id, outcome), outcome.values)
    if outcome.returned_interrupts is None:
        return outcome.values or b"{}"
    return _with(outcome.values, "__interrupt__", outcome.returned_interrupts)


def failed(error: Json | None) -> bytes:
    """The result of a run that failed; the SDK raises on it (contract/runs.md 22)."""
    return encode({"__error__": error})


def stopped(run_id: str, how: Entry, values: bytes | None) -> bytes:
    """The result of a run that was stopped: the values as they are, and that it was."""
    return _with(values, "__run__", how.data)


def _with(values: bytes | None, key: str, value: bytes) -> bytes:
    """JSON object and one more member; what is no object has no room for it and makes way."""
    if values is None or not values.startswith(b"{"):
        return encode({key: raw(value)})
    inner = values[1:-1]
    return b"{" + inner + (b"," if inner else b"") + encode(key) + b":" + value + b"}"
