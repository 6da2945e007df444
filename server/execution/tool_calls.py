"""The mode `tools`: calls of tools as the JavaScript SDK names them (its type ToolStreamEventData)."""

from typing import Any

_NAMES = {
    "tool-started": ("on_tool_start", "input"),
    "tool-output-delta": ("on_tool_event", "data"),
    "tool-finished": ("on_tool_end", "output"),
    "tool-error": ("on_tool_error", "error"),
}
_GIVEN = {"on_tool_event": "delta", "on_tool_error": "message"}


class ToolCalls:
    """The calls of one run that are under way: only their beginning has the name of the tool."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def shown(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """One event of langgraph as `{event, toolCallId, name, input | data | output | error}`."""
        event, key = _NAMES[chunk["event"]]
        call = chunk["tool_call_id"]
        if event == "on_tool_start":
            self._names[call] = chunk["tool_name"]
        name = self._names.get(call, "")
        if event in ("on_tool_end", "on_tool_error"):
            self._names.pop(call, None)
        return {"event": event, "toolCallId": call, "name": name, key: chunk.get(_GIVEN.get(event, key))}
