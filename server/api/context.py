"""What the handlers of this door find in a request beside its content."""

from starlette.requests import Request

from ..backend import Backend
from ..models import Caller
from ..services import Services


def backend(request: Request) -> Backend:
    """The server behind the app that was asked."""
    found: Backend = request.app.state.backend
    return found


def services(request: Request) -> Services:
    return backend(request).services


def caller(request: Request) -> Caller:
    """Who asks; without authentication a nobody with a request id."""
    return Caller(request_id=request.scope.get("request_id", ""))
