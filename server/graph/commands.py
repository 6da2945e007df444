"""Commands and updates as JSON → what a graph takes (contract/runs.md 11, resources.md 4.2)."""

from collections.abc import Sequence
from typing import Any

from langgraph.types import Command, Send, StateUpdate

from ..models import Json
from ..rules.threads import Write


def command(fields: Json) -> Command[Any]:
    """The command of these fields; what is empty is left out."""
    arguments: dict[str, Any] = {}
    if fields.get("goto"):
        arguments["goto"] = _goto(fields["goto"])
    if fields.get("update") is not None:
        arguments["update"] = _update(fields["update"])
    if "resume" in fields:
        arguments["resume"] = fields["resume"]
    return Command(**arguments)


def superstep(writes: Sequence[Write]) -> list[StateUpdate]:
    """What several nodes did in one step."""
    return [StateUpdate(_written(write), write.as_node) for write in writes]


def _written(write: Write) -> Any:
    return command(write.command) if write.command else write.values


def _goto(goto: Any) -> Any:
    targets = goto if isinstance(goto, list) else [goto]
    return [
        Send(target["node"], target.get("input")) if isinstance(target, dict) else target
        for target in targets
    ]


def _update(update: Any) -> Any:
    """A dict, or a list of [key, value] pairs, which langgraph wants as tuples."""
    return [(key, value) for key, value in update] if isinstance(update, list) else update
