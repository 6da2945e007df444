"""Everything that can go wrong by rule, and nothing else.

GraphwireError
├── StartupError            the server does not start; carries the exit status
│   ├── ConfigError         (2) langgraph.json or a setting is wrong
│   ├── DatabaseDamaged     (2) what is kept cannot be read
│   ├── GraphLoadError      (3) a graph named in langgraph.json cannot be loaded
│   ├── StoreLoadError      (3) the embeddings named there cannot be loaded
│   ├── AuthLoadError       (3) the authentication named there cannot be loaded
│   └── CustomAppError      (3) the application named there cannot be loaded or does not start
├── AccessError             who asks may not
│   ├── Unauthorized        nobody knows who asks
│   ├── Forbidden           this caller may not do this
│   └── Refused             the user's handler says so, in its own words
├── AccessFailed            the user's handler failed: nobody is let in by a defect
├── RequestError            the caller's mistake
│   ├── Invalid             a value breaks a rule
│   ├── Contradiction       two values that exclude each other
│   ├── NotFound            no such thing, or not the caller's
│   │   ├── NotWaiting      nobody is asked anything
│   │   └── NoSuchInterrupt this is not what is asked
│   ├── Conflict            the thing is busy or exists already
│   ├── TooLarge            more than a limit allows
│   ├── NotJson             a body of another kind than JSON
│   ├── NotAGraph           user code returned something that is not a graph
│   └── GraphFailed         the graph's own code failed when it was asked for something
├── Overloaded              a queue is full; try again later
├── EmbeddingFailed         the embeddings of the store, user code or a service, failed
├── StorageFull             the disk did not take a write: nothing of it happened
├── StorageUnavailable      the database cannot be reached: nothing happened
├── NotReady                send requests elsewhere for now
│   └── TooMany             the caller's own share of it is
└── Superseded              this attempt of a run no longer owns it

The docstring is the message where none is given. `api/responses.py` maps classes to HTTP statuses.
"""

from collections.abc import Mapping
from typing import Any


class GraphwireError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class StartupError(GraphwireError):
    """The server cannot start."""

    exit_status = 1


class ConfigError(StartupError):
    """The configuration is wrong."""

    exit_status = 2


class DatabaseDamaged(StartupError):
    """The database is damaged."""

    exit_status = 2


class GraphLoadError(StartupError):
    """A graph cannot be loaded."""

    exit_status = 3


class StoreLoadError(StartupError):
    """The embeddings of the store cannot be loaded."""

    exit_status = 3


class AuthLoadError(StartupError):
    """The authentication cannot be loaded."""

    exit_status = 3


class CustomAppError(StartupError):
    """The application of http.app cannot be used."""

    exit_status = 3


class AccessError(GraphwireError):
    """The caller may not do this."""


class Unauthorized(AccessError):
    """Unauthorized"""


class Forbidden(AccessError):
    """Forbidden"""


class Refused(AccessError):
    """Refused"""

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail if isinstance(detail, str) else self.__doc__)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class AccessFailed(GraphwireError):
    """Internal Server Error"""


class RequestError(GraphwireError):
    """The request is wrong."""


class Invalid(RequestError):
    """The request breaks a rule."""


class Contradiction(RequestError):
    """Two values of the request exclude each other."""


class NotFound(RequestError):
    """Not Found"""


class NotWaiting(NotFound):
    """The thread does not wait for an answer."""


class NoSuchInterrupt(NotFound):
    """No such interrupt waits for an answer."""


class Conflict(RequestError):
    """The request conflicts with the present state."""


class TooLarge(RequestError):
    """The request is larger than allowed."""


class NotJson(RequestError):
    """The body must be JSON, and say so: Content-Type: application/json."""


class NotAGraph(RequestError):
    """The graph's factory did not return a graph."""


class GraphFailed(RequestError):
    """The graph failed."""


class Overloaded(GraphwireError):
    """The server is at its limit; try again later."""


class TooMany(Overloaded):
    """The caller has too much under way; try again later."""


class EmbeddingFailed(GraphwireError):
    """The embeddings of the store failed."""


class StorageFull(GraphwireError):
    """The disk is full: nothing was stored."""


class StorageUnavailable(GraphwireError):
    """The database cannot be reached at present; try again later."""


class NotReady(GraphwireError):
    """The server is not ready."""


class Superseded(GraphwireError):
    """This attempt no longer owns its run."""


def describe(failure: BaseException) -> dict[str, str]:
    """An exception as data: `{error: class name, message: text}` (contract/runs.md 12, 20)."""
    try:
        text = str(failure)
    except Exception:  # __str__ is user code
        text = "(no message)"
    return {"error": type(failure).__name__, "message": text}
