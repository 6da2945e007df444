"""The server within another: an ASGI application that brings its own backend along.

Nobody runs the lifespan of an application that is mounted. So the backend starts with the lifespan of the
application around it, where that enters `lifespan`, or else with the first request.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp, Receive, Scope, Send

from .aliases import install
from .backend import Backend
from .config.http import http_rules
from .config.project import Project, load_project, project_of
from .config.refusals import refuse
from .config.settings import Settings, apply_environment, is_strict, load_settings
from .loopback import Loopback
from .rules.http import HttpRules
from .storage.data_dir import DataDir
from .storage.inspection import inspect
from .storage.serializer import be_strict
from .telemetry import logs

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25  # between two looks whether the server around us is stopping

OpenApp = Callable[..., AbstractAsyncContextManager[ASGIApp]]  # app.opened_app
Config = str | os.PathLike[str] | Mapping[str, Any] | Project


class Mounted:
    """An ASGI application with a backend of its own; `server.app.create_app` makes one."""

    def __init__(
        self,
        config: Config,
        open_app: OpenApp,
        at_door: Callable[[ASGIApp, HttpRules], ASGIApp],
        *,
        allow_outside: bool,
    ) -> None:
        """Read and check the configuration; nothing is opened yet. Raises ConfigError."""
        logs.through_logging()
        self._project = _project(config)
        apply_environment(self._project)
        if is_strict():
            be_strict()  # LangGraph has looked at the environment before us
        self._settings = load_settings()
        refuse(self._project, allow_outside=allow_outside)
        self._rules = http_rules(self._project.path, self._project.raw.get("http"), self._settings)
        self._open_app, self._at_door = open_app, at_door
        self._loopback = Loopback()
        install(self._loopback)
        self._running: _Running | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._alone(receive, send)
        else:
            app = await self._start().ready()
            await app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """The backend from its start to its orderly end: `FastAPI(lifespan=graphwire.lifespan)`.

        Raises what keeps it from starting. In a lifespan of one's own: `async with graphwire.lifespan():`.
        """
        running = self._start()
        await running.ready()
        try:
            yield
        finally:
            self._running = None
            await running.stop()

    def _start(self) -> "_Running":
        """What runs, begun if nothing does; anew on another loop, for it cannot move."""
        loop = asyncio.get_running_loop()
        if self._running is None or self._running.loop is not loop or self._running.over:
            self._running = _Running(self._opened)
        return self._running

    async def _alone(self, receive: Receive, send: Send) -> None:
        """The lifespan that a server runs for an application that is not mounted."""
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[Backend, ASGIApp]]:
        root, loopback = self._project.root, self._loopback
        async with (
            self._backend() as backend,
            self._open_app(backend, self._rules, root, loopback.open) as app,
        ):
            yield backend, self._at_door(app, self._rules)

    def _backend(self) -> AbstractAsyncContextManager[Backend]:
        from .wiring import distributed, embedded

        if self._settings.distributed:
            return distributed(self._project, self._settings)
        directory = DataDir(_data_dir(self._project, self._settings))
        inspecting = partial(inspect, directory, allow_reset=False)
        inspected = asyncio.get_running_loop().run_in_executor(None, inspecting)
        return embedded(self._project, self._settings, directory, inspected)


class _Running:
    """A backend in a task of its own: what opens it must also close it, and requests come and go."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[tuple[Backend, ASGIApp]]]) -> None:
        self.loop = asyncio.get_running_loop()
        self.app: asyncio.Future[ASGIApp] = self.loop.create_future()
        self._opened = opened
        self._ending = asyncio.Event()
        self._task = self.loop.create_task(self._run())

    @property
    def over(self) -> bool:
        return self._task.done() and not self._failed

    @property
    def _failed(self) -> bool:
        return self.app.done() and not self.app.cancelled() and self.app.exception() is not None

    async def _run(self) -> None:
        try:
            async with self._opened() as (backend, app):
                self.app.set_result(app)
                watching = self.loop.create_task(self._watch(backend))
                await self._ending.wait()
                watching.cancel()
                await backend.drain()
        except Exception as error:
            if self.app.done():
                _log.exception("the server did not stop in order")
            else:
                self.app.set_exception(error)

    async def _watch(self, backend: Backend) -> None:
        """End streams when uvicorn is told to stop: it waits for them before it tells us."""
        while not AppStatus.should_exit:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        await backend.drain()

    async def ready(self) -> ASGIApp:
        """The application, once it is there. Raises what keeps it from starting."""
        return await asyncio.shield(self.app)  # others wait as well

    async def stop(self) -> None:
        self._ending.set()
        await asyncio.wait([self._task])


def _project(config: Config) -> Project:
    if isinstance(config, Project):
        return config
    if isinstance(config, Mapping):
        return project_of(Path.cwd() / "langgraph.json", dict(config))
    return load_project(config)


def _data_dir(project: Project, settings: Settings) -> Path:
    return settings.data_dir or project.root / ".graphwire"
