"""What the server counts of itself: plain numbers that are cheap to change; `api/metrics` shows them.

A token changes numbers of its own run and takes no lock. They are added to those of its graph when the run
has ended; whoever looks before adds up both. So what is shown never decreases, and a token costs less than a
microsecond. What is counted is bounded: by graphs, routes and statuses, never by callers, threads or runs.
"""

import asyncio
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from ..clock import seconds
from ..models import Run

# Upper bounds, in seconds.
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAITS = (*QUICK[2:], 30.0, 60.0, 300.0, 1800.0)
RUNS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

TOKENS = ("messages", "custom")  # the modes whose events are taken for tokens, if they were asked for
HANDED_OVER = "handed_over"  # the status of an attempt that another one goes on with
OTHER = "other"
ROUTES_MAX = 1_000  # an app of the user's may have any number
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STALLED_SECONDS = 1.0  # who leaves a write unread for so long is stalled
LAG_SECONDS = 0.25  # between two looks at the event loop


class Histogram:
    """How often something took how long: `counts[i]` up to `bounds[i]` seconds, the last beyond all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = QUICK) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def merge(self, other: "Histogram") -> None:
        """Add what another of the same bounds counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


@dataclass(slots=True)
class OfGraph:
    """What was counted of the runs of one graph. Durations are by how the attempt ended."""

    waits: Histogram = field(default_factory=lambda: Histogram(WAITS))
    first_tokens: Histogram = field(default_factory=lambda: Histogram(WAITS))
    gaps: Histogram = field(default_factory=Histogram)
    tokens: int = 0
    running: int = 0
    durations: dict[str, Histogram] = field(default_factory=dict)


class RunMeter:
    """One attempt of one run. Its lane alone calls `heard`."""

    __slots__ = ("_last", "_modes", "began", "first_token", "gaps", "run", "tokens")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.began = monotonic()
        self.first_token: float | None = None  # seconds since the run could begin
        self.gaps = Histogram()
        self.tokens = 0
        self._last = 0.0
        # Of a run that was not asked for tokens messages are told when they are whole.
        asked = {mode.partition("-")[0] for mode in run.kwargs["stream_mode"]}
        self._modes = tuple(mode for mode in TOKENS if mode in asked)

    def heard(self, mode: str) -> None:
        """The graph streamed something. Between two tokens with a step's end in between there is no gap."""
        if mode not in self._modes:
            self._last = 0.0
            return
        at, last = monotonic(), self._last
        self._last = at
        self.tokens += 1
        if last:
            gap, gaps = (
                at - last,
                self.gaps,
            )  # what Histogram.add does, without the call: this is for every token
            gaps.counts[bisect_left(QUICK, gap)] += 1
            gaps.sum += gap
        elif self.first_token is None:
            self.first_token = since(self.run.due_at)


class Reader:
    """One open stream. `since` is when the write began that its client has not yet taken, or 0."""

    __slots__ = ("kind", "since")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.since = 0.0

    @property
    def stalled(self) -> bool:
        return self.since > 0 and monotonic() - self.since > STALLED_SECONDS


class Meters:
    """All that one process counts. Runs are counted on any thread, requests on the loop that serves."""

    def __init__(self, graph_ids: Sequence[str]) -> None:
        self._graphs = {graph_id: OfGraph() for graph_id in graph_ids}
        self._running: set[RunMeter] = set()
        self._lock = threading.Lock()
        self.readers: set[Reader] = set()
        self.requests: Counter[tuple[str, str, int]] = Counter()  # method, route, status
        self.answers: dict[tuple[str, str], Histogram] = {}  # method, route -> time to the answer's beginning
        self.sent_bytes = 0
        self.refused: Counter[str] = Counter()  # by the limit
        self.lag = Histogram()

    def begin(self, run: Run) -> RunMeter:
        """An attempt begins. Only the first one has waited for its turn."""
        meter = RunMeter(run)
        with self._lock:
            self._running.add(meter)
            graph = self._of(run.graph_id)
            if is_first(run):
                graph.waits.add(since(run.due_at))
        return meter

    def end(self, meter: RunMeter, status: str) -> None:
        """An attempt has ended; only the first call counts."""
        with self._lock:
            if meter not in self._running:
                return
            self._running.remove(meter)
            graph = self._of(meter.run.graph_id)
            _add(graph, meter)
            durations = graph.durations.setdefault(status, Histogram(RUNS))
            durations.add(monotonic() - meter.began)

    def answered(self, method: str, route: str, status: int, after: float | None, sent: int) -> None:
        """A request is over; its answer began `after` so many seconds, None: there was none."""
        method = method if method in METHODS else OTHER
        if (method, route) not in self.answers:
            route = route if len(self.answers) < ROUTES_MAX else OTHER
        self.requests[method, route, status] += 1
        self.sent_bytes += sent
        answers = self.answers.setdefault((method, route), Histogram(QUICK))
        if after is not None:
            answers.add(after)

    def graphs(self) -> dict[str, OfGraph]:
        """What was counted up to now, by graph."""
        with self._lock:
            found = {graph_id: _copy(graph) for graph_id, graph in self._graphs.items()}
            for meter in self._running:
                graph = found[meter.run.graph_id]
                graph.running += 1
                _add(graph, meter)
        return found

    def _of(self, graph_id: str) -> OfGraph:
        return self._graphs.setdefault(graph_id, OfGraph())

    async def watch_loop(self) -> None:
        """See for ever how late the event loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.lag.add(max(0.0, loop.time() - due))


def since(at: str) -> float:
    """Seconds since a time in the form of `clock.now()`; never below 0, whatever clock that was."""
    return max(0.0, seconds() - datetime.fromisoformat(at).timestamp())


def is_first(run: Run) -> bool:
    """Whether nobody has executed the run before: only then its waiting is that of its caller."""
    return run.attempt <= 1 and not run.handovers


def _add(graph: OfGraph, meter: RunMeter) -> None:
    if meter.first_token is not None and is_first(meter.run):
        graph.first_tokens.add(meter.first_token)
    graph.gaps.merge(meter.gaps)
    graph.tokens += meter.tokens


def _copy(graph: OfGraph) -> OfGraph:
    def copy(histogram: Histogram) -> Histogram:
        found = Histogram(histogram.bounds)
        found.merge(histogram)
        return found

    durations = {status: copy(histogram) for status, histogram in graph.durations.items()}
    waits, first_tokens, gaps = copy(graph.waits), copy(graph.first_tokens), copy(graph.gaps)
    return OfGraph(waits, first_tokens, gaps, graph.tokens, 0, durations)
