"""From what a graph streams to what the wire shows: one row a mode (contract/runs.md 6 and 7)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from ..rules.masking import masked
from ..streaming.broker import Entry, aside
from ..streaming.encode import encode
from .messages import MessageAssembler
from .overheard import Overheard, Tell
from .root_only import RootOnly
from .tool_calls import ToolCalls

# Modes of the wire -> modes of `graph.astream`. "events" is not one of the graph's: see executor.
GRAPH_MODES = {
    "values": "values",
    "updates": "updates",
    "messages": "messages",
    "messages-tuple": "messages",
    "custom": "custom",
    "tasks": "tasks",
    "checkpoints": "checkpoints",
    "debug": "debug",
    "tools": "tools",
    "lifecycle": "tasks",  # told by the asides, which follow the tasks of subgraphs
}
WIRE_MODES = (*GRAPH_MODES, "events")
INTERRUPT = "__interrupt__"
# What protocol v2 may show of any run: LangGraph streams it for every run that others can watch.
_RECORDED = ("values", "updates", "custom", "tasks", "checkpoints")
_OVERHEARD = ("messages", "tools")  # these too, if the run has its models stream; else see overheard.py
_STREAMING = frozenset({"messages", "messages-tuple", "tools", "events"})  # asked for, it does
_AS_ASIDE = frozenset({"values", "updates", "custom"})  # like messages; of the rest asides.py makes them
LIVE_MODES = ("messages", "custom", "events", "tools")  # they tell what happens, not how the state is


def graph_modes(asked: Iterable[str]) -> list[str]:
    """The graph modes that serve the modes asked for, each once."""
    return list(dict.fromkeys(GRAPH_MODES[mode] for mode in asked if mode in GRAPH_MODES))


@dataclass(slots=True)
class Translator:
    """Turns the chunks of one run into log entries. It keeps what the stateful `messages` mode needs."""

    modes: frozenset[str]
    shown: frozenset[str]  # the modes of the graph that these are
    recorded: bool  # whether what was not asked for becomes an aside
    root: RootOnly | None  # where subgraphs were not asked for, and the graph streams them all the same
    _assembler: MessageAssembler = field(default_factory=MessageAssembler)
    _calls: ToolCalls = field(default_factory=ToolCalls)
    _metadata: Any = None
    _metadata_json: bytes = b""

    @classmethod
    def of(cls, asked: Iterable[str], *, subgraphs: bool = True, recorded: bool = False) -> "Translator":
        modes = frozenset(asked)
        shown = frozenset((*graph_modes(modes - {"lifecycle"}), "events"))
        return cls(modes, shown, recorded, RootOnly() if recorded and not subgraphs else None)

    @property
    def graph_modes(self) -> list[str]:
        """The modes of the graph that serve the events and the asides."""
        more = (*_RECORDED, *(() if self.overhears else _OVERHEARD)) if self.recorded else ()
        return list(dict.fromkeys((*graph_modes(self.modes), *more)))

    @property
    def overhears(self) -> bool:
        """Whether what models and tools say has to be overheard: nobody asked for it."""
        return self.recorded and self.modes.isdisjoint(_STREAMING)

    def callbacks(self, tell: Tell) -> list[BaseCallbackHandler]:
        """What has to listen to the graph besides; `tell` takes what it hears, from any thread."""
        if self.overhears:
            return [Overheard(tell)]
        return [self.root.nodes] if self.root is not None else []

    def entries(self, namespace: tuple[str, ...], mode: str, chunk: Any) -> list[Entry]:
        """The events of one chunk; subgraph events carry their namespace in the name."""
        shown = mode in self.shown
        if self.root is None:
            return self._entries(namespace, mode, chunk, shown=shown)
        shown = self.root.shows(namespace, mode, chunk) and shown
        if mode == "updates" and "messages" in self.shown:
            return [*self._handed_over(namespace, chunk), *self._entries(namespace, mode, chunk, shown=shown)]
        return self._entries(() if shown else namespace, mode, chunk, shown=shown)

    def _entries(self, namespace: tuple[str, ...], mode: str, chunk: Any, *, shown: bool) -> list[Entry]:
        if mode == "messages":
            return self._messages(namespace, *chunk, shown=shown)
        if not shown:
            told = self.recorded and mode in _AS_ASIDE
            return [Entry(aside(mode, namespace), encode(chunk))] if told else []
        if mode == "tools":
            chunk = self._calls.shown(chunk)
        shape = _SHAPES.get(mode)
        return [Entry(_name(mode, namespace), encode(shape(chunk) if shape else chunk))]

    def _handed_over(self, namespace: tuple[str, ...], update: Any) -> Iterator[Entry]:
        assert self.root is not None
        for message, metadata in self.root.handed_over(namespace, update):
            yield Entry(aside("said"), encode(message.id))  # protocol v2 has shown it where it was said
            yield from self._shown_messages((), message, metadata)

    def _messages(
        self, namespace: tuple[str, ...], message: BaseMessage, metadata: Any, *, shown: bool
    ) -> list[Entry]:
        tuples = shown and "messages-tuple" in self.modes
        # Of a message that grows the pieces cannot be told: protocol v2 needs them beside it.
        told = self.recorded and not tuples
        pieces = [self._piece(aside("messages", namespace), message, metadata)] if told else []
        return [*pieces, *(self._shown_messages(namespace, message, metadata) if shown else ())]

    def _shown_messages(self, namespace: tuple[str, ...], message: BaseMessage, metadata: Any) -> list[Entry]:
        # Asked for both forms, the tuple form wins (contract/runs.md 6).
        if "messages-tuple" in self.modes:
            return [self._piece(_name("messages", namespace), message, metadata)]
        return [Entry(name, encode(data)) for name, data in self._assembler.add(message, metadata)]

    def _piece(self, name: str, message: BaseMessage, metadata: Any) -> Entry:
        return Entry(name, b"[" + encode(message), self._shared(metadata))

    def _shared(self, metadata: Any) -> bytes:
        """The second half of `[message, metadata]`, made once for all tokens of a model call."""
        if metadata is not self._metadata:
            self._metadata = metadata
            self._metadata_json = b"," + encode(masked(metadata)) + b"]"
        return self._metadata_json


def _name(mode: str, namespace: tuple[str, ...]) -> str:
    return "|".join((mode, *namespace)) if namespace else mode


def announces_interrupt(mode: str, chunk: Any) -> bool:
    """Whether the chunk tells of an interrupt: it must not be seen before the status is committed."""
    if not isinstance(chunk, dict):
        return False
    if mode in ("updates", "values"):
        return INTERRUPT in chunk
    if mode == "tasks":
        return bool(chunk.get("interrupts"))
    if mode == "debug":
        payload = chunk.get("payload")
        return chunk.get("type") == "task_result" and bool(payload and payload.get("interrupts"))
    return False


def root_interrupts(namespace: tuple[str, ...], mode: str, chunk: Any) -> dict[str, Any]:
    """The interrupts that a chunk of the root graph tells of, by id."""
    if namespace or mode not in ("updates", "values") or not isinstance(chunk, dict):
        return {}
    return {item.id: item for item in chunk.get(INTERRUPT, ())}


def _checkpoint(chunk: dict[str, Any]) -> dict[str, Any]:
    return {
        **chunk,
        **({"metadata": masked(chunk["metadata"])} if "metadata" in chunk else {}),
        "config": _public(chunk.get("config")),
        "parent_config": _public(chunk.get("parent_config")),
    }


def _debug(chunk: dict[str, Any]) -> dict[str, Any]:
    payload = chunk.get("payload")
    if chunk.get("type") != "checkpoint" or not isinstance(payload, dict):
        return chunk
    payload = _checkpoint(payload)
    payload["checkpoint"] = _address(payload["config"])
    payload["parent_checkpoint"] = _address(payload["parent_config"])
    payload["tasks"] = [_debug_task(task) for task in payload.get("tasks", ())]
    return {**chunk, "payload": payload}


def _debug_task(task: dict[str, Any]) -> dict[str, Any]:
    state = task.get("state")
    if not isinstance(state, dict) or "configurable" not in state:
        return task
    rest = {key: value for key, value in task.items() if key != "state"}
    return {**rest, "checkpoint": _public(state)["configurable"]}


def _public(config: Any) -> Any:
    """A config without the keys that langgraph and the server keep there for themselves."""
    if not isinstance(config, dict):
        return config
    inner = config.get("configurable", {})
    return {
        **config,
        "configurable": masked({key: value for key, value in inner.items() if not key.startswith("__")}),
    }


def _address(config: Any) -> dict[str, Any] | None:
    if not isinstance(config, dict):
        return None
    inner = config.get("configurable", {})
    keys = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {key: inner[key] for key in keys if key in inner}


_SHAPES: dict[str, Callable[[Any], Any]] = {"checkpoints": _checkpoint, "debug": _debug}
