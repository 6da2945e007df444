"""The operations that start, follow, read and stop runs: a part of the table of contents."""

from . import deliveries, parameters, runs, stateless
from .described import CONTENT_LOCATION, LOCATION, RUN_STREAM
from .operation import Operation
from .schemas.deliveries import DeliveryView
from .schemas.meta import Nothing
from .schemas.results import ResultView
from .schemas.runs import RunCreate, RunsCancel, RunView

_LOCATED = (LOCATION, CONTENT_LOCATION)
_NAMED = (CONTENT_LOCATION,)
_MISSING = (404,)
_NOTHING_LEFT: dict[int, None] = {204: None}  # to EventSource, which stops on it
_STARTING = (400, 404, 409, 429, 503)

RUNS: tuple[Operation, ...] = (
    Operation(
        "POST", "/threads/{thread_id}/runs", runs.create, RunView, RunCreate, errors=_STARTING, headers=_NAMED
    ),
    Operation(
        "GET", "/threads/{thread_id}/runs", runs.listing, [RunView], errors=_MISSING, query=parameters.LIST
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/runs/stream",
        runs.stream,
        RUN_STREAM,
        RunCreate,
        errors=_STARTING,
        headers=_LOCATED,
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/runs/wait",
        runs.wait,
        ResultView,
        RunCreate,
        errors=_STARTING,
        headers=_LOCATED,
    ),
    Operation("GET", "/threads/{thread_id}/runs/{run_id}", runs.get, RunView, errors=_MISSING),
    Operation("DELETE", "/threads/{thread_id}/runs/{run_id}", runs.delete, None, status=204, errors=_MISSING),
    Operation(
        "GET",
        "/threads/{thread_id}/runs/{run_id}/stream",
        runs.join,
        RUN_STREAM,
        errors=_MISSING,
        query=parameters.JOIN,
        headers=_LOCATED,
        others=_NOTHING_LEFT,
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/runs/{run_id}/cancel",
        runs.cancel,
        Nothing,
        errors=_MISSING,
        query=parameters.CANCEL,
        headers=_LOCATED,
        others={202: None},
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/runs/{run_id}/join",
        runs.join_end,
        ResultView,
        errors=_MISSING,
        query=parameters.WAITING,
        headers=_LOCATED,
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/runs/{run_id}/deliveries",
        deliveries.listing,
        [DeliveryView],
        errors=_MISSING,
    ),
    Operation("POST", "/runs", stateless.create, RunView, RunCreate, errors=_STARTING, headers=_NAMED),
    Operation("POST", "/runs/batch", stateless.batch, [RunView], [RunCreate], errors=_STARTING),
    Operation(
        "POST",
        "/runs/cancel",
        stateless.cancel,
        None,
        RunsCancel,
        status=204,
        errors=_MISSING,
        query=parameters.ACTION,
    ),
    Operation(
        "POST", "/runs/stream", stateless.stream, RUN_STREAM, RunCreate, errors=_STARTING, headers=_LOCATED
    ),
    Operation(
        "POST", "/runs/wait", stateless.wait, ResultView, RunCreate, errors=_STARTING, headers=_LOCATED
    ),
    Operation(
        "GET",
        "/runs/{run_id}/stream",
        stateless.join,
        RUN_STREAM,
        errors=_MISSING,
        query=parameters.JOIN_ANY,
        headers=_LOCATED,
        others=_NOTHING_LEFT,
    ),
)
