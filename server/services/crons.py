"""Rules of crons: what may be said of one, what it shows, when it comes (contract/resources.md 7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ..clock import new_id, now
from ..errors import Conflict, Invalid, NotFound, RequestError
from ..models import METADATA_BYTES_MAX, Caller, Json, Page, RunRequest
from ..rules.access import Scope
from ..rules.crons import Cron, CronLimits, CronQuery
from ..storage import assistants, threads
from ..storage import crons as statements
from ..storage.database import Database, Tx
from ..storage.locks import lock, lock_thread
from ..streaming.encode import encode
from ..streaming.signals import Signals
from . import run_plan
from .authorization import OPEN, Authorization
from .cron_leave import CronLeave
from .resolution import id_of, resolve
from .schedules import YEARS_MAX, Schedule
from .threads import missing
from .webhook_policy import WebhookPolicy

PAYLOAD_BYTES_MAX = 1024 * 1024  # of what is kept to be said again and again
# What a run takes over as it was said.
_TAKEN_OVER = (
    "input",
    "context",
    "stream_subgraphs",
    "stream_resumable",
    "interrupt_before",
    "interrupt_after",
    "multitask_strategy",
    "webhook",
)


def schedule_of(cron: Cron) -> Schedule:
    """When it is due. Raises Invalid."""
    return Schedule(cron.schedule, cron.timezone, cron.cron_id)


def next_date(cron: Cron, at: str) -> str | None:
    """The first tick after a time and before the cron's end; None if there is none. Raises Invalid."""
    found = schedule_of(cron).after(datetime.fromisoformat(at))
    date = None if found is None else _text(found)
    return date if date is None or cron.ends_at is None or date < cron.ends_at else None


def request_of(cron: Cron, names: Mapping[str, str] | None = None) -> RunRequest:
    """What each of its runs is asked for with. `names` are of assistants that go by their graph's name."""
    said = cron.payload
    config = dict(said.get("config", {}))
    config["configurable"] = {
        key: value for key, value in config.get("configurable", {}).items() if key != "cron_id"
    }
    modes = said.get("stream_mode", [])
    durability = "exit" if said.get("checkpoint_during") is False else "async"
    return RunRequest(
        assistant_id=(names or {}).get(cron.assistant_id, cron.assistant_id),
        config=config,
        metadata={**cron.metadata, "cron_id": cron.cron_id},
        stream_mode=tuple([modes] if isinstance(modes, str) else dict.fromkeys(modes)) or ("values",),
        durability=said.get("durability", durability),
        cron_id=cron.cron_id,
        **{key: said[key] for key in _TAKEN_OVER if key in said},
    )


def changed(cron: Cron, said: Json, at: str) -> Cron:
    """The cron after somebody said this of it, at this time. Raises Invalid.

    `metadata` is merged key by key, everything else replaced; a null `end_time` is none.
    """
    metadata = {**cron.metadata, **said.get("metadata", {})}
    end_time = said.get("end_time", cron.end_time)
    after = replace(
        cron,
        schedule=said.get("schedule", cron.schedule),
        timezone=said.get("timezone", cron.timezone),
        end_time=end_time,
        ends_at=None if end_time is None else _utc(end_time),
        metadata=metadata,
        on_run_completed=None if cron.thread_id else said.get("on_run_completed", cron.on_run_completed),
        enabled=said.get("enabled", cron.enabled),
        updated_at=at,
    )
    after = replace(after, payload=_payload(after, {**cron.payload, **said}))
    date = _next_date(cron, after, at)
    return replace(after, next_run_date=date, due_at=date)


def _payload(cron: Cron, said: Json) -> Json:
    """What was said, as clients see it: with the assistant's id and, in the configuration, the cron's."""
    config = said.get("config", {})
    own = {"cron_id": cron.cron_id}
    shown = {
        **said,
        "assistant_id": cron.assistant_id,
        "config": {**config, "configurable": {**config.get("configurable", {}), **own}},
    }
    if "metadata" in said:
        shown["metadata"] = cron.metadata
    if cron.end_time is None:
        shown.pop("end_time", None)
    return shown


def _next_date(before: Cron, after: Cron, at: str) -> str | None:
    """When a changed cron is due next. What is due already stays so, if it would still be.

    A cron that was off begins anew: what it missed meanwhile is not made up for.
    """
    same = (before.schedule, before.timezone) == (after.schedule, after.timezone)
    kept = before.next_run_date if same and (before.enabled or not after.enabled) else None
    if kept is not None and (after.ends_at is None or kept < after.ends_at):
        return kept
    return next_date(after, at)


def _utc(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
        return _text(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Invalid("end_time: must be a date and time in ISO 8601, such as 2030-01-31T12:00:00Z") from None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _missing(cron_id: str) -> NotFound:
    return NotFound(f"Cron {cron_id} not found")


class Crons:
    """The crons of this server."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        graph_ids: Sequence[str],
        limits: CronLimits,
        webhooks: WebhookPolicy,
        clock: Callable[[], str] = now,
        authorization: Authorization = OPEN,
    ) -> None:
        self._database = database
        self._signals = signals
        self._graph_ids = graph_ids
        self._limits = limits
        self._webhooks = webhooks
        self._clock = clock
        self._leave = CronLeave(authorization, graph_ids)

    async def create(self, caller: Caller, thread_id: str | None, assistant_id: str, said: Json) -> Cron:
        """Make a cron, for one thread or with a thread for each run.

        Raises Invalid (schedule, zone, end, webhook), RequestError for a schedule that never comes,
        Contradiction, NotFound (thread, assistant), Conflict when the caller has as many as he may.
        """
        at = self._clock()
        new = Cron(
            cron_id=new_id(),
            assistant_id=assistant_id,
            thread_id=thread_id,
            schedule=said["schedule"],
            timezone=None,
            end_time=None,
            ends_at=None,
            payload={},
            metadata={},
            on_run_completed=None if thread_id else "delete",
            enabled=True,
            next_run_date=None,
            due_at=None,
            created_at=at,
            updated_at=at,
            identity=caller.identity,
            permissions=list(caller.permissions),
            user=run_plan.kept(caller),
            trusted=caller.trusted,
        )
        changed(new, said, at)  # what is wrong in itself needs no leave
        said, mine = await self._leave.create(caller, new, said)
        cron = changed(new, said, at)
        self._check_schedule(cron, at)
        self._check(cron)
        await self._webhooks.check(said.get("webhook"))
        made = await self._database.write(lambda tx: self._add(tx, cron, *mine))
        self._signals.notify("crons")
        return made

    def _add(self, tx: Tx, cron: Cron, of_assistants: Scope, of_threads: Scope) -> Cron:
        if cron.thread_id is not None:
            lock_thread(tx, cron.thread_id)
            if not threads.exists(tx, cron.thread_id, of_threads):
                raise missing(cron.thread_id)
        lock(tx, f"crons:{cron.identity}")
        assistants.hold(tx, id_of(cron.assistant_id, self._graph_ids))
        assistant = resolve(tx, cron.assistant_id, self._graph_ids, of_assistants)
        if statements.count_of(tx, cron.identity) >= self._limits.per_identity:
            raise Conflict(f"You have {self._limits.per_identity} crons, the most allowed: delete some first")
        made = replace(cron, assistant_id=assistant.assistant_id)
        made = replace(made, payload=_payload(made, cron.payload))
        statements.add(tx, made)
        return made

    async def get(self, caller: Caller, cron_id: str) -> Cron:
        """One cron. Raises NotFound."""
        scope = await self._leave.of(caller, "read", cron_id)
        found = await self._database.read(lambda tx: statements.get(tx, cron_id, scope))
        if found is None:
            raise _missing(cron_id)
        return found

    async def patch(self, caller: Caller, cron_id: str, said: Json) -> Cron:
        """Change a cron; from then on its runs are as was said, and come when was said.

        Raises like `create`, and RequestError when nothing was said.
        """
        if not said:
            raise RequestError("The request body says nothing that could be changed")
        said, scope = await self._leave.update(caller, cron_id, said)
        await self._webhooks.check(said.get("webhook"))

        def work(tx: Tx) -> Cron:
            before = statements.get_to_change(tx, cron_id, scope)
            if before is None:
                raise _missing(cron_id)
            at = self._clock()
            after = changed(before, said, at)
            if said.keys() & {"schedule", "timezone"}:
                self._check_schedule(after, at)
            self._check(after)
            statements.replace(tx, after)
            return after

        cron = await self._database.write(work)
        self._signals.notify("crons")
        return cron

    async def delete(self, caller: Caller, cron_id: str) -> None:
        """Delete a cron; what it has started goes on. Raises NotFound."""
        scope = await self._leave.of(caller, "delete", cron_id)
        if not await self._database.write(lambda tx: statements.remove(tx, cron_id, scope)):
            raise _missing(cron_id)

    async def search(self, caller: Caller, query: CronQuery, page: Page) -> tuple[list[Cron], int]:
        """A page of the crons that a query describes, and how many there are in all. Raises Invalid."""
        query, mine = await self._leave.search(caller, query, page.limit, page.offset)
        return await self._database.read(lambda tx: statements.search(tx, query, page, mine))

    async def count(self, caller: Caller, query: CronQuery) -> int:
        """How many crons a query describes. Raises Invalid."""
        query, mine = await self._leave.search(caller, query, 0, 0)
        return await self._database.read(lambda tx: statements.count(tx, query, mine))

    def _check_schedule(self, cron: Cron, at: str) -> None:
        schedule = schedule_of(cron)
        least = self._limits.interval_seconds_min
        if schedule.after(datetime.fromisoformat(at)) is None:
            raise RequestError(f"schedule: '{cron.schedule}' does not come within the next {YEARS_MAX} years")
        if (shortest := schedule.shortest_seconds()) < least:
            raise Invalid(f"schedule: comes every {shortest} seconds, and {least} is the least allowed")

    def _check(self, cron: Cron) -> None:
        run_plan.check(request_of(cron), stateless=cron.thread_id is None)
        if len(encode(cron.metadata)) > METADATA_BYTES_MAX:
            raise Invalid(f"metadata: must be at most {METADATA_BYTES_MAX} bytes of JSON, with what is there")
        if len(encode(cron.payload)) > PAYLOAD_BYTES_MAX:
            raise Invalid(f"A cron must be at most {PAYLOAD_BYTES_MAX} bytes of JSON")
