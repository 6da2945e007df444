"""What the OpenAPI document says in words: headers, statuses, streams, groups of operations."""

from ..models import Json
from .operation import Media
from .paging import NEXT, TOTAL
from .schemas.events import EventView
from .schemas.meta import MetricsView

LOCATION, CONTENT_LOCATION = "location", "content-location"
REQUEST_ID, RETRY_AFTER = "x-request-id", "retry-after"

_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}


def _header(description: str, schema: Json, *, required: bool = True) -> Json:
    return {"description": description, "required": required, "schema": schema}


HEADERS: dict[str, Json] = {
    LOCATION: _header("Where to go on when the connection breaks", _TEXT),
    CONTENT_LOCATION: _header("The run that this is about; clients take its id from here", _TEXT),
    REQUEST_ID: _header("The name of the request in the log: the client's if it sent one", _TEXT),
    RETRY_AFTER: _header("Seconds after which to try again", _COUNT),
    TOTAL: _header("How many rows there are in all", _COUNT),
    NEXT: _header("The offset of the next page, if there is one", _COUNT, required=False),
}

_PRINTABLE = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"  # no blanks at the ends: HTTP drops them

# Parameters in headers: of operations that start runs, and of streams that can be resumed.
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name for this call: made again, it returns the run that it made. Kept for 24 hours",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE},
}
LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Go on after this event; `-`, `-1` and `0` begin with the oldest that is held. "
    "Without it the stream begins now",
    "schema": {"type": "string", "pattern": r"^(-|-1|\d{1,19}(-\d{1,19})?)$"},
}

# Status -> the name of the response, and what it means.
PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("Contradiction", "Values exclude each other, or the graph cannot do what was asked"),
    401: ("Unauthorized", "Nobody knows who asks: say so with credentials"),
    403: ("Forbidden", "This caller may not do this"),
    404: ("NotFound", "There is no such thing"),
    409: ("Conflict", "The thing is busy or exists already"),
    413: ("TooLarge", "More than a limit allows"),
    415: ("NotJson", "The body is not JSON, or does not say so"),
    422: ("Invalid", "A value breaks a rule: each line of the text begins with its field"),
    424: ("NotAGraph", "The factory of the graph made something else"),
    429: ("TooMany", "Too many requests, or too many runs, of this caller"),
    500: ("Failed", "A defect of the server, or of the code that authenticates: the log tells of it"),
    502: ("EmbeddingFailed", "The embeddings of the store failed"),
    503: ("Overloaded", "The server is at a limit, or not ready, or its database is out of reach"),
    507: ("StorageFull", "The disk took no more: nothing was stored"),
}

ABOUT = """The API of Graphwire, the open deployment server for LangGraph graphs. The official SDKs speak it.

Unknown fields of bodies are ignored, and null counts as absent save where a field says more. Every error is
`{"detail": "..."}`. A request may bring a name of its own in `X-Request-Id`."""

TAGS = {
    "Assistants": "Graphs with settings, and their versions",
    "Threads": "Conversations: their values, their state now and in the past",
    "Thread Runs": "Runs of graphs on threads",
    "Stateless Runs": "Runs without a thread: a hidden one is made and goes with the run",
    "Crons": "Runs that start by a schedule",
    "Store": "What graphs remember beyond one thread",
    "System": "Liveness, version, this document",
}

_FRAMES = """Server-sent events. A frame is `event`, `data` (one line of JSON) and `id`, with CRLF; ids
strictly increase. The comment `: heartbeat` comes every 5 seconds. The first frame also has `retry: 1000`.

"""
_RUN_EVENTS = """| event | data |
|---|---|
| `metadata` | `{"run_id", "attempt"}`: the run began |
| `values` | the state after a step |
| `updates` | `{node: what it returned}` |
| `messages` | for the mode `messages-tuple`: `[piece of a message, metadata]`, a token each |
| `messages/metadata`, `messages/partial`, `messages/complete` | of the mode `messages`: messages that grow |
| `custom`, `tasks`, `checkpoints`, `debug`, `events` | what LangGraph emits in these modes |
| `tools` | `{event, toolCallId, name, input or data or output or error}`: calls of tools |
| `lifecycle` | `{event, namespace}`: a subgraph began or ended |
| `error` | `{"error": class, "message"}`: the run failed, or events that were asked for are no longer held |

Names of events of subgraphs are followed by `|` and their namespace. """

RUN_STREAM = Media(
    "text/event-stream",
    _FRAMES + _RUN_EVENTS + "A run that somebody made end closes with `metadata`"
    ' `{"status": "run_done", "run_id", "outcome", "reason"}`.'
    " The stream ends when the run has ended; when the connection breaks off before, go on at `Location`.",
    EventView,
    'event: metadata\r\ndata: {"run_id":"019aa…","attempt":1}\r\nid: 1763840000000-0\r\nretry: 1000\r\n\r\n'
    'event: values\r\ndata: {"topic":"ice"}\r\nid: 1763840000000-1\r\n\r\n',
)
THREAD_STREAM = Media(
    "text/event-stream",
    _FRAMES + "All runs of the thread, one after the other; each ends with `metadata`"
    ' `{"status": "run_done", "run_id", "outcome"}`. With the mode `state_update` also `state_update`'
    ' `{"state", "thread_id"}` when the state was changed. Ends when the thread is deleted.\n\n'
    + _RUN_EVENTS,
    EventView,
)
METRICS = Media(
    "text/plain",
    "Metrics in the format of Prometheus; with `format=json` a short form. docs/operations.md",
    example="# TYPE graphwire_slots_used gauge\ngraphwire_slots_used 3.0\n",
    as_json=MetricsView,
)
PAGE = Media("text/html", "A page that needs nothing from the network")
