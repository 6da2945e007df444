"""Runs that answer what a person was asked: an interrupt takes one answer (contract/protocol-v2.md 2, 6)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import Conflict, NoSuchInterrupt, NotWaiting
from ..models import Caller, Json, Run, RunRequest, ThreadStatus
from ..storage import threads
from ..storage.database import Database, Tx
from ..streaming.encode import decode
from .runs import Runs

TRIES = 5


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What a thread waits for: the ids of its interrupts; none at a breakpoint, or where nothing waits."""

    status: ThreadStatus | None
    interrupts: tuple[str, ...]

    @classmethod
    def of(cls, tx: Tx, thread_id: str) -> "_Waiting":
        found = threads.waiting_of(tx, thread_id)
        if found is None:
            return cls(None, ())
        status, interrupts = found
        asked = decode(interrupts) if status is ThreadStatus.interrupted else {}
        return cls(status, tuple(item["id"] for items in asked.values() for item in items if "id" in item))


class _MovedOn(Conflict):
    """The thread moved on meanwhile."""


class Answers:
    """Starts runs on threads that may wait for an answer."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database = database
        self._runs = runs

    async def start(self, caller: Caller, thread_id: str, request: RunRequest) -> Run:
        """Start a run; where the thread waits for an answer, the input is that answer.

        Not for a run that forks from an earlier checkpoint. Raises as `Runs.create`.
        """
        if request.checkpoint is not None or request.input is None or request.command is not None:
            return await self._runs.create(caller, thread_id, request)
        for _ in range(TRIES):
            waiting = await self._database.read(lambda tx: _Waiting.of(tx, thread_id))

            def still(tx: Tx, seen: _Waiting = waiting) -> None:
                if seen.interrupts != _Waiting.of(tx, thread_id).interrupts:
                    raise _MovedOn

            told = _answering(request, waiting) if waiting.interrupts else request
            try:
                return await self._runs.create(caller, thread_id, told, still)
            except _MovedOn:
                continue
        raise Conflict("The thread keeps changing; try again")

    async def respond(
        self, caller: Caller, thread_id: str, answers: Mapping[str, Any], request: RunRequest
    ) -> Run:
        """Answer interrupts by id; all of them are taken, or none. `request` has the rest of the command.

        Raises NotWaiting, NoSuchInterrupt (also for one that has its answer), and as `Runs.create`.
        """

        def claim(tx: Tx) -> None:
            waiting = _Waiting.of(tx, thread_id)
            if waiting.status in (None, ThreadStatus.idle, ThreadStatus.error):
                raise NotWaiting
            if unknown := sorted(set(answers).difference(waiting.interrupts)):
                raise NoSuchInterrupt(f"Unknown or already-consumed interrupt: {', '.join(unknown)}")

        command: Json = {**(request.command or {}), "resume": dict(answers)}
        told = replace(request, command=command, if_not_exists="reject")
        try:
            return await self._runs.create(caller, thread_id, told, claim)
        except Conflict as taken:
            raise NoSuchInterrupt(taken.message) from taken


def _answering(request: RunRequest, waiting: _Waiting) -> RunRequest:
    """The input as an answer: to the one question there is, or, of several, as langgraph takes it."""
    one = len(waiting.interrupts) == 1
    answer = {waiting.interrupts[0]: request.input} if one else request.input
    return replace(request, input=None, command={"resume": answer})
