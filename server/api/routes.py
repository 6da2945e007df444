"""The table of contents: every operation of the REST door, one line each."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from . import assistants, following, meta, metrics, parameters, state, store
from .cron_routes import CRONS
from .described import LOCATION, METRICS, PAGE, THREAD_STREAM
from .operation import Handler, Operation
from .run_routes import RUNS
from .schemas.assistants import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    AssistantVersionView,
    AssistantView,
    DrawingView,
    SchemasView,
    SubgraphsView,
    VersionChoice,
    VersionSearch,
)
from .schemas.meta import Count, Document, Info, Ok
from .schemas.state import HistoryRead, StateRead, StateUpdate, StateUpdated, StateView
from .schemas.store import (
    FoundItems,
    FoundNamespaces,
    ItemName,
    ItemsSearch,
    ItemWrite,
    MaybeItemView,
    NamespacesSearch,
)
from .thread_routes import THREADS

_MISSING = (404,)
_ASKING = (400, 404, 424)  # the graph is asked
_STORE = (400, 413, 422, 502)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/", meta.ok, Ok, errors=(400, 503), query=parameters.CHECK),
    Operation("GET", "/ok", meta.ok, Ok, errors=(400, 503), query=parameters.CHECK),
    Operation("GET", "/info", meta.info, Info),
    Operation("GET", "/metrics", metrics.metrics, METRICS, errors=_MISSING, query=parameters.METRICS),
    Operation("GET", "/openapi.json", meta.openapi, Document),
    Operation("GET", "/docs", meta.docs, PAGE),
    Operation("GET", "/schema/langgraph.json", meta.project_schema, Document),
    Operation(
        "POST", "/assistants", assistants.create, AssistantView, AssistantCreate, errors=(400, 404, 409)
    ),
    Operation(
        "POST",
        "/assistants/search",
        assistants.search,
        [AssistantView],
        AssistantSearch,
        errors=_MISSING,
        paged=True,
    ),
    Operation("POST", "/assistants/count", assistants.count, Count, AssistantFilter, errors=_MISSING),
    Operation("GET", "/assistants/{assistant_id}", assistants.get, AssistantView, errors=_MISSING),
    Operation(
        "PATCH",
        "/assistants/{assistant_id}",
        assistants.patch,
        AssistantView,
        AssistantPatch,
        errors=(400, 404),
    ),
    Operation(
        "DELETE",
        "/assistants/{assistant_id}",
        assistants.delete,
        None,
        status=204,
        errors=_MISSING,
        query=parameters.DELETE_THREADS,
    ),
    Operation(
        "GET",
        "/assistants/{assistant_id}/graph",
        assistants.graph,
        DrawingView,
        errors=_ASKING,
        query=parameters.XRAY,
    ),
    Operation("GET", "/assistants/{assistant_id}/schemas", assistants.schemas, SchemasView, errors=_ASKING),
    Operation(
        "GET",
        "/assistants/{assistant_id}/subgraphs",
        assistants.subgraphs,
        SubgraphsView,
        errors=_ASKING,
        query=parameters.RECURSE,
    ),
    Operation(
        "GET",
        "/assistants/{assistant_id}/subgraphs/{namespace}",
        assistants.subgraphs,
        SubgraphsView,
        errors=_ASKING,
        query=parameters.RECURSE,
    ),
    Operation(
        "POST",
        "/assistants/{assistant_id}/versions",
        assistants.versions,
        [AssistantVersionView],
        VersionSearch,
        errors=_MISSING,
    ),
    Operation(
        "POST",
        "/assistants/{assistant_id}/latest",
        assistants.latest,
        AssistantView,
        VersionChoice,
        errors=_MISSING,
    ),
    *THREADS,
    Operation(
        "GET", "/threads/{thread_id}/state", state.get, StateView, errors=_ASKING, query=parameters.STATE
    ),
    Operation(
        "POST",
        "/threads/{thread_id}/state",
        state.update,
        StateUpdated,
        StateUpdate,
        errors=(*_ASKING, 409, 503),
    ),
    Operation(
        "POST", "/threads/{thread_id}/state/checkpoint", state.find, StateView, StateRead, errors=_ASKING
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/state/{checkpoint_id}",
        state.get_at,
        StateView,
        errors=_ASKING,
        query=parameters.STATE,
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/history",
        state.history,
        [StateView],
        errors=(*_ASKING, 413),
        query=parameters.HISTORY,
    ),
    Operation(
        "POST", "/threads/{thread_id}/history", state.search_history, [StateView], HistoryRead, errors=_ASKING
    ),
    Operation(
        "GET",
        "/threads/{thread_id}/stream",
        following.thread,
        THREAD_STREAM,
        errors=_MISSING,
        query=parameters.THREAD_STREAM,
        headers=(LOCATION,),
    ),
    *CRONS,
    *RUNS,
    Operation("PUT", "/store/items", store.put, None, ItemWrite, status=204, errors=_STORE),
    Operation("GET", "/store/items", store.get, MaybeItemView, errors=(400, 422), query=parameters.ITEM),
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
    return [Exact(path, _dispatch(handlers), methods=list(handlers)) for path, handlers in by_path.items()]


class Exact(Route):
    """A route for a path as it was sent: an encoded slash separates nothing (reliability S5)."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE and b"%2f" in (scope.get("raw_path") or b"").lower():
            return Match.NONE, {}
        return match, found


def _dispatch(handlers: dict[str, Handler]) -> Handler:
    async def handle(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await handlers[method](request)

    return handle
