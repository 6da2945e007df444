"""Who blocks an event loop: from a thread's stack to graph, node and line."""

import sysconfig
from types import FrameType
from typing import Any

_LIBRARIES = tuple(
    {path for key in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(key))}
)


def blocking_place(frame: FrameType) -> dict[str, Any] | None:
    """`{line, node, function, ...}` of the innermost frame of the user's own code; None without one.

    The node is in the config that langgraph passes down the stack.
    """
    place: dict[str, Any] | None = None
    at: FrameType | None = frame
    while at is not None:
        if place is None and _is_users(at):
            place = {"line": f"{at.f_code.co_filename}:{at.f_lineno}", "function": at.f_code.co_name}
        elif place is not None and (found := _node(at)):
            return {**place, **found}
        at = at.f_back
    return place


def _is_users(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not name.startswith(("<", *_LIBRARIES)) and __package__.split(".")[0] not in _package(frame)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__package__") or "").split(".")[0]


def _node(frame: FrameType) -> dict[str, Any] | None:
    config = frame.f_locals.get("config")
    metadata = config.get("metadata") if isinstance(config, dict) else None
    if not isinstance(metadata, dict) or "langgraph_node" not in metadata:
        return None
    return {"node": metadata["langgraph_node"], "run_id": metadata.get("run_id")}
