"""The operations of protocol v2, one line each."""

from starlette.routing import WebSocketRoute

from ...api.operation import Media, Operation
from ...api.schemas.meta import Problem
from ...models import Json
from .schemas import CommandAnswer, CommandBody, SubscriptionBody, ThreadEventView
from .socket import socket
from .stream import command, listen, subscribe
from .subscriptions import CHANNELS

_COMMANDS, _EVENTS = "/threads/{thread_id}/commands", "/threads/{thread_id}/stream/events"

EVENTS = Media(
    "text/event-stream",
    "Server-sent events, the envelope of protocol v2 in `data`: first those that are held, of all runs, "
    "then those that come. `id` is their `seq`. It does not end when a run does; the comment `: heartbeat` "
    "comes every 5 seconds. The same path takes a WebSocket.",
    ThreadEventView,
    'event: lifecycle\r\ndata: {"type":"event","event_id":"synth:019aa…:lc||running","seq":1638400,"method":'
    '"lifecycle","params":{"namespace":[],"timestamp":1763840000000,"data":{"event":"running","graph_name":'
    '"agent"}}}\r\nid: 1638400\r\n\r\n',
)
_QUERY: dict[str, Json] = {
    "channels": {
        "type": "array",
        "items": {"type": "string"},
        "description": f"Repeated or comma-separated, among {', '.join(CHANNELS)} and `custom:<name>`; "
        "absent: all",
    },
    "namespaces": {"type": "string", "description": "As in the body of the POST, as JSON"},
    "depth": {"type": "integer", "minimum": 0, "description": "As in the body of the POST"},
    "since": {"type": "integer", "minimum": 0, "description": "As in the body; `Last-Event-ID` counts too"},
}

OPERATIONS: tuple[Operation, ...] = (
    Operation("POST", _COMMANDS, command, CommandAnswer, CommandBody, others={400: CommandAnswer | Problem}),
    Operation("POST", _EVENTS, subscribe, EVENTS, SubscriptionBody, errors=(400, 404)),
    Operation("GET", _EVENTS, listen, EVENTS, errors=(400, 404), query=_QUERY),
)
SOCKETS = (WebSocketRoute(_EVENTS, socket),)
