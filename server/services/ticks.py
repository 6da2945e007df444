"""A cron that is due -> a run: once for each tick, whatever breaks (reliability D11).

The run is admitted, and the next date of its cron stored, in one transaction: after a crash both are there
or neither. Ticks that were missed are made up for by one run, because the next date lies after the present.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from ..clock import new_id, now
from ..errors import AccessError, Invalid, RequestError
from ..models import RunRequest
from ..rules.crons import Cron, Tick
from ..storage import crons as statements
from ..storage.database import Database, Tx
from .crons import next_date, request_of
from .resolution import automatic_id
from .runs import Runs

_log = structlog.get_logger(__name__)

ON_TIME_SECONDS = 1.0  # how late a tick may be; beyond that the end of its cron has come first
WAIT_SECONDS_MIN, WAIT_SECONDS_MAX = 1.0, 60.0  # before a tick that failed is tried again


class Changed(Exception):
    """The cron is not what it was when it was read, or its tick was taken: nothing happened."""


class Ticks:
    """What is due. No caller stands behind these: the runs are made in the name of who made the cron."""

    def __init__(
        self, database: Database, runs: Runs, graph_ids: Sequence[str], clock: Callable[[], str] = now
    ) -> None:
        self._database = database
        self._runs = runs
        self._names = {automatic_id(graph_id): graph_id for graph_id in graph_ids}
        self._clock = clock

    async def due(self, most: int, in_hand: Sequence[str]) -> tuple[list[Tick], float | None]:
        """What to see to now, but for crons `in_hand`; and in how many seconds there is more."""
        at = self._clock()  # one time for both questions, as in services/deliveries.py

        def work(tx: Tx) -> tuple[list[Tick], str | None]:
            return statements.due(tx, at, most, in_hand), statements.next_due(tx, at)

        found, following = await self._database.read(work)
        return found, None if following is None else _seconds(at, following)

    async def fire(self, tick: Tick) -> None:
        """Make the run of a tick, unless the cron was changed meanwhile: then there is another tick.

        A tick whose run is refused for good is over: its thread is busy and `reject` was said, its graph or
        assistant is gone, or who made the cron may not run it any more. Raises what may pass: Overloaded,
        StorageFull, Invalid for a webhook's host.
        """
        cron = await self._database.read(lambda tx: statements.get(tx, tick.cron_id))
        if cron is None or not cron.enabled or cron.next_run_date != tick.at:
            return
        at = max(self._clock(), tick.at)  # should the clock have been put back, the tick does not come again
        following = next_date(cron, at)
        try:
            if cron.ends_at is not None and _seconds(cron.ends_at, at) > ON_TIME_SECONDS:
                await self._skip(cron, following)
            else:
                await self._run(cron, following)
        except Changed:
            return
        except (RequestError, AccessError) as failure:
            if isinstance(failure, Invalid):
                raise
            _log.warning("a cron could not run", cron_id=cron.cron_id, due=tick.at, error=failure.message)
            await self._skip(cron, following)

    async def postpone(self, tick: Tick) -> None:
        """See to a tick that failed later: soon at first, then ever more seldom."""
        at = self._clock()
        wait = min(max(_seconds(tick.at, at), WAIT_SECONDS_MIN), WAIT_SECONDS_MAX)
        to = datetime.fromisoformat(at) + timedelta(seconds=wait)
        text = to.isoformat(timespec="microseconds")
        await self._database.write(lambda tx: statements.postpone(tx, tick, text))

    async def _run(self, cron: Cron, following: str | None) -> None:
        request = request_of(cron, self._names)
        own_thread = new_id() if cron.on_run_completed == "keep" else None
        if own_thread is not None:
            request = replace(request, if_not_exists="create")

        def first(tx: Tx) -> None:
            _take(tx, cron, following)

        on, told = cron.thread_id or own_thread, _thread_metadata(request)
        await self._runs.create(cron.caller, on, request, first, told)

    async def _skip(self, cron: Cron, following: str | None) -> None:
        await self._database.write(lambda tx: statements.take(tx, cron, following))


def _take(tx: Tx, cron: Cron, following: str | None) -> None:
    if not statements.take(tx, cron, following):
        raise Changed


def _thread_metadata(request: RunRequest) -> dict[str, object]:
    """What a thread that is kept is found by (contract/resources.md 7)."""
    return {**request.config.get("metadata", {}), **request.metadata}


def _seconds(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
