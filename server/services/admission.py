"""A second run on a busy thread: reject, enqueue, interrupt, rollback (contract/runs.md 13)."""

from dataclasses import dataclass, field

from ..clock import now
from ..errors import Conflict
from ..models import RunStatus
from ..storage import runs
from ..storage.database import Tx

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


@dataclass(slots=True)
class Displaced:
    """Runs that made way: those that will be stopped, and those that ended without having started."""

    stopping: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def admit(tx: Tx, thread_id: str, new_run_id: str, strategy: str) -> Displaced:
    """Make room for a new run on the thread. Raises Conflict for `reject` on a busy thread."""
    displaced = Displaced()
    if strategy == "reject" and runs.has_active(tx, thread_id):
        raise Conflict(BUSY)
    if strategy in ("interrupt", "rollback"):
        reason = f"superseded by run {new_run_id} (multitask_strategy={strategy})"
        for run in runs.active(tx, thread_id):
            displace(tx, run.run_id, run.status, strategy, reason, displaced)
    return displaced


def displace(tx: Tx, run_id: str, status: RunStatus, action: str, reason: str, displaced: Displaced) -> None:
    """Stop one run: a running one is asked to, a waiting one ends here, and with `rollback` is gone."""
    if status is RunStatus.running:
        runs.ask_to_stop(tx, run_id, action, reason)
        displaced.stopping.append(run_id)
        return
    if action == "rollback":
        runs.remove(tx, run_id)
    else:
        runs.end_pending(tx, run_id, now(), reason)
    displaced.ended.append(run_id)
