"""Asides: entries of a run's log that only protocol v2 shows (contract/protocol-v2.md 9).

A run is executed one way, whoever watches, and what it streams is in its log once. These entries add what
the older protocol has no event for: when something happened, which graph runs, which subgraphs begin and
end, what a person is asked. What has an event of the older protocol and was not asked for is an aside too
(stream_modes). A temporary run has none: nobody knows its thread, by which protocol v2 watches.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..models import Outcome, Run, RunStatus, ThreadStatus
from ..streaming.broker import Entry, aside
from ..streaming.encode import encode
from .stream_modes import INTERRUPT

Namespace = tuple[str, ...]
TICK_MS = 25  # how far the time of a token may be off; that of a step is exact
_INTERRUPT_ID = re.compile("[0-9a-f]{32}")


@dataclass(slots=True)
class Asides:
    """The asides of one attempt of a run."""

    run: Run
    open: dict[Namespace, tuple[str, str]] = field(
        default_factory=dict
    )  # subgraphs: task of the parent, name
    _told_at: int = 0
    _seen: set[Namespace] = field(default_factory=set)
    _calls: dict[str, str] = field(default_factory=dict)  # tasks that run tools -> the call of the tool
    _asked_at: dict[str, Namespace] = field(default_factory=dict)  # interrupts -> where they were raised

    def beginning(self) -> list[Entry]:
        """What there is to say before the graph runs."""
        run = self.run
        if run.temporary:
            return []
        told = {"run_id": run.run_id, "attempt": run.attempt, "graph_name": run.graph_id}
        entries = [Entry(aside("run"), encode({**told, "checkpoints": True}))]
        answered = _answered(run.kwargs.get("command"))
        if answered and run.attempt == 1:
            entries.append(Entry(aside("answered"), encode({"interrupt_ids": answered})))
        return entries

    def time(self, at_ms: int, *, live: bool) -> Entry | None:
        """The time, where what comes next has another than what came last."""
        if self.run.temporary or at_ms - self._told_at < (TICK_MS if live else 1):
            return None
        self._told_at = at_ms
        return Entry(aside("time"), b"%d" % at_ms)

    def of(self, namespace: Namespace, mode: str, chunk: Any) -> list[Entry]:
        """The asides of one chunk that the graph streamed."""
        if mode in ("messages", "custom", "events"):
            return []
        self._hear_interrupts(namespace, mode, chunk)
        if mode == "tasks":
            return [*self._subgraphs(namespace, chunk), *self._told(namespace, mode, _task(chunk))]
        if mode == "tools":
            return self._told(namespace, mode, chunk)
        if mode == "checkpoints":
            return self._told(namespace, mode, _checkpoint(chunk))
        return []

    def ending(self, outcome: Outcome, at_ms: int, asked: Iterable[Any]) -> list[Entry]:
        """What there is to say when the outcome is committed; `asked`: the interrupts that wait."""
        entries = [] if self.run.temporary else [Entry(aside("time"), b"%d" % at_ms)]
        how = {"event": _ENDS.get(outcome.status, "interrupted")}
        for namespace in sorted(self.open, key=len, reverse=True):
            entries += self._life(namespace, how, *self.open[namespace])
        self.open.clear()
        if outcome.status is RunStatus.success and outcome.thread_status is ThreadStatus.interrupted:
            for item in asked:
                told = {"interrupt_id": item.id, "payload": item.value, "value": item.value}
                entries += self._told(self._asked_at.get(item.id, ()), "input", told)
            entries += self._told((), "waiting", {})
        return entries

    def _told(self, namespace: Namespace, name: str, value: Any) -> list[Entry]:
        return [] if self.run.temporary else [Entry(aside(name, namespace), encode(value))]

    def _hear_interrupts(self, namespace: Namespace, mode: str, chunk: Any) -> None:
        """Where an interrupt was raised: in the innermost graph that tells of it."""
        found = chunk.get("interrupts" if mode == "tasks" else INTERRUPT) if isinstance(chunk, dict) else None
        for item in found or ():
            key = item["id"] if isinstance(item, dict) else getattr(item, "id", None)
            if isinstance(key, str) and len(namespace) >= len(self._asked_at.get(key, ())):
                self._asked_at[key] = namespace

    def _subgraphs(self, namespace: Namespace, chunk: Any) -> Iterator[Entry]:
        """Subgraphs that begin with their first task, and end with the task of their parent."""
        if "result" in chunk:
            yield from self._ended(namespace, chunk)
            return
        self._remember_call(chunk)
        if not namespace or namespace in self._seen:
            return
        self._seen.add(namespace)
        node, _, task_id = namespace[-1].partition(":")
        agent = (chunk.get("metadata") or {}).get("lc_agent_name")
        name = agent if isinstance(agent, str) else node
        self.open[namespace] = (task_id, name)
        call = self._calls.get(task_id)
        cause = {"cause": {"type": "toolCall", "tool_call_id": call}} if call else {}
        yield from self._life(namespace, {"event": "started", **cause}, task_id, name)

    def _ended(self, namespace: Namespace, chunk: Any) -> Iterator[Entry]:
        self._calls.pop(chunk["id"], None)
        for child, (task_id, name) in list(self.open.items()):
            if child[:-1] == namespace and task_id == chunk["id"]:
                del self.open[child]
                yield from self._life(child, _end_of(chunk), task_id, name)

    def _life(self, namespace: Namespace, how: dict[str, Any], task_id: str, name: str) -> Iterator[Entry]:
        told = {**how, "namespace": namespace, "graph_name": name, "trigger_call_id": task_id}
        yield from self._told(namespace, "lifecycle", told)
        if "lifecycle" in self.run.kwargs["stream_mode"] and self.run.kwargs["subgraphs"]:
            yield Entry("|".join(("lifecycle", *namespace)), encode(_as_asked(namespace, how)))

    def _remember_call(self, chunk: Any) -> None:
        """The task of a tool has the call as its input, or, of older graphs, a list of calls."""
        given = chunk.get("input")
        call = (
            given.get("tool_call")
            if isinstance(given, dict)
            else given[:1]
            if isinstance(given, list)
            else None
        )
        call = call[0] if isinstance(call, list) and call else call
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            self._calls[chunk["id"]] = call["id"]


_TASK = frozenset({"id", "name", "triggers", "error", "interrupts", "result"})
_ENDS = {RunStatus.success: "completed", RunStatus.error: "failed", RunStatus.timeout: "failed"}


def _as_asked(namespace: Namespace, how: dict[str, Any]) -> dict[str, Any]:
    """For the mode `lifecycle` of the older protocol (LifecycleStreamEvent of the JavaScript SDK)."""
    told: dict[str, Any] = {"event": how["event"], "namespace": namespace}
    if "cause" in how:
        told["tool_call_id"] = how["cause"]["tool_call_id"]
    if "error" in how:
        kind, _, message = how["error"].partition(": ")
        told["error"] = {"error": kind if message else "Error", "message": message or kind}
    return told


def _end_of(chunk: Any) -> dict[str, Any]:
    if chunk.get("interrupts"):
        return {"event": "interrupted"}
    if error := chunk.get("error"):
        return {"event": "failed", "error": str(error)}
    return {"event": "completed"}


def _task(chunk: Any) -> dict[str, Any]:
    """A task without its input, which is the state once more."""
    return {key: value for key, value in chunk.items() if key in _TASK}


def _checkpoint(chunk: Any) -> dict[str, Any]:
    """`{id, parent_id, step, source}`: all that is needed to fork from it."""
    metadata = chunk.get("metadata") or {}
    parent = _checkpoint_id(chunk.get("parent_config"))
    told = {"id": _checkpoint_id(chunk.get("config")), "step": metadata.get("step")}
    return {**told, **({"parent_id": parent} if parent else {}), "source": metadata.get("source")}


def _checkpoint_id(config: Any) -> str | None:
    return ((config or {}).get("configurable") or {}).get("checkpoint_id")


def _answered(command: Any) -> list[str]:
    """The interrupts that a run answers by id."""
    answer = command.get("resume") if isinstance(command, dict) else None
    return [key for key in answer if _INTERRUPT_ID.fullmatch(key)] if isinstance(answer, dict) else []
