"""Traces of requests and runs, where somebody collects them: what the doors and the executor know of it.

The spans are made by `spans.py`, which needs the extra `otel`. Without it, or without a place to send them
to, there are none, and nothing of it is in the way.
"""

from contextvars import ContextVar
from typing import Any, Protocol

import structlog

from ..models import Run

_log = structlog.get_logger(__name__)

# The span of the request that is being answered (W3C Trace Context), for what it sets off; or nothing.
traceparent: ContextVar[str] = ContextVar("graphwire_traceparent", default="")


class RunSpan(Protocol):
    """The span of one attempt of a run. What happens in its context from its beginning on is inside."""

    @property
    def trace_id(self) -> str: ...

    @property
    def callbacks(self) -> list[Any]:
        """What LangChain has to call, so that nodes are spans too."""

    def failed(self, failure: BaseException) -> None:
        """Why it ends with an error."""

    def end(self, status: str) -> None:
        """The attempt has ended; only the first call counts."""


class RequestSpan(Protocol):
    """The span of one request, in its task. `traceparent` names it for whatever it sets off."""

    @property
    def trace_id(self) -> str: ...

    @property
    def traceparent(self) -> str: ...

    def end(self, route: str, status: int, request_id: str) -> None: ...


class Tracing(Protocol):
    """Makes spans; any thread."""

    def begin_request(self, method: str, path: str, headers: dict[str, str]) -> RequestSpan:
        """Continues the trace that the client's headers name."""

    def begin_run(self, run: Run) -> RunSpan:
        """Continues the trace of the request that asked for the run, in whichever process that was."""

    def close(self, seconds: float) -> None:
        """Send what is left, for so long at most."""


def open_tracing(endpoint: str | None) -> Tracing | None:
    """Spans for the collector at this address; None without one."""
    if endpoint is None:
        return None
    try:
        from .spans import OtelTracing
    except ImportError as missing:
        _log.warning("no traces are sent: install graphwire[otel]", missing=missing.name)
        return None
    return OtelTracing(endpoint)
