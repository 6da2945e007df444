"""A graph's state as the wire shows it (contract/resources.md 5.1)."""

from typing import Any

from langgraph.types import Interrupt, PregelTask, StateSnapshot

from ..models import Json


def snapshot_json(snapshot: StateSnapshot) -> Json:
    """The state object, its keys in the order of the contract; values are left to the encoder."""
    checkpoint = address(snapshot.config)
    parent = address(snapshot.parent_config)
    exists = snapshot.created_at is not None
    return {
        "values": snapshot.values,
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint if exists else None,
        "parent_checkpoint": parent,
        "interrupts": [interrupt_json(item) for item in snapshot.interrupts],
        "checkpoint_id": checkpoint.get("checkpoint_id") if checkpoint and exists else None,
        "parent_checkpoint_id": parent.get("checkpoint_id") if parent else None,
    }


def empty_snapshot() -> Json:
    """The state of a thread that never ran (contract/runs.md 17)."""
    return {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": None,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }


def interrupts_by_task(snapshot: StateSnapshot) -> Json:
    """What waits for an answer: `{task id: [{id, value}]}` (contract/runs.md 11)."""
    return {
        task.id: [interrupt_json(item) for item in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }


def interrupt_json(interrupt: Interrupt) -> Json:
    """An interrupt in state and thread. Clients build objects of these keys: no others."""
    found: Json = {"id": interrupt.id, "value": interrupt.value}
    schema = getattr(interrupt, "response_schema", None)
    return found if schema is None else {**found, "response_schema": schema}


def address(config: Any) -> Json | None:
    """Where a checkpoint lies: thread, namespace, id."""
    if not config:
        return None
    inner = config.get("configurable", {})
    keys = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {key: inner[key] for key in keys if inner.get(key) is not None}


def _error_text(error: Any) -> str | None:
    """The repr of an exception; from a checkpoint it comes as that text already."""
    if error is None:
        return None
    return error if isinstance(error, str) else repr(error)


def _task(task: PregelTask) -> Json:
    state = task.state
    nested = snapshot_json(state) if isinstance(state, StateSnapshot) else None
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": _error_text(task.error),
        "interrupts": [interrupt_json(item) for item in task.interrupts],
        "checkpoint": address(state) if nested is None else None,
        "state": nested,
        "result": task.result,
    }
