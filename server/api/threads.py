"""Threads: create, read, delete (contract/resources.md 4)."""

from starlette.requests import Request
from starlette.responses import Response

from . import requests
from .context import caller, services
from .responses import json, no_content
from .schemas.threads import ThreadCreate, thread_view


async def create(request: Request) -> Response:
    """Make a thread."""
    asked = await requests.body(request, ThreadCreate)
    thread = await services(request).threads.create(
        caller(request), asked.thread_id or None, asked.metadata, asked.if_exists
    )
    return json(thread_view(thread))


async def get(request: Request) -> Response:
    """One thread."""
    thread_id = requests.path_id(request, "thread_id")
    return json(thread_view(await services(request).threads.get(caller(request), thread_id)))


async def delete(request: Request) -> Response:
    """Delete a thread with its runs and checkpoints; running ones are stopped."""
    await services(request).threads.delete(caller(request), requests.path_id(request, "thread_id"))
    return no_content()
