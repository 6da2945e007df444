"""What the handlers of this door find in a request beside its content."""

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.requests import HTTPConnection

from ..backend import Backend
from ..models import Caller
from ..rules.http import HttpRules
from ..services import Services
from .authentication import caller_of


def door(request: HTTPConnection) -> State:
    """What `server.app` left for the handlers; `request.app` may be the user's (custom.py)."""
    app: Starlette = request.scope.get("graphwire.app") or request.app
    return app.state


def backend(request: HTTPConnection) -> Backend:
    """The server behind the app that was asked."""
    found: Backend = door(request).backend
    return found


def services(request: HTTPConnection) -> Services:
    return backend(request).services


def http(request: HTTPConnection) -> HttpRules:
    """How this door behaves."""
    found: HttpRules = door(request).http
    return found


def configurable(request: HTTPConnection) -> dict[str, str]:
    """The headers that the runs of a call find in their configuration (contract/resources.md 11)."""
    return http(request).configurable_headers.take(request.scope["headers"])


def caller(request: HTTPConnection) -> Caller:
    """Who asks; without authentication a nobody with a request id."""
    return caller_of(request.scope) or Caller(request_id=request.scope.get("request_id", ""))
