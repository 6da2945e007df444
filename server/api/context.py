"""What the handlers of this door share: the services, the log to read, the limits."""

from dataclasses import dataclass

from starlette.requests import Request

from ..models import Caller, Json
from ..services import Services
from ..streaming.broker import Broker
from ..streaming.sse import Rhythm


@dataclass(frozen=True, slots=True)
class Edge:
    """The door's own settings; sizes in bytes, times in seconds."""

    services: Services
    broker: Broker
    rhythm: Rhythm
    body_bytes_max: int
    send_timeout_seconds: float
    info: Json


def edge(request: Request) -> Edge:
    """The settings of the app that serves this request."""
    found: Edge = request.app.state.edge
    return found


def services(request: Request) -> Services:
    return edge(request).services


def caller(request: Request) -> Caller:
    """Who asks; without authentication a nobody with a request id."""
    return Caller(request_id=request.scope.get("request_id", ""))
