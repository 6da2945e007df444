"""The operations on threads as a whole: a part of the table of contents."""

from . import parameters, threads
from .operation import Operation
from .schemas.meta import Count
from .schemas.threads import (
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadSearch,
    ThreadsPrune,
    ThreadsPruned,
    ThreadStorageView,
    ThreadView,
)

_MISSING = (404,)
_FINDING = (413, 503)

THREADS: tuple[Operation, ...] = (
    Operation("POST", "/threads", threads.create, ThreadView, ThreadCreate, errors=(400, 404, 409, 424, 503)),
    Operation(
        "POST", "/threads/search", threads.search, [ThreadView], ThreadSearch, errors=_FINDING, paged=True
    ),
    Operation("POST", "/threads/count", threads.count, Count, ThreadFilter, errors=_FINDING),
    Operation("POST", "/threads/prune", threads.prune, ThreadsPruned, ThreadsPrune, errors=_MISSING),
    Operation(
        "GET", "/threads/{thread_id}", threads.get, ThreadView, errors=_MISSING, query=parameters.INCLUDE
    ),
    Operation(
        "PATCH",
        "/threads/{thread_id}",
        threads.patch,
        ThreadView,
        ThreadPatch,
        errors=_MISSING,
        others={204: None},
    ),
    Operation("DELETE", "/threads/{thread_id}", threads.delete, None, status=204, errors=_MISSING),
    Operation("POST", "/threads/{thread_id}/copy", threads.copy, ThreadView, errors=(404, 409, 413)),
    Operation("GET", "/threads/{thread_id}/storage", threads.storage, ThreadStorageView, errors=(404, 413)),
)
