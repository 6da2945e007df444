"""Threads: create, read, change, delete, search, copy, prune (contract/resources.md 4)."""

from starlette.requests import Request
from starlette.responses import Response

from . import paging, requests
from .context import caller, services
from .responses import json, no_content
from .schemas.threads import (
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadSearch,
    ThreadsPrune,
    row_view,
    storage_view,
    thread_view,
)


async def create(request: Request) -> Response:
    """Make a thread, with a past if there are supersteps."""
    new = (await requests.body(request, ThreadCreate)).to_new()
    make = services(request).state_updates.create if new.supersteps else services(request).threads.create
    return json(thread_view(await make(caller(request), new)))


async def get(request: Request) -> Response:
    """One thread; with `include=ttl` also how long it lives."""
    thread_id = requests.path_id(request, "thread_id")
    if "ttl" in requests.words(request, "include"):
        thread, ttl = await services(request).threads.get_with_ttl(caller(request), thread_id)
        return json(thread_view(thread, ttl))
    return json(thread_view(await services(request).threads.get(caller(request), thread_id)))


async def patch(request: Request) -> Response:
    """Change metadata and TTL of a thread; with `Prefer: return=minimal` it is not shown."""
    thread_id = requests.path_id(request, "thread_id")
    asked = await requests.body(request, ThreadPatch)
    ttl = asked.ttl.to_ttl() if asked.ttl else None
    thread = await services(request).threads.update(caller(request), thread_id, asked.metadata, ttl)
    if "return=minimal" in requests.preferences(request):
        return no_content()
    return json(thread_view(thread))


async def delete(request: Request) -> Response:
    """Delete a thread with its runs and checkpoints; running ones are stopped."""
    await services(request).threads.delete(caller(request), requests.path_id(request, "thread_id"))
    return no_content()


async def search(request: Request) -> Response:
    """The threads that a filter describes."""
    asked = await requests.body(request, ThreadSearch)
    page = asked.to_page()
    rows, total = await services(request).thread_search.search(
        caller(request), asked.to_query(), page, asked.to_fields()
    )
    return json([row_view(row, asked.select) for row in rows], headers=paging.headers(page, total))


async def count(request: Request) -> Response:
    """How many threads a filter describes."""
    query = (await requests.body(request, ThreadFilter)).to_query()
    return json(await services(request).thread_search.count(caller(request), query))


async def copy(request: Request) -> Response:
    """Make a thread with the same past, which goes on from the same place; a body is not read."""
    thread_id = requests.path_id(request, "thread_id")
    return json(thread_view(await services(request).thread_copies.copy(caller(request), thread_id)))


async def prune(request: Request) -> Response:
    """Delete threads, or all but their latest state."""
    asked = await requests.body(request, ThreadsPrune)
    count = await services(request).retention.prune(caller(request), asked.thread_ids, asked.strategy)
    return json({"pruned_count": count})


async def storage(request: Request) -> Response:
    """What a thread takes in the database."""
    thread_id = requests.path_id(request, "thread_id")
    return json(storage_view(thread_id, await services(request).retention.usage(caller(request), thread_id)))
