"""The question who a request comes from, and the user's own code that answers it.

That code is slow at times, blocks or never returns: whoever waits for it waits for a bounded time,
synchronous code has threads of its own, and nobody is let in because of a defect in it.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

import structlog

from ..errors import AccessError, AccessFailed, Overloaded, Refused, Unauthorized
from ..rules.users import Authenticated, NoUser, authenticated

SECONDS_MAX = 10.0  # that an answer may take
THREADS = 32
WAITING_MAX = 1_000  # requests that wait for an answer
_log = structlog.get_logger(__name__)


class Authenticator(Protocol):
    """Tells who a request comes from."""

    @property
    def wants(self) -> frozenset[str]:
        """What it has to be given, among the names in `graph.auth.PARAMETERS`."""

    async def authenticate(self, given: Mapping[str, Any]) -> Authenticated:
        """Raises Unauthorized or Refused, AccessFailed where it cannot tell, Overloaded."""


class UserCode:
    """Asks the `authenticate` of the user's Auth object."""

    def __init__(self, handler: Callable[..., Any], wants: frozenset[str]) -> None:
        self._handler = handler
        self.wants = wants
        self._waiting = 0
        # Threads of our own: those of the loop look up names, and must be there for others.
        self._threads = None if _is_async(handler) else ThreadPoolExecutor(THREADS, "authenticate")

    async def authenticate(self, given: Mapping[str, Any]) -> Authenticated:
        if self._waiting >= WAITING_MAX:
            raise Overloaded("Too many requests wait to be authenticated; try again later")
        self._waiting += 1
        try:
            return authenticated(await self._ask(given))
        except NoUser as nobody:
            _log.warning("authentication let nobody in", reason=str(nobody))
            raise Unauthorized from None
        finally:
            self._waiting -= 1

    async def _ask(self, given: Mapping[str, Any]) -> Any:
        try:
            async with asyncio.timeout(SECONDS_MAX) as limit:
                if self._threads is None:
                    return await self._handler(**given)
                work = partial(copy_context().run, partial(self._handler, **given))
                found = await asyncio.wrap_future(self._threads.submit(work))
                return await found if inspect.isawaitable(found) else found
        except (AccessError, asyncio.CancelledError):
            raise
        except AssertionError as said:  # which the SDK documents as a refusal
            raise Unauthorized from said
        except BaseException as failure:  # user code, SystemExit and all
            if limit.expired():
                _log.error("authentication takes too long", seconds=SECONDS_MAX)
                raise Overloaded("Authentication takes too long; try again later") from failure
            raise refusal(failure, "authentication failed") from failure


def refusal(failure: BaseException, what: str) -> Refused | AccessFailed:
    """What an exception of the user's code says: an HTTP status of its own, or that the code is broken.

    The SDK's HTTPException is known by what it has, as are Starlette's and FastAPI's.
    """
    status = getattr(failure, "status_code", None)
    if type(failure).__name__ == "AuthenticationError" and type(failure).__module__.startswith("starlette."):
        return Refused(403, str(failure) or "Forbidden")
    if isinstance(status, int) and 400 <= status <= 599:
        detail, headers = getattr(failure, "detail", "") or "", getattr(failure, "headers", None)
        return Refused(int(status), detail, headers if isinstance(headers, Mapping) else None)
    _log.error(what, exc_info=failure)
    return AccessFailed()


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
    )
