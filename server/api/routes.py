"""The table of contents: every operation of the REST door, one line each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..models import RunStatus
from ..streaming.sse import THREAD_MODES
from . import assistants, deliveries, following, meta, runs, state, stateless, store, threads
from .schemas.assistants import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    AssistantVersionView,
    AssistantView,
    DrawingView,
    SchemasView,
    VersionChoice,
    VersionSearch,
)
from .schemas.deliveries import DeliveryView
from .schemas.meta import Info, Ok
from .schemas.runs import COLUMNS, RunCreate, RunsCancel, RunView
from .schemas.state import HISTORY_MAX, HistoryRead, StateRead, StateUpdate, StateUpdated, StateView
from .schemas.store import (
    FoundItems,
    FoundNamespaces,
    ItemName,
    ItemsSearch,
    ItemView,
    ItemWrite,
    NamespacesSearch,
)
from .schemas.threads import ThreadCreate, ThreadView

Shape = type[BaseModel] | list[type[BaseModel]]  # a list of one: a JSON list of these
Handler = Callable[[Request], Awaitable[Response]]
STREAM = "text/event-stream"
ANY = "application/json"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: how it is routed and what the OpenAPI document says of it."""

    method: str
    path: str
    handler: Handler
    answer: Shape | str | None  # a schema, a media type, or nothing
    body: Shape | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    query: dict[str, Any] = field(default_factory=dict)
    paged: bool = False  # answers with the headers of api/paging.py


_FLAG = {"type": "boolean"}
_CHECK = {"check_db": {"type": "integer", "default": 0}}
_ACTION = {"action": {"type": "string", "enum": ["interrupt", "rollback"]}, "keep_partial": _FLAG}
_CANCEL = {"wait": _FLAG, **_ACTION}
_WAITING = {"cancel_on_disconnect": _FLAG}
_LIST = {
    "limit": {"type": "integer", "minimum": 0, "maximum": runs.LIST_MAX, "default": 10},
    "offset": {"type": "integer", "minimum": 0, "maximum": runs.OFFSET_MAX, "default": 0},
    "status": {"type": "string", "enum": [*RunStatus]},
    "select": {"type": "array", "items": {"type": "string", "enum": [*COLUMNS]}},
}
_JOIN = {"stream_mode": {"type": "array", "items": {"type": "string"}}, "cancel_on_disconnect": _FLAG}
_XRAY = {
    "xray": {"anyOf": [_FLAG, {"type": "integer", "minimum": 1, "maximum": assistants.XRAY_MAX}]},
}
_RECURSE = {"recurse": _FLAG}
_FINDING = (404, 413, 422)
_ASKING = (400, 404, 422, 424)
_THREAD_STREAM = {
    name: {"type": "array", "items": {"type": "string", "enum": [*THREAD_MODES]}}
    for name in ("stream_modes", "stream_mode")
}
_SELECT = {"select": {"type": "array", "items": {"type": "string"}}}
_STATE = {"subgraphs": _FLAG, **_SELECT}
_HISTORY = {
    "limit": {"type": "integer", "minimum": 0, "maximum": HISTORY_MAX, "default": state.LIMIT_DEFAULT},
    "before": {"type": "string", "format": "uuid"},
    **_SELECT,
}
_ITEM = {"namespace": {"type": "string"}, "key": {"type": "string"}, "refresh_ttl": _FLAG}
_STORE = (400, 413, 422, 502)
_READING = (400, 404, 422, 424)  # of a state: the graph is asked
_STARTING = (400, 404, 409, 413, 422, 429, 503)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/", meta.ok, Ok, errors=(400, 503), query=_CHECK),
    Operation("GET", "/ok", meta.ok, Ok, errors=(400, 503), query=_CHECK),
    Operation("GET", "/info", meta.info, Info),
    Operation("GET", "/openapi.json", meta.openapi, ANY),
    Operation("GET", "/docs", meta.docs, HTML),
    Operation(
        "POST",
        "/assistants",
        assistants.create,
        AssistantView,
        AssistantCreate,
        errors=(400, 404, 409, 413, 422),
    ),
    Operation(
        "POST",
        "/assistants/search",
        assistants.search,
        [AssistantView],
        AssistantSearch,
        errors=_FINDING,
        paged=True,
    ),
    Operation("POST", "/assistants/count", assistants.count, ANY, AssistantFilter, errors=_FINDING),
    Operation("GET", "/assistants/{assistant_id}", assistants.get, AssistantView, errors=(404, 422)),
    Operation(
        "PATCH",
        "/assistants/{assistant_id}",
        assistants.patch,
        AssistantView,
        AssistantPatch,
        errors=(400, 404, 413, 422),
    ),
    Operation(
        "DELETE",
        "/assistants/{assistant_id}",
        assistants.delete,
        None,
        status=204,
        errors=(404, 422),
        query={"delete_threads": _FLAG},
    ),
    Operation(
        "GET",
        "/assistants/{assistant_id}/graph",
        assistants.graph,
        DrawingView,
        errors=_ASKING,
        query=_XRAY,
    ),
    Operation("GET", "/assistants/{assistant_id}/schemas", assistants.schemas, SchemasView, errors=_ASKING),
    Operation(
        "GET",
        "/assistants/{assistant_id}/subgraphs",
        assistants.subgraphs,
        ANY,
        errors=_ASKING,
        query=_RECURSE,
    ),
    Operation(
        "GET",
        "/assistants/{assistant_id}/subgraphs/{namespace}",
        assistants.subgraphs,
        ANY,
        errors=_ASKING,
        query=_RECURSE,
    ),
    Operation(
        "POST",
        "/assistants/{assistant_id}/versions",
        assistants.versions,
        [AssistantVersionView],
        VersionSearch,
        errors=_FINDING,
    ),
    Operation(
        "POST",
        "/assistants/{assistant_id}/latest",
        assistants.latest,
        AssistantView,
        VersionChoice,
        errors=_FINDING,
    ),
    Operation("POST", "/threads", threads.create, ThreadView, ThreadCreate, errors=(409, 413, 422)),
    Operation("GET", "/threads/{thread_id}", threads.get, ThreadView, errors=(404, 422)),
    Operation("DELETE", "/threads/{thread_id}", threads.delete, None, status=204, errors=(404, 422)),
    Operation("GET", "/threads/{thread_id}/state", state.get, StateView, errors=_READING, query=_STATE),
    Operation(
        "POST",
        "/threads/{thread_id}/state",
        state.update,
        StateUpdated,
        StateUpdate,
        errors=(*_READING, 409, 413, 503),
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/state/checkpoint",
        state.find,
        StateView,
        StateRead,
        errors=(*_READING, 413),
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/state/{checkpoint_id}",
        state.get_at,
        StateView,
        errors=_READING,
        query=_STATE,
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/history",
        state.history,
        [StateView],
        errors=(*_READING, 413),
        query=_HISTORY,
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/history",
        state.search_history,
        [StateView],
        HistoryRead,
        errors=(*_READING, 413),
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/stream",
        following.thread,
        STREAM,
        errors=(404, 422),
        query=_THREAD_STREAM,
    ),
    Operation("POST", "/threads/{thread_id}/runs", runs.create, RunView, RunCreate, errors=_STARTING),
    Operation("GET", "/threads/{thread_id}/runs", runs.listing, [RunView], errors=(404, 422), query=_LIST),
    Operation("POST", "/threads/{thread_id}/runs/stream", runs.stream, STREAM, RunCreate, errors=_STARTING),
    Operation("POST", "/threads/{thread_id}/runs/wait", runs.wait, ANY, RunCreate, errors=_STARTING),
    Operation("GET", "/threads/{thread_id}/runs/{run_id}", runs.get, RunView, errors=(404, 422)),
    Operation(
        "DELETE", "/threads/{thread_id}/runs/{run_id}", runs.delete, None, status=204, errors=(404, 422)
    ),
    Operation(
        "GET", "/threads/{thread_id}/runs/{run_id}/stream", runs.join, STREAM, errors=(404, 422), query=_JOIN
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/runs/{run_id}/cancel",
        runs.cancel,
        ANY,
        errors=(404, 422),
        query=_CANCEL,
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/runs/{run_id}/join",
        runs.join_end,
        ANY,
        errors=(404, 422),
        query=_WAITING,
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/runs/{run_id}/deliveries",
        deliveries.listing,
        [DeliveryView],
        errors=(404, 422),
    ),
    Operation("POST", "/runs", stateless.create, RunView, RunCreate, errors=_STARTING),
    Operation("POST", "/runs/batch", stateless.batch, [RunView], [RunCreate], errors=_STARTING),
    Operation(
        "POST",
        "/runs/cancel",
        stateless.cancel,
        None,
        RunsCancel,
        status=204,
        errors=(404, 413, 422),
        query=_ACTION,
    ),
    Operation("POST", "/runs/stream", stateless.stream, STREAM, RunCreate, errors=_STARTING),
    Operation("POST", "/runs/wait", stateless.wait, ANY, RunCreate, errors=_STARTING),
    Operation("GET", "/runs/{run_id}/stream", stateless.join, STREAM, errors=(404, 422), query=_JOIN),
    Operation("PUT", "/store/items", store.put, None, ItemWrite, status=204, errors=_STORE),
    Operation("GET", "/store/items", store.get, ItemView, errors=(400, 422), query=_ITEM),
    Operation("DELETE", "/store/items", store.delete, None, ItemName, status=204, errors=(413, 422)),
    Operation("POST", "/store/items/search", store.search, FoundItems, ItemsSearch, errors=_STORE),
    Operation(
        "POST", "/store/namespaces", store.namespaces, FoundNamespaces, NamespacesSearch, errors=(413, 422)
    ),
)


def routes(operations: Sequence[Operation] = OPERATIONS) -> list[Route]:
    """One route a path, so that a wrong method is answered with all the right ones."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.handler
    return [Route(path, _dispatch(handlers), methods=list(handlers)) for path, handlers in by_path.items()]


def _dispatch(handlers: dict[str, Handler]) -> Handler:
    async def handle(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await handlers[method](request)

    return handle
