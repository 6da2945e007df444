"""What the handlers of this door find in a request beside its content."""

from starlette.requests import HTTPConnection

from ..backend import Backend
from ..models import Caller
from ..services import Services
from .authentication import caller_of


def backend(request: HTTPConnection) -> Backend:
    """The server behind the app that was asked."""
    found: Backend = request.app.state.backend
    return found


def services(request: HTTPConnection) -> Services:
    return backend(request).services


def caller(request: HTTPConnection) -> Caller:
    """Who asks; without authentication a nobody with a request id."""
    return caller_of(request.scope) or Caller(request_id=request.scope.get("request_id", ""))
