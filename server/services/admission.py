"""A second run on a busy thread: reject, enqueue, interrupt, rollback (contract/runs.md 13)."""

import re
from dataclasses import dataclass, field
from typing import Any

from ..clock import now
from ..errors import Conflict
from ..models import Run, RunRequest, RunStatus
from ..storage import runs, threads
from ..storage.database import Tx
from ..streaming.broker import Broker, Entry
from ..streaming.signals import Signals
from .deliveries import enqueue_unstarted
from .endings import DELETED, ROLLED_BACK, THREAD_GONE, closing, stopped

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
STOP_SECONDS = 0.1  # how soon a cancelled run is over, also when its code does not listen
STOP_WAIT_SECONDS = 10.0  # the longest that a caller is kept who wants to see a run over


@dataclass(slots=True)
class Displaced:
    """Runs that made way: those that will be stopped, and those that ended without having started."""

    stopping: list[str] = field(default_factory=list)
    ended: "list[Ended]" = field(default_factory=list)
    thread_gone: str | None = None  # the hidden thread of such a run, which went with it


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that was over before it began: what its readers are to be told."""

    run: Run
    how: Entry
    returned: bytes

    @classmethod
    def of(cls, tx: Tx, run: Run, outcome: str, reason: str) -> "Ended":
        how = closing(run.run_id, outcome, reason)
        return cls(run, how, stopped(run.run_id, how, threads.values_of(tx, run.thread_id)))

    async def tell(self, broker: Broker) -> None:
        """After the commit: a client may wait on a run that never started."""
        run = self.run
        await broker.begin(run.run_id, run.thread_id, run.attempt)
        broker.append(run.run_id, self.how)
        await broker.end(run.run_id, self.returned)


def admit(tx: Tx, thread_id: str, new_run_id: str, strategy: str) -> Displaced:
    """Make room for a new run on the thread. Raises Conflict for `reject` on a busy thread."""
    displaced = Displaced()
    if strategy == "reject" and runs.has_active(tx, thread_id):
        raise Conflict(BUSY)
    if strategy in ("interrupt", "rollback"):
        reason = f"superseded by run {new_run_id} (multitask_strategy={strategy})"
        for run in runs.active(tx, thread_id):
            displace(tx, run, strategy, reason, displaced)
    return displaced


def displace(tx: Tx, run: Run, action: str, reason: str, displaced: Displaced) -> None:
    """Stop one run: a running one is asked to, a waiting one ends here; `rollback` and `delete` remove it."""
    if run.status is RunStatus.running:
        runs.ask_to_stop(tx, run.run_id, action, reason)
        displaced.stopping.append(run.run_id)
        return
    if action == "delete":
        runs.remove(tx, run.run_id)
        displaced.ended.append(Ended.of(tx, run, DELETED, reason))
        return
    enqueue_unstarted(tx, run, action, reason)
    if action == "rollback":
        runs.remove(tx, run.run_id)
        displaced.ended.append(Ended.of(tx, run, ROLLED_BACK, reason))
    else:
        runs.end_pending(tx, run.run_id, now(), reason)
        displaced.ended.append(Ended.of(tx, run, RunStatus.interrupted, reason))


async def tell(broker: Broker, signals: Signals, displaced: Displaced) -> None:
    """After the commit: readers of those that ended hear it, and workers of those that are to stop."""
    if displaced.stopping:
        signals.notify("stop")
    for ended in displaced.ended:
        await ended.tell(broker)
        signals.notify("webhooks")
    if displaced.thread_gone:
        await broker.note(displaced.thread_gone, THREAD_GONE)


def refuse_second_answer(tx: Tx, thread_id: str, request: RunRequest) -> None:
    """An interrupt takes one answer. Raises Conflict for one that came while another was being given.

    It would be spent on nothing, or worse: on the next question. An answer that comes when the other has
    been heard is a run like any other (contract/runs.md 11), and who displaces the other one means to.
    """
    answer = _answer(request.command)
    if answer is None or request.multitask_strategy in ("interrupt", "rollback"):
        return
    newest = runs.newest(tx, thread_id)
    for other in (*runs.active(tx, thread_id), *([newest] if newest else ())):
        given = _answer(other.kwargs.get("command"))
        overlaps = other.status.active or other.updated_at >= request.arrived_at
        if given is not None and overlaps and _same_question(given, answer):
            raise Conflict(f"command.resume: run {other.run_id} is answering this interrupt already")


def _answer(command: Any) -> Any:
    return command.get("resume") if isinstance(command, dict) else None


def _same_question(one: Any, other: Any) -> bool:
    """Whether two answers may be to one interrupt: not when both name interrupts, and other ones."""
    named = [_interrupts(answer) for answer in (one, other)]
    return not all(named) or not named[0].isdisjoint(named[1])


def _interrupts(answer: Any) -> set[str]:
    """The ids of the interrupts that an answer names; none for a plain value (contract/runs.md 11)."""
    if not isinstance(answer, dict) or not all(_INTERRUPT_ID.fullmatch(key) for key in answer):
        return set()
    return set(answer)


_INTERRUPT_ID = re.compile("[0-9a-f]{32}")
