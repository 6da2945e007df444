"""Crons: runs that are made again and again (contract/resources.md 7)."""

from starlette.requests import Request
from starlette.responses import Response

from . import paging, requests
from .context import caller, services
from .responses import json, no_content
from .schemas.crons import CronCreate, CronFilter, CronPatch, CronSearch, cron_view


async def create(request: Request) -> Response:
    """Make a cron whose runs have a thread each."""
    return await _create(request, None)


async def create_on_thread(request: Request) -> Response:
    """Make a cron whose runs are on one thread."""
    return await _create(request, requests.path_id(request, "thread_id"))


async def _create(request: Request, thread_id: str | None) -> Response:
    asked = await requests.body(request, CronCreate)
    cron = await services(request).crons.create(caller(request), thread_id, asked.assistant_id, asked.said())
    return json(cron_view(cron))


async def get(request: Request) -> Response:
    """One cron."""
    cron_id = requests.path_id(request, "cron_id")
    return json(cron_view(await services(request).crons.get(caller(request), cron_id)))


async def patch(request: Request) -> Response:
    """Change a cron, from its next run on."""
    cron_id = requests.path_id(request, "cron_id")
    said = (await requests.body(request, CronPatch)).said()
    return json(cron_view(await services(request).crons.patch(caller(request), cron_id, said)))


async def delete(request: Request) -> Response:
    """Delete a cron; runs that it has started go on."""
    await services(request).crons.delete(caller(request), requests.path_id(request, "cron_id"))
    return no_content()


async def search(request: Request) -> Response:
    """The crons that a filter describes."""
    asked = await requests.body(request, CronSearch)
    page = asked.to_page()
    found, total = await services(request).crons.search(caller(request), asked.to_query(), page)
    rows = [paging.selected(cron_view(cron), asked.select) for cron in found]
    return json(rows, headers=paging.headers(page, total))


async def count(request: Request) -> Response:
    """How many crons a filter describes."""
    query = (await requests.body(request, CronFilter)).to_query()
    return json(await services(request).crons.count(caller(request), query))
