"""Claims runs and sees them through: slots, stopping, draining. It knows runs, not graphs."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog

from ..asker import asker
from ..models import Run
from ..services.admission import STOP_SECONDS
from ..services.attempts import Attempts
from ..streaming.signals import Signals
from .executor import Attempt, Executor
from .lanes import Job, Lanes
from .loans import Loans

_log = structlog.get_logger(__name__)

DRAIN_SECONDS = 1.0  # the last of the grace: for the step at hand
POLL_SECONDS = 5.0  # the safety net; what starts a run in time is the signal
CLAIM_MAX = 32  # runs that are claimed at a time
LEAVE_SECONDS = 0.05  # how long runs are left to other workers, when they may have been offered to them


class Worker:
    """Runs on the loop of the process; the graphs run on lanes."""

    def __init__(
        self,
        attempts: Attempts,
        executor: Executor,
        lanes: Lanes,
        signals: Signals,
        slots: int,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._attempts = attempts
        self._executor = executor
        self._lanes = lanes
        self._signals = signals
        self._slots = slots
        self._poll_seconds = poll_seconds
        self.worker_id: str | None = None  # among several; see membership.py
        self._gave_up = False
        self._active: dict[str, tuple[Attempt, Job[None]]] = {}
        self._reserved = 0
        self._claiming = False
        self._loans = Loans()
        self.ended = 0  # how many attempts are over
        self.draining = False
        self._closed = False

    async def work(self) -> None:
        """Claim runs for ever: whenever a signal says so, when a delayed run is due, and now and then.

        Several workers share runs fairly: each takes those that were offered to it, and a moment later what
        the others left.
        """
        offered = 0  # 0: whatever there is
        while not self.draining:
            claimed = await self._claim(offered)
            if claimed and not offered:
                continue  # those that were passed over may be free by now
            pause = LEAVE_SECONDS if claimed else await self._pause()
            offered = await self._signals.wait("runs", pause)
        self._tell_load()

    async def _claim(self, offered: int) -> int:
        """Claim runs and execute them; returns how many."""
        self._tell_load()
        if (free := self._free()) <= 0:
            return 0
        self._claiming = True
        limit = min(free, CLAIM_MAX, offered or CLAIM_MAX)
        claimed = await self._claimed(limit, likely=offered > 0)
        for run in claimed:
            self._execute(run)
        self._claiming = False
        self._tell_drain()
        return len(claimed)

    async def _claimed(self, limit: int, likely: bool) -> list[Run]:
        try:
            return await self._attempts.claim(limit, self.worker_id, likely=likely)
        except Exception:  # the task supervisor: a full disk must not end the worker
            _log.exception("could not claim runs")
            return []

    async def _pause(self) -> float:
        """Seconds to the next delayed run, at most the poll."""
        try:
            due = await self._attempts.next_due()
        except Exception:  # as above
            return self._poll_seconds
        if due is None:
            return self._poll_seconds
        left = (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds()
        # A run that is due and was not claimed waits for its thread: the end of the other run will ring.
        return min(left, self._poll_seconds) if left > 0 else self._poll_seconds

    @property
    def slots(self) -> tuple[int, int]:
        """How many runs are executed here, and how many could be."""
        return len(self._active), self._slots

    @property
    def idle(self) -> bool:
        """Whether nothing is being executed."""
        return not self._active

    def _free(self, asking: str = "") -> int:
        if self._gave_up:
            return 0  # what began now would be another's at once
        lent = self._loans.count(self._active.keys(), asking)
        return self._slots - len(self._active) - self._reserved + lent

    def reserve(self) -> bool:
        """See `services.starter.Starter`."""
        asking = asker.get()  # a run that starts another one most likely waits for it then
        if asking:
            self._loans.check()
        if (self.draining and not asking) or self._closed or self._free(asking) <= 0:
            return False
        self._reserved += 1
        return True

    def release(self) -> None:
        """See `services.starter.Starter`."""
        self._reserved -= 1
        self._freed()
        self._tell_drain()

    def start(self, run: Run) -> None:
        """See `services.starter.Starter`."""
        self._reserved -= 1
        self._execute(run)
        self._tell_drain()

    @contextmanager
    def lend(self, run_id: str) -> Iterator[None]:
        """See `backend.Work`. A synchronous node that waits keeps a thread: there is one more instead."""
        with self._loans.lend(run_id), self._lanes.one_thread_more():
            self._freed()
            yield

    def _freed(self) -> None:
        """A slot was given back; if it is the only one, somebody may be waiting for it."""
        self._tell_load()
        if self._free() == 1:
            self._signals.notify("runs")

    def _tell_load(self) -> None:
        full = self.draining or self._free() <= 0
        self._signals.busy("runs", None if full else len(self._active) + self._reserved)

    def join(self, worker_id: str) -> None:
        """Execute runs under this name from now on."""
        self.worker_id, self._gave_up = worker_id, False

    def _execute(self, run: Run) -> None:
        if self._gave_up or run.worker_id != self.worker_id:
            # What was claimed before this worker was out of reach, and is heard of only now: it is another's.
            _log.warning("a run came too late", run_id=run.run_id)
            return
        attempt = Attempt(run)
        job = self._lanes.submit(run.graph_id, self._executor.execute(attempt))
        self._active[run.run_id] = (attempt, job)
        self._tell_load()
        loop = asyncio.get_running_loop()
        job.done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._ended, attempt, job))

    def _ended(self, attempt: Attempt, job: Job[None]) -> None:
        self.ended += 1
        current = self._active.get(attempt.run.run_id)
        if current is not None and current[0] is attempt:
            del self._active[attempt.run.run_id]
            self._freed()
            self._tell_drain()
        if not job.done.cancelled() and (failure := job.done.exception()) is not None:
            _log.error("an attempt ended without an outcome", run_id=attempt.run.run_id, exc_info=failure)

    async def obey(self) -> None:
        """Stop runs for ever, as callers ask."""
        stopping: set[asyncio.Task[None]] = set()
        while True:
            await self._signals.wait("stop", self._poll_seconds)
            candidates = [run_id for run_id, (attempt, _) in self._active.items() if attempt.stop is None]
            if not candidates:
                continue
            for run_id, stop in (await self._attempts.to_stop(candidates)).items():
                task = asyncio.create_task(self._stop(run_id, stop))
                stopping.add(task)
                task.add_done_callback(stopping.discard)

    async def _stop(self, run_id: str, stop: tuple[str, str]) -> None:
        """Cancel; if the code does not let itself be cancelled in time, end the run without it."""
        attempt, job = self._active.get(run_id, (None, None))
        if attempt is None or job is None or attempt.stop is not None:
            return
        attempt.stop = stop
        job.cancel(lambda: attempt.cancellable)
        done, _ = await asyncio.wait([asyncio.wrap_future(job.done)], timeout=STOP_SECONDS / 2)
        if not done:
            await asyncio.wrap_future(self._lanes.submit_reading(self._executor.abandoned(attempt)).done)

    async def give_up(self) -> None:
        """This worker may be taken for dead: what it executes is given up, before others begin it anew."""
        self._gave_up = True
        left = list(self._active.values())
        if left:
            _log.warning("the database is out of reach: runs are given up", runs=len(left))
            await self._attempts.hand_over([_given_up(attempt, job) for attempt, job in left])

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more and let runs end within the grace; then have the others end after the step at hand.

        What goes on even then is given up. The next process goes on with those runs, and no attempt counts.
        Draining twice does nothing.
        """
        if self.draining:
            return
        self.draining = True
        self._signals.notify("runs")
        if self._active:
            _log.info("waiting for runs to end", runs=len(self._active), seconds=grace_seconds)
        last = min(DRAIN_SECONDS, grace_seconds)
        await self._until(lambda: not self._active and not self._beginning, grace_seconds - last)
        left = dict(self._active)  # those too that end between two steps now, and are not active any more
        for attempt, _ in left.values():
            attempt.control.request_drain()
        await self._until(lambda: not self._active and not self._beginning, last)
        self._closed = True
        # A run that is just being started must not be forgotten as one that runs.
        await self._until(lambda: not self._beginning, DRAIN_SECONDS)
        left.update(self._active)
        if left:
            await self._attempts.hand_over([_given_up(attempt, job) for attempt, job in left.values()])

    @property
    def _beginning(self) -> bool:
        """Whether runs are being written as running whose execution has not begun."""
        return self._reserved > 0 or self._claiming

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not holds() and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await self._signals.wait("drain", left)

    def _tell_drain(self) -> None:
        if self.draining:
            self._signals.notify("drain")


def _given_up(attempt: Attempt, job: Job[None]) -> Run:
    attempt.handed_over = True
    job.cancel(lambda: attempt.cancellable)
    return attempt.run
