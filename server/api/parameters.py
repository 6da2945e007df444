"""The parameters of queries, as the OpenAPI document shows them; handlers read them with api/requests.py."""

from ..models import Json, RunStatus
from ..streaming.sse import THREAD_MODES
from . import assistants, runs, state
from .requests import LAST_EVENT_ID
from .schemas.runs import COLUMNS
from .schemas.state import FIELDS, HISTORY_MAX

Query = dict[str, Json]


def flag(description: str) -> Json:
    """A yes or no; 1 and 0 will do."""
    return {"type": "boolean", "default": False, "description": description}


def words(allowed: tuple[str, ...], description: str) -> Json:
    """Some of these words: repeated, comma-separated, or a JSON list."""
    return {"type": "array", "items": {"type": "string", "enum": list(allowed)}, "description": description}


def whole(default: int, most: int, description: str) -> Json:
    """A whole number from 0 on."""
    return {"type": "integer", "minimum": 0, "maximum": most, "default": default, "description": description}


CHECK: Query = {
    "check_db": {
        "type": "integer",
        "default": 0,
        "description": "Whether to ask the database and its disk too: every number but 0",
    },
    "live": {
        "type": "integer",
        "default": 0,
        "description": "Whether only to say that the process lives, also while it stops: every number but 0",
    },
}
METRICS: Query = {
    "format": {
        "type": "string",
        "enum": ["prometheus", "json"],
        "default": "prometheus",
        "description": "`json` for the short form; whatever else is said means `prometheus`",
    }
}
ACTION: Query = {
    "action": {
        "type": "string",
        "enum": ["interrupt", "rollback"],
        "default": "interrupt",
        "description": "Whether what the run wrote is kept or undone",
    },
    "keep_partial": {
        "type": "boolean",
        "description": "Whether what a model had said is kept in the thread; not with a rollback. "
        "Without it the server's setting holds",
    },
}
CANCEL: Query = {"wait": flag("Whether to answer only when the run has stopped"), **ACTION}
WAITING: Query = {"cancel_on_disconnect": flag("Whether the run is cancelled when this client goes away")}
LIST: Query = {
    "limit": whole(10, runs.LIST_MAX, "How many runs at most"),
    "offset": whole(0, runs.OFFSET_MAX, "How many runs to pass over"),
    "status": {"type": "string", "enum": [*RunStatus], "description": "Only runs with this status"},
    "select": words(COLUMNS, "Only these fields of each run"),
}
PLACE: Query = {
    LAST_EVENT_ID: {
        "type": "string",
        "description": "Like the header `Last-Event-ID`, which wins: for EventSource, which cannot set it",
    }
}
JOIN_ANY: Query = {
    **PLACE,
    "stream_mode": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Only events of these modes; `metadata` and `error` always",
    },
}
JOIN: Query = {**JOIN_ANY, **WAITING}
XRAY: Query = {
    "xray": {
        "anyOf": [
            {"type": "boolean"},
            {"type": "integer", "minimum": 1, "maximum": assistants.XRAY_MAX},
        ],
        "default": False,
        "description": "How many levels of subgraphs to show inside; true for all",
    }
}
RECURSE: Query = {"recurse": flag("Whether to go into the subgraphs of subgraphs")}
DELETE_THREADS: Query = {"delete_threads": flag("Whether to delete the threads that last used it as well")}
INCLUDE: Query = {"include": words(("ttl",), "What to show besides; other words are ignored")}
THREAD_STREAM: Query = PLACE | {
    name: words(THREAD_MODES, "What to tell of; `run_modes` if nothing is said. Both names mean the same")
    for name in ("stream_modes", "stream_mode")
}
SELECT: Query = {
    "select": {
        "type": "array",
        "items": {"type": "string"},
        "description": f"Only these fields: {', '.join(FIELDS)}, or `values.<key>` for one of the values",
    }
}
STATE: Query = {"subgraphs": flag("Whether to show the states of subgraphs in the tasks"), **SELECT}
HISTORY: Query = {
    "limit": whole(state.LIMIT_DEFAULT, HISTORY_MAX, "How many states at most"),
    "before": {"type": "string", "format": "uuid", "description": "Only states before this checkpoint"},
    **SELECT,
}
ITEM: Query = {
    "namespace": {
        "type": "string",
        "required": True,
        "description": "Where it lies: the labels joined with dots",
    },
    "key": {"type": "string", "required": True, "description": "Its name there"},
    "refresh_ttl": {"type": "boolean", "description": "Whether its time to live begins anew"},
}
