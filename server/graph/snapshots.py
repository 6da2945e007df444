"""A graph's state as the wire shows it (contract/resources.md 5.1)."""

from collections.abc import Collection, Mapping
from typing import Any

from langgraph.types import Interrupt, PregelTask, StateSnapshot

from ..models import Json
from ..rules.masking import masked

VALUE = "values."  # a selected field that begins so is one value of the state


def snapshot_json(snapshot: StateSnapshot, at: Json | None = None) -> Json:
    """The state object, its keys in the order of the contract; values are left to the encoder.

    `at` is the place that was asked for by name, for the case that there is nothing: see `empty_snapshot`.
    """
    if snapshot.created_at is None:
        return empty_snapshot(at)
    checkpoint = address(snapshot.config)
    parent = address(snapshot.parent_config)
    return {
        "values": snapshot.values,
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": masked(snapshot.metadata),
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [interrupt_json(item) for item in snapshot.interrupts],
        "checkpoint_id": checkpoint.get("checkpoint_id") if checkpoint else None,
        "parent_checkpoint_id": parent.get("checkpoint_id") if parent else None,
    }


def empty_snapshot(at: Json | None = None) -> Json:
    """The state of a thread that never ran (contract/runs.md 17); `at` is the place that was asked for.

    Clients that name a place take it and the metadata apart without looking (contract/clients.md 4 and 8).
    """
    return {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None if at is None else {},
        "created_at": None,
        "checkpoint": at,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }


def selected(state: Json, select: Collection[str]) -> Json:
    """The fields of a state that were asked for, `values.<key>` being one value; none asked for: all."""
    if not select:
        return state
    found = {name: value for name, value in state.items() if name in select}
    keys = [name.removeprefix(VALUE) for name in select if name.startswith(VALUE)]
    if keys and "values" not in select:
        values = state["values"] if isinstance(state["values"], Mapping) else {}
        found = {"values": {key: values[key] for key in values if key in keys}, **found}
    return found


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
    nested = _nested(state) if isinstance(state, StateSnapshot) else None
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


def _nested(state: StateSnapshot) -> Json:
    """The state of a subgraph, which may not have begun."""
    return snapshot_json(state, {"checkpoint_id": None, **(address(state.config) or {})})
