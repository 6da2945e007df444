"""One attempt of one run: drive the graph, append what it emits, commit how it ended, then say so.

This is the first file of the hot path: executor -> stream_modes -> encode -> memory -> sse.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from ..asker import asker
from ..clock import seconds
from ..errors import Superseded
from ..graph.catalog import EXECUTION, Catalog, Graph
from ..graph.snapshots import interrupts_by_task
from ..models import Outcome, Run, RunStatus, ThreadStatus
from ..services.attempts import Attempts
from ..services.endings import cancelled
from ..storage.before_run import SaverBeforeRun
from ..storage.checkpoints import DatabaseSaver
from ..streaming.broker import Broker, Entry
from ..streaming.encode import encode
from ..telemetry.logs import bind
from ..telemetry.meters import HANDED_OVER, RunMeter
from ..telemetry.tracing import RunSpan
from ..telemetry.watching import Watching
from .asides import Asides
from .failures import describe_failure
from .partial import Unfinished
from .run_config import graph_input, ids, runnable_config, user_of
from .stream_modes import LIVE_MODES, Translator, announces_interrupt, root_interrupts

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Attempt:
    """A claimed run on its way. `stop` says why it is being cancelled: (action, reason)."""

    run: Run
    stop: tuple[str, str] | None = None
    handed_over: bool = False  # the server is going down: the next process goes on with the run
    begun: bool = False  # its log
    cancellable: bool = True  # not once the graph has ended: the outcome must be committed in peace
    held: list[Entry] = field(default_factory=list)  # interrupts, not to be seen before the commit
    announced: dict[str, Any] = field(default_factory=dict)  # the interrupts themselves, by id
    control: RunControl = field(default_factory=RunControl)  # asks the graph to end after the step at hand

    meter: RunMeter | None = None  # what it does is counted, if anything is
    span: RunSpan | None = None  # and traced
    unfinished: Unfinished = field(default_factory=Unfinished)  # what models are saying
    asides: Asides = field(init=False)  # what only protocol v2 shows

    def __post_init__(self) -> None:
        self.asides = Asides(self.run)

    @property
    def rolls_back(self) -> bool:
        return self.stop is not None and self.stop[0] == "rollback"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided about runs."""

    timeout_seconds: float
    error_text: str  # which exception texts clients see: known, all, none
    keep_partial: bool  # whether a cancelled run leaves what its model had said, if the caller does not say
    url: str


class Executor:
    """Executes attempts on the lane it is called on; many at a time."""

    def __init__(
        self,
        catalog: Catalog,
        saver: DatabaseSaver,
        broker: Broker,
        attempts: Attempts,
        rules: Rules,
        watching: Watching,
    ) -> None:
        self._catalog = catalog
        self._saver = saver
        self._broker = broker
        self._attempts = attempts
        self._rules = rules
        self._meters, self._tracing = watching.meters, watching.tracing

    async def execute(self, attempt: Attempt) -> None:
        """Run it to its end. Never raises: whatever user code throws becomes the run's outcome."""
        run = attempt.run
        asker.set(run.run_id)
        if self._tracing is not None:
            attempt.span = self._tracing.begin_run(run)
        bind(**ids(run), trace_id=attempt.span.trace_id if attempt.span else None)
        if self._meters is not None:
            attempt.meter = self._meters.begin(run)
        try:
            await self._begin(attempt)
            outcome: Outcome | None = await self._outcome(attempt)
        except BaseException as failure:  # the graph's factory or its reading of the state failed
            outcome = None if attempt.handed_over else self._failed(attempt, failure)
        attempt.cancellable = False
        if outcome is not None and not attempt.handed_over:
            await self.finish(attempt, outcome)
        else:
            self._ended(attempt, HANDED_OVER)

    async def _begin(self, attempt: Attempt) -> None:
        """Begin the log, also of a run that is stopped meanwhile: how it ended is told there."""
        run = attempt.run
        try:
            await self._broker.begin(run.run_id, run.thread_id, run.attempt)
        except asyncio.CancelledError:
            await self._broker.begin(run.run_id, run.thread_id, run.attempt)
            raise
        finally:
            attempt.begun = True
            first = Entry("metadata", encode({"run_id": run.run_id, "attempt": run.attempt}))
            for entry in (first, *attempt.asides.beginning()):  # the log began just now, and has that time
                self._broker.append(run.run_id, entry)

    async def finish(self, attempt: Attempt, outcome: Outcome) -> None:
        """Commit the outcome, then let readers see the end."""
        last = [*attempt.held, *attempt.asides.ending(outcome, _millis(), attempt.announced.values())]
        if outcome.status in (RunStatus.error, RunStatus.timeout) and outcome.error:
            last.append(Entry("error", encode(outcome.error)))
        await self._attempts.finish(attempt.run, outcome, last)
        self._ended(attempt, outcome.status)

    def _ended(self, attempt: Attempt, status: str) -> None:
        if self._meters is not None and attempt.meter is not None:
            self._meters.end(attempt.meter, status)
        if attempt.span is not None:
            attempt.span.end(status)

    async def abandoned(self, attempt: Attempt) -> None:
        """End an attempt whose code does not let itself be cancelled; what it still does has no effect."""
        run = attempt.run
        bind(**ids(run))
        if not attempt.begun:
            await self._broker.begin(run.run_id, run.thread_id, run.attempt)
        try:
            async with self._open(run, "threads.read") as graph:
                outcome = await self._settle(graph, attempt, asyncio.CancelledError())
        except BaseException as failure:
            outcome = self._failed(attempt, failure)
        await self.finish(attempt, outcome)

    def _open(self, run: Run, access: str = EXECUTION) -> AbstractAsyncContextManager[Graph]:
        saver = self._saver.fenced(run.run_id, run.attempt)
        config = self._config(run)
        told = {"context": run.kwargs.get("context"), "user": user_of(run)}
        return self._catalog.open(run.graph_id, config, checkpointer=saver, access=access, **told)

    def _config(self, run: Run) -> RunnableConfig:
        return cast(RunnableConfig, runnable_config(run, self._rules.url))

    async def _outcome(self, attempt: Attempt) -> Outcome | None:
        """How the run ended; None when the graph stopped between two steps, because the server goes down."""
        async with self._open(attempt.run) as graph:
            failure = await self._drive(graph, attempt)
            attempt.cancellable = False
            if isinstance(failure, GraphDrained) and attempt.control.drain_requested:
                return None
            if attempt.handed_over or (isinstance(failure, Superseded) and attempt.stop is None):
                return None  # the run is another attempt's by now
            return await self._settle(graph, attempt, failure)

    async def _drive(self, graph: Graph, attempt: Attempt) -> BaseException | None:
        """Let the graph run and append what it emits; returns what ended it early."""
        run = attempt.run
        asked, subgraphs = run.kwargs["stream_mode"], run.kwargs["subgraphs"]
        # Whoever knows the thread may watch, also after the run has begun, and through either protocol.
        translator = Translator.of(asked, subgraphs=subgraphs, recorded=not run.temporary)
        try:
            async with asyncio.timeout(self._rules.timeout_seconds):
                async for namespace, mode, chunk in self._chunks(graph, attempt, translator):
                    self._hear(attempt, translator, namespace, mode, chunk)
        except BaseException as failure:  # the run boundary: SystemExit and all
            return failure
        return None

    def _hear(
        self, attempt: Attempt, translator: Translator, namespace: tuple[str, ...], mode: str, chunk: Any
    ) -> None:
        """Append what one chunk tells."""
        entries = translator.entries(namespace, mode, chunk)
        entries += attempt.asides.of(namespace, mode, chunk)
        if mode == "messages":
            attempt.unfinished.hear(*chunk)
        if attempt.meter is not None:
            attempt.meter.heard(mode)
        # An interrupt must not be seen before its status is committed: a fast answer would meet a busy
        # thread. Tokens of nodes beside it flow on; what tells of state keeps its order.
        attempt.announced.update(root_interrupts(namespace, mode, chunk))
        if announces_interrupt(mode, chunk) or (attempt.held and mode not in LIVE_MODES):
            attempt.held += entries
        else:
            self._emit(attempt, entries, live=mode in LIVE_MODES)

    def _overhear(self, attempt: Attempt, translator: Translator, *told: Any) -> None:
        """A thread that cannot be cancelled may talk on when the attempt is over, in the log of another."""
        if attempt.cancellable and not attempt.handed_over:
            self._hear(attempt, translator, *told)

    async def _chunks(
        self, graph: Graph, attempt: Attempt, translator: Translator
    ) -> AsyncIterator[tuple[tuple[str, ...], str, Any]]:
        """(namespace, mode, chunk) of everything the graph streams, in its order."""
        run, modes = attempt.run, translator.graph_modes
        subgraphs = translator.recorded or run.kwargs["subgraphs"]
        arguments = {**await self._arguments(run), "subgraphs": subgraphs, "control": attempt.control}
        loop, hear = asyncio.get_running_loop(), partial(self._overhear, attempt, translator)
        callbacks = translator.callbacks(partial(loop.call_soon_threadsafe, hear))
        arguments["config"]["callbacks"] = [*(attempt.span.callbacks if attempt.span else ()), *callbacks]
        if "events" in translator.modes:
            arguments["stream_mode"] = modes or ["values"]
            async for item in graph.astream_events(version="v2", **arguments):
                if item["event"] != "on_chain_stream" or item["parent_ids"]:
                    yield (), "events", item
                elif modes:  # what the root streams carries the other modes and is not an event of its own
                    part = item["data"]["chunk"]
                    yield part if subgraphs else ((), *part)
            return
        async for part in graph.astream(stream_mode=cast(Any, modes), **arguments):
            yield part if subgraphs else ((), *part)

    async def _arguments(self, run: Run) -> dict[str, Any]:
        config = runnable_config(run, self._rules.url)
        arguments: dict[str, Any] = {
            "input": graph_input(run),
            "config": config,
            "context": run.kwargs.get("context"),
            "durability": run.kwargs["durability"],
            "interrupt_before": run.kwargs.get("interrupt_before"),
            "interrupt_after": run.kwargs.get("interrupt_after"),
        }
        if run.attempt > 1 and await self._began(run):
            arguments["input"] = None  # an earlier attempt saved its progress: go on from there
            config["configurable"].pop("checkpoint_id", None)
        return arguments

    async def _began(self, run: Run) -> bool:
        found = await self._saver.aget_tuple(
            {"configurable": {"thread_id": run.thread_id, "checkpoint_ns": ""}}
        )
        return found is not None and found.metadata.get("run_id") == run.run_id

    async def _settle(self, graph: Graph, attempt: Attempt, failure: BaseException | None) -> Outcome:
        """The outcome, with the state that the run left, or found where it is rolled back."""
        config: RunnableConfig = {"configurable": {"thread_id": attempt.run.thread_id}}
        if failure is not None and attempt.rolls_back:
            graph = self._catalog.on(graph, SaverBeforeRun(self._saver, attempt.run.run_id))
        elif failure is not None and self._keeps_partial(attempt):
            await attempt.unfinished.keep(graph, self._config(attempt.run))
        try:
            snapshot = await graph.aget_state(config)
        except Exception as unreadable:  # reducers, edges and state classes are user code
            if failure is None:
                raise
            _log.warning("the state of a failed run cannot be read", exc_info=unreadable)
            return self._failed(attempt, failure)
        values = encode(snapshot.values) if snapshot.created_at else None
        pending = encode(interrupts_by_task(snapshot))
        waiting = ThreadStatus.interrupted if snapshot.next else ThreadStatus.idle
        if failure is None:
            # The state does not know the interrupt of a task made by `goto` with a Send; the stream does.
            attempt.announced.update({item.id: item for item in snapshot.interrupts})
            found = list(attempt.announced.values())
            interrupts = encode(found) if found else None
            return Outcome(RunStatus.success, waiting, values, pending, returned_interrupts=interrupts)
        ended = self._failed(attempt, failure)
        status = waiting if ended.status is RunStatus.interrupted else ended.thread_status
        return replace(ended, thread_status=status, values=values, interrupts=pending)

    def _keeps_partial(self, attempt: Attempt) -> bool:
        action = attempt.stop[0] if attempt.stop else ""
        return action == "keep" or (action == "interrupt" and self._rules.keep_partial)

    def _failed(self, attempt: Attempt, failure: BaseException) -> Outcome:
        """The outcome of a run that did not come to its end."""
        if attempt.stop and isinstance(failure, asyncio.CancelledError | Superseded):
            return cancelled(*attempt.stop)
        if isinstance(failure, TimeoutError) and _is_limit(failure):
            text = f"the run took longer than {self._rules.timeout_seconds:g} seconds"
            error = {"error": "TimeoutError", "message": text}
            return Outcome(RunStatus.timeout, ThreadStatus.error, error=error, reason=text)
        _log.error("run failed", exc_info=failure)
        if attempt.span is not None:
            attempt.span.failed(failure)
        error = describe_failure(failure, self._rules.error_text)
        return Outcome(RunStatus.error, ThreadStatus.error, error=error)

    def _emit(self, attempt: Attempt, entries: list[Entry], *, live: bool = False) -> None:
        if entries and (time := attempt.asides.time(_millis(), live=live)):
            self._broker.append(attempt.run.run_id, time)
        for entry in entries:
            self._broker.append(attempt.run.run_id, entry)


def _millis() -> int:
    return int(seconds() * 1000)


def _is_limit(failure: TimeoutError) -> bool:
    """Whether asyncio.timeout raised it: it does so from the cancellation it caused, with no text."""
    return not failure.args and isinstance(failure.__cause__, asyncio.CancelledError)
