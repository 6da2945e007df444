"""What the server counts of itself, for Prometheus; docs/operations.md says what each metric means."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..errors import NotFound
from ..models import Json
from ..telemetry.levels import Levels, Queue
from ..telemetry.meters import Histogram, Meters, OfGraph
from .context import backend
from .responses import json

OFF = "Metrics are switched off (GRAPHWIRE_METRICS)"
READERS = ("events", "socket")
Labels = Any  # a tuple of strings
Values = Mapping[Labels, float]


async def metrics(request: Request) -> Response:
    """What the server counts of itself: for Prometheus or, with `format=json`, in short as JSON."""
    observed = backend(request).observed
    if observed is None:
        raise NotFound(OFF)
    seen = Seen(observed.meters, await observed.levels())
    if request.query_params.get("format") == "json":
        return json(summary(seen))
    # On a thread: it takes some milliseconds, for which no stream shall wait.
    text = await asyncio.to_thread(exposition, seen)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class Seen(Collector):
    """One look at the numbers of a server."""

    def __init__(self, meters: Meters, levels: Levels) -> None:
        self.levels = levels
        self.graphs = meters.graphs()
        self.requests = dict(meters.requests)
        self.answers = dict(meters.answers)
        self.refused = dict(meters.refused)
        self.sent_bytes = meters.sent_bytes
        self.lag = meters.lag
        self.open = {kind: sum(reader.kind == kind for reader in meters.readers) for kind in READERS}
        self.stalled = {
            kind: sum(reader.kind == kind and reader.stalled for reader in meters.readers) for kind in READERS
        }

    def collect(self) -> Iterable[Metric]:
        yield gauge("build_info", "1; the label says which version this is", {(__version__,): 1}, "version")
        yield from self._runs()
        yield from self._streams()
        yield from self._requests()
        yield from self._loops()

    def _runs(self) -> Iterator[Metric]:
        graphs, levels = self.graphs, self.levels
        by_graph = Parts(graphs)
        yield by_graph.histogram(
            "run_queue_wait_seconds", "From when a run could begin to when it did", "waits"
        )
        yield by_graph.histogram(
            "run_time_to_first_token_seconds",
            "From when a run could begin to its first token, for runs that stream tokens",
            "first_tokens",
        )
        yield by_graph.histogram("token_gap_seconds", "Between two tokens of a run within one step", "gaps")
        yield counter("tokens", "Tokens that were streamed", by_graph.numbers("tokens"), "graph")
        yield gauge("runs_running", "Runs that this process executes", by_graph.numbers("running"), "graph")
        durations = {
            (graph, status): histogram
            for graph, found in graphs.items()
            for status, histogram in found.durations.items()
        }
        yield histograms(
            "run_duration_seconds", "Attempts of runs that ended here, and how", durations, "graph", "status"
        )
        yield gauge("slots", "Runs that this process can execute at the same time", {(): levels.slots})
        yield gauge("slots_used", "Slots that are taken", {(): levels.executing})
        if levels.queue is not None:
            yield from _queue(levels.queue, graphs)

    def _streams(self) -> Iterator[Metric]:
        yield gauge("readers", "Open streams", _labelled(self.open), "kind")
        yield gauge("readers_stalled", "Streams whose client reads nothing", _labelled(self.stalled), "kind")
        yield gauge("logs", "Streams of runs that are held in memory", {(): self.levels.logs})
        yield gauge("log_bytes", "Bytes that they take", {(): self.levels.log_bytes})

    def _requests(self) -> Iterator[Metric]:
        requests = {
            (method, route, str(code)): count for (method, route, code), count in self.requests.items()
        }
        names = ("method", "route", "status")
        yield counter("http_requests", "Requests that are over", requests, *names)
        yield histograms(
            "http_response_start_seconds", "To the beginning of the answer", self.answers, *names[:2]
        )
        yield counter("http_sent_bytes", "Bytes of bodies that were sent", {(): self.sent_bytes})
        yield counter("http_refused", "Requests refused with 429", _labelled(self.refused), "limit")

    def _loops(self) -> Iterator[Metric]:
        blocked = {(name.strip(),): seconds for name, seconds in self.levels.blocked.items()}
        yield histograms("loop_lag_seconds", "How late the loop that serves HTTP is", {(): self.lag})
        yield gauge("graph_blocked_seconds", "How long a graph has blocked its loop", blocked, "graph")
        pools = {"nodes": self.levels.node_threads, "database": self.levels.connections}
        for name, text in (
            ("used", "Threads or connections in use"),
            ("size", "Threads or connections at most"),
            ("waiting", "Work that waits for a thread or connection"),
        ):
            found = {(pool,): getattr(numbers, name) for pool, numbers in pools.items()}
            yield gauge(f"pool_{name}", text, found, "pool")


def _queue(queue: Queue, graphs: Mapping[str, Any]) -> Iterator[Metric]:
    waiting = {(graph,): queue.waiting.get(graph, 0) for graph in {*graphs, *queue.waiting}}
    yield gauge("runs_waiting", "Runs that wait, of all processes", waiting, "graph")
    longest = {
        ("no",): queue.longest_unblocked_wait or 0.0,
        ("yes",): queue.longest_wait or 0.0,
    }
    text = "How long the first waits that is due; without those that wait for a run of their thread, and with"
    yield gauge("runs_waiting_longest_seconds", text, longest, "blocked")


@dataclass(frozen=True, slots=True)
class Parts:
    """Numbers of each graph as one metric."""

    graphs: Mapping[str, OfGraph]

    def histogram(self, name: str, text: str, field: str) -> Metric:
        found = {(graph,): getattr(of_graph, field) for graph, of_graph in self.graphs.items()}
        return histograms(name, text, found, "graph")

    def numbers(self, field: str) -> dict[Labels, float]:
        return {(graph,): getattr(of_graph, field) for graph, of_graph in self.graphs.items()}


def gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"graphwire_{name}", text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = CounterMetricFamily(f"graphwire_{name}", text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def histograms(name: str, text: str, values: Mapping[Labels, Histogram], *labels: str) -> Metric:
    family = HistogramMetricFamily(f"graphwire_{name}", text, labels=labels)
    for label, found in values.items():
        bounds = [*(str(float(bound)) for bound in found.bounds), "+Inf"]
        family.add_metric(label, list(zip(bounds, accumulate(found.counts), strict=True)), found.sum)
    return family


def _labelled(numbers: Mapping[str, float]) -> Values:
    return {(name,): number for name, number in numbers.items()}


def exposition(seen: Seen) -> bytes:
    """The text that Prometheus reads; with what its client knows of every process of Python."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(seen)
    return generate_latest(registry)


def summary(seen: Seen) -> Json:
    """The short form, as the reference has it (contract/resources.md 2)."""
    queue, levels = seen.levels.queue, seen.levels
    return {
        "queue": {
            "n_pending": sum(queue.waiting.values()) if queue else None,
            "pending_runs_wait_time_max_secs": queue.longest_wait if queue else None,
            "pending_runs_wait_time_med_secs": queue.median_wait if queue else None,
            "pending_unblocked_runs_wait_time_max_secs": queue.longest_unblocked_wait if queue else None,
            "n_running": queue.running if queue else None,
        },
        "api": {
            "http_requests_total": [
                {"method": method, "path": route, "status": status, "count": count}
                for (method, route, status), count in seen.requests.items()
            ]
        },
        "workers": {
            "max": levels.slots,
            "active": levels.executing,
            "available": max(0, levels.slots - levels.executing),
        },
    }
