"""Spans by OpenTelemetry: request -> run -> node, with what a graph's own code makes inside."""

import threading
from collections.abc import Mapping, Sequence
from contextvars import Token
from typing import Any
from uuid import UUID

import structlog
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphBubbleUp
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import __version__
from ..models import Run, RunStatus

_log = structlog.get_logger(__name__)
_w3c = TraceContextTextMapPropagator()

STEP = "graph:step:"  # begins the tag that LangGraph gives to nodes, and to nothing inside of them
FAILED = (RunStatus.error, RunStatus.timeout)


class OtelTracing:
    """See `tracing.Tracing`. A provider that the project has set up is used as it is."""

    def __init__(self, endpoint: str) -> None:
        found = trace.get_tracer_provider()
        self._own = None if isinstance(found, TracerProvider) else _provider(endpoint)
        if self._own is not None:
            trace.set_tracer_provider(self._own)  # for spans of the graphs' own code
        self._provider = found if isinstance(found, TracerProvider) else self._own
        self._tracer = trace.get_tracer("graphwire", __version__)

    def begin_request(self, method: str, path: str, headers: dict[str, str]) -> "OtelRequest":
        attributes = {"http.request.method": method, "url.path": path}
        parent = _w3c.extract(headers, Context())
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        return OtelRequest(span, method)

    def begin_run(self, run: Run) -> "OtelRun":
        told: dict[str, str | int] = {
            "graphwire.run_id": run.run_id,
            "graphwire.thread_id": run.thread_id,
            "graphwire.graph_id": run.graph_id,
            "graphwire.assistant_id": run.assistant_id,
            "graphwire.attempt": run.attempt,
        }
        parent = _w3c.extract({"traceparent": run.kwargs.get("traceparent", "")}, Context())
        return OtelRun(self._tracer, self._tracer.start_span(f"run {run.graph_id}", parent, attributes=told))

    def close(self, seconds: float) -> None:
        """On a thread: the collector may be away, and nothing waits for it for longer."""
        if self._own is not None:
            closing = threading.Thread(target=self._own.shutdown, daemon=True)
            closing.start()
            closing.join(seconds)


def _provider(endpoint: str) -> TracerProvider:
    """Ours; what else there is to say of it is said by the variables of OpenTelemetry."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "graphwire", "service.version": __version__}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class OtelRequest:
    """See `tracing.RequestSpan`."""

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method
        self._within = trace.set_span_in_context(span, Context())
        self._token: Token[Context] = contexts.attach(self._within)

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        _w3c.inject(carrier, self._within)
        return carrier.get("traceparent", "")

    def end(self, route: str, status: int, request_id: str) -> None:
        span = self._span
        span.update_name(f"{self._method} {route}")
        span.set_attributes({"http.route": route, "graphwire.request_id": request_id})
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        contexts.detach(self._token)
        span.end()


class OtelRun:
    """See `tracing.RunSpan`."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        within = trace.set_span_in_context(span, Context())
        self._span = span
        self._nodes = Nodes(tracer, within)
        self._ending = threading.Lock()
        self._ended = False
        contexts.attach(within)  # to the end of the attempt's task

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def callbacks(self) -> list[Any]:
        return [self._nodes]

    def failed(self, failure: BaseException) -> None:
        self._span.record_exception(failure)

    def end(self, status: str) -> None:
        with self._ending:
            if self._ended:
                return
            self._ended = True
        self._span.set_attribute("graphwire.status", status)
        if status in FAILED:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Nodes(BaseCallbackHandler):
    """A span a node, of the graph and its subgraphs.

    LangChain calls it where the node begins in the context in which it will run, so the node's span is the
    parent of whatever is made there. Where the node ends that may be another context, and LangGraph runs one
    that is alone in its step in the context of the run: so the span of a node that has ended may still be the
    current one when the next begins, which then belongs to what LangChain says it is part of.
    """

    run_inline = True  # in the node's own context, and not on another thread
    ignore_llm = ignore_chat_model = ignore_retriever = ignore_agent = True
    ignore_retry = ignore_custom_event = True

    def __init__(self, tracer: trace.Tracer, run: Context) -> None:
        self._tracer = tracer
        self._run = run
        self._within: dict[UUID, Context] = {}  # by LangChain's ids: inside of which span it is
        self._open: dict[UUID, Span] = {}

    def on_chain_start(
        self,
        serialized: Mapping[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        around = self._around(parent_run_id)
        self._within[run_id] = around
        if not any(tag.startswith(STEP) for tag in tags or ()):
            return
        told = metadata or {}
        name = str(told.get("langgraph_node") or kwargs.get("name"))
        span = self._open[run_id] = self._tracer.start_span(f"node {name}", around)
        span.set_attribute("graphwire.node", name)
        span.set_attribute("graphwire.step", int(told.get("langgraph_step") or 0))
        self._within[run_id] = trace.set_span_in_context(span, around)
        contexts.attach(self._within[run_id])

    def _around(self, parent_run_id: UUID | None) -> Context:
        """A span that goes on here, the user's own perhaps; else what this is part of."""
        if trace.get_current_span().is_recording():
            return contexts.get_current()
        return self._within.get(parent_run_id, self._run) if parent_run_id else self._run

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        self._within.pop(run_id, None)
        span = self._open.pop(run_id, None)
        if span is None:
            return
        if error is not None and not isinstance(error, GraphBubbleUp):  # a question is no failure
            span.record_exception(error)
            span.set_status(StatusCode.ERROR)
        span.end()
