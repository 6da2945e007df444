"""Who may do what: the user's handlers are asked, and what they answer becomes a scope of SQL.

Every service asks here before its transaction, and every lookup in that transaction stays within the scope it
got. Where no handler says anything, everybody has what he made himself (decision 13; reliability S1, S3, S4).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import structlog
from langgraph_sdk.auth.types import AuthContext

from ..auth.authenticator import refusal
from ..errors import AccessError, AccessFailed, Contradiction, Forbidden, Overloaded
from ..models import Caller, Json
from ..rules.access import EVERYTHING, BadFilter, Scope, parsed_filter
from ..rules.users import User

SECONDS_MAX = 10.0  # that a handler may take
_IDS = frozenset({"assistant_id", "cron_id", "run_id", "thread_id"})
_READING = frozenset({"read", "search"})
_log = structlog.get_logger(__name__)

Handler = Callable[..., Awaitable[Any]]


class Authorization(Protocol):
    """Says what somebody may touch."""

    @property
    def asks(self) -> bool:
        """Whether anybody is ever refused anything."""

    async def ask(self, caller: Caller, resource: str, action: str, value: Json) -> Scope:
        """The rows of the resource that the caller may do this with; a handler may change `value`.

        Raises Forbidden or Refused, Contradiction for a ValueError of the handler, AccessFailed for what is
        no answer, Overloaded for a handler that takes too long.
        """


class Open:
    """Without authentication everybody may do everything."""

    asks = False

    async def ask(self, caller: Caller, resource: str, action: str, value: Json) -> Scope:
        return EVERYTHING


OPEN = Open()


class Rules:
    """The handlers of the user's Auth object, and what holds where there is none.

    `shared` are the assistants that every graph has by itself: everybody may read and run them.
    """

    asks = True

    def __init__(
        self,
        handler: Callable[[str, str], Handler | None],
        shared: Sequence[str],
        *,
        owners: bool = True,
    ) -> None:
        self._handler = handler
        self._shared = tuple(shared)
        self._owners = owners

    async def ask(self, caller: Caller, resource: str, action: str, value: Json) -> Scope:
        if caller.trusted:
            return EVERYTHING
        if caller.user is None:  # a cron of the time before anybody had to say who he is
            raise Forbidden
        handler = self._handler(resource, action)
        if handler is None:
            return self._own(caller, resource, action)
        found = await self._answer(handler, caller, resource, action, value)
        if found is None or found is True:
            return EVERYTHING
        if found is False:
            raise Forbidden
        if not isinstance(found, Mapping):
            _log.error("a handler of authorisation returned no filter", returned=type(found).__name__)
            raise AccessFailed
        if resource == "store":  # items have no metadata that could be filtered
            return self._own(caller, resource, action)
        try:
            return Scope(tests=parsed_filter(found))
        except BadFilter as wrong:
            _log.error("a handler of authorisation returned a filter that is none", problem=str(wrong))
            raise AccessFailed from None

    def _own(self, caller: Caller, resource: str, action: str) -> Scope:
        if not self._owners:
            return EVERYTHING
        shared = self._shared if resource == "assistants" and action in _READING else ()
        return Scope(caller.identity, shared)

    async def _answer(self, handler: Handler, caller: Caller, resource: str, action: str, value: Json) -> Any:
        _with_ids(value)
        context: Any = AuthContext(
            permissions=list(caller.permissions),
            user=_user(caller),
            resource=resource,  # type: ignore[arg-type]
            action=action,  # type: ignore[arg-type]
        )
        try:
            async with asyncio.timeout(SECONDS_MAX) as limit:
                return await handler(ctx=context, value=value)
        except (AccessError, asyncio.CancelledError):
            raise
        except BaseException as failure:  # user code, SystemExit and all
            if limit.expired():
                _log.error("authorisation takes too long", resource=resource, action=action)
                raise Overloaded("Authorisation takes too long; try again later") from failure
            if isinstance(failure, ValueError):
                raise Contradiction(str(failure) or "Bad Request") from failure
            raise refusal(failure, "authorisation failed") from failure


def _user(caller: Caller) -> User:
    """The user as handlers know him; of a cron, as he was when he made it."""
    known = caller.user
    return known if isinstance(known, User) else User({"identity": caller.identity, **(known or {})})


def _with_ids(value: Json) -> None:
    """Ids are UUIDs for handlers, whatever they are here."""
    for key in _IDS & value.keys():
        value[key] = _uuid(value[key])
    if "thread_ids" in value:
        value["thread_ids"] = [_uuid(one) for one in value["thread_ids"]]


def _uuid(text: Any) -> Any:
    return UUID(text) if isinstance(text, str) else text


def metadata_in(value: Json) -> Json:
    """The metadata that a handler has left in a value: they are what is stored."""
    found = value.get("metadata")
    return dict(found) if isinstance(found, Mapping) else {}


def stamp(before: Json, after: Json) -> Json:
    """What of metadata a handler has put there."""
    return {key: value for key, value in after.items() if key not in before or before[key] != value}
