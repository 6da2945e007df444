"""The log of a thread as the events of one reader: replay and live are one (contract/protocol-v2.md 5, 6).

What an event is depends on the log alone, not on when it is read or what else is asked for: so its id and
its number are the same for every reader. A view therefore reads each log from its beginning, and passes over
what the reader has. It keeps the messages under way and where it is; entries it does not keep.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...models import Json
from ...streaming.broker import DONE, STOPPED, Batch, Cursor, Entry
from ...streaming.encode import decode, encode, raw
from .blocks import Message
from .events import Event, sequence
from .subscriptions import Namespace, Subscription

MESSAGES_MAX = 256  # under way in one run; more than that is a graph that lost its way
TOOLS = "tools"  # what everybody calls the node that runs tools
_METADATA = ("langgraph_node", "langgraph_checkpoint_ns", "ls_provider", "ls_model_name")
_INTERRUPT = b'"__interrupt__"'


@dataclass(slots=True)
class _Run:
    """What is known of the run whose log is being read."""

    epoch: int
    at_ms: int
    run_id: str = ""
    graph_name: str | None = None
    checkpoints: bool = False  # whether each state is followed by its checkpoint
    waiting: bool = False
    error: str | None = None
    messages: dict[str, Message] = field(default_factory=dict)
    said: str | None = None  # a message that comes once more, whole
    held: "tuple[Cursor, Namespace, Entry] | None" = None  # a state that waits for its checkpoint


class View:
    """What one subscription sees of a thread. Feed it all batches of `Broker.follow`, from the beginning."""

    def __init__(self, subscription: Subscription) -> None:
        self._asked = subscription
        self._run = _Run(0, 0)
        self._out: list[Event] = []
        self._place, self._parts = Cursor(0, 0), 0
        self._shared: tuple[bytes, Json] = b"", {}

    @property
    def holds(self) -> bool:
        """Whether something waits for what comes next: ask again soon, then `flush`."""
        return self._run.held is not None

    def feed(self, batch: Batch) -> list[Event]:
        """The events of a batch, of those that were asked for."""
        first = batch.first
        if batch.entries and first.epoch != self._run.epoch:
            self._release()
            self._run = _Run(first.epoch, first.epoch)
        for number, entry in enumerate(batch.entries):
            name, _, namespace = entry.event.partition("|")
            method = _METHODS.get(name)
            if method is None:
                continue
            if self._run.held is not None and name not in ("~checkpoints", "~time"):
                self._release()
            self._place, self._parts = Cursor(first.epoch, first.offset + number), 0
            method(self, tuple(namespace.split("|")) if namespace else (), entry)
        return self._taken()

    def flush(self) -> list[Event]:
        """What waited for something that did not come."""
        self._release()
        return self._taken()

    def _taken(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    # ---------------------------------------------------------------- the run
    def _began(self, namespace: Namespace, entry: Entry) -> None:
        told, run = decode(entry.data), self._run
        run.run_id, run.graph_name = told["run_id"], told["graph_name"]
        run.checkpoints = told["checkpoints"]
        self._close(run.messages.values())  # an earlier attempt was saying something
        run.messages.clear()
        self._lifecycle("running")  # another attempt is the same event: its log may be all there is

    def _time(self, namespace: Namespace, entry: Entry) -> None:
        self._run.at_ms = int(entry.data)

    def _failed(self, namespace: Namespace, entry: Entry) -> None:
        told = decode(entry.data)
        self._run.error = f"{told.get('error')}: {told.get('message')}"

    def _waits(self, namespace: Namespace, entry: Entry) -> None:
        self._run.waiting = True

    def _ended(self, namespace: Namespace, entry: Entry) -> None:
        """One terminal event, however the run ended."""
        told, run = decode(entry.data), self._run
        outcome = told["outcome"]
        run.run_id = run.run_id or told["run_id"]
        if outcome in ("error", "timeout"):
            error = run.error or str(told.get("reason") or outcome)
            for message in run.messages.values():
                self._say(message, [message.event("error", message=error)])
            self._lifecycle("failed", error=error)
        else:
            self._close(run.messages.values())
            over = outcome == "success" and not run.waiting
            self._lifecycle("completed" if over else "interrupted")
        run.messages.clear()

    def _lifecycle(self, event: str, **more: Any) -> None:
        named = {"graph_name": self._run.graph_name} if self._run.graph_name else {}
        # JavaScript's client reads the run from this id: the envelope does not tell it.
        self._tell("lifecycle", "lifecycle", (), {"event": event, **named, **more}, key=f"lc||{event}")

    def _subgraph(self, namespace: Namespace, entry: Entry) -> None:
        event = decode(entry.data)["event"] if self._asked.hears("lifecycle") else ""
        key = f"lc|{'|'.join(namespace)}|{event}"
        self._tell("lifecycle", "lifecycle", namespace, raw(entry.data), key=key)

    # ---------------------------------------------------------------- its state
    def _hold_values(self, namespace: Namespace, entry: Entry) -> None:
        """Clients give a state the checkpoint that came before it; langgraph tells that after the state."""
        self._run.held = (self._place, namespace, entry)
        if not self._run.checkpoints:
            self._release()

    def _checkpoint(self, namespace: Namespace, entry: Entry) -> None:
        held, place = self._run.held, self._place
        key = f"{place.epoch}-{place.offset}"
        if held is not None and held[1] == namespace:
            self._place, self._parts = held[0], 0
        elif held is not None:
            self._release()
            self._place, self._parts = place, 0
        self._tell("checkpoints", "checkpoints", namespace, raw(entry.data), event_id=key)
        self._release()

    def _release(self) -> None:
        if self._run.held is not None:
            self._place, namespace, entry = self._run.held
            self._run.held = None
            self._values(namespace, entry)

    def _values(self, namespace: Namespace, entry: Entry) -> None:
        self._parts = 1  # the first part is the checkpoint's
        event_id = f"{self._place.epoch}-{self._place.offset}"
        if self._asked.wants("values", namespace):
            self._tell("values", "values", namespace, raw(_without_interrupts(entry.data)), event_id=event_id)

    def _updates(self, namespace: Namespace, entry: Entry) -> None:
        if self._asked.wants("updates", namespace):
            data = _without_interrupts(entry.data)
            if data != b"{}" or data == entry.data:
                self._tell("updates", "updates", namespace, raw(data))

    def _task(self, namespace: Namespace, entry: Entry) -> None:
        self._tell("tasks", "tasks", namespace, raw(entry.data))

    # ---------------------------------------------------------------- what it says
    def _message(self, namespace: Namespace, entry: Entry) -> None:
        if not self._asked.hears("messages"):
            return
        metadata = self._metadata(entry.shared)
        namespace = _within(namespace, metadata)
        if not self._asked.wants("messages", namespace):
            return
        piece = decode(entry.data[1:])
        kind, key = piece.get("type"), piece.get("id")
        if kind not in ("AIMessageChunk", "ai") or not isinstance(key, str):
            return  # what people and tools said is in the state
        message, said = self._run.messages.get(key), self._run.said
        self._run.said = None
        if message is None and said == key and kind == "ai":
            return
        if message is None and len(self._run.messages) >= MESSAGES_MAX:
            return
        if message is None:
            node = metadata.get("langgraph_node")
            message = Message(key, namespace, node if isinstance(node, str) else None)
            self._run.messages[key] = message
            self._say(message, [message.begin(piece, metadata)])
        elif kind == "ai":
            piece = {}  # the whole of what came in pieces
        self._say(message, message.add(piece))
        if kind == "ai" or piece.get("chunk_position") == "last":
            self._run.messages.pop(key, None)
            self._close([message])

    def _said(self, namespace: Namespace, entry: Entry) -> None:
        self._run.said = decode(entry.data)

    def _metadata(self, shared: bytes) -> Json:
        """The metadata of a model's call, which all its tokens share to the byte."""
        if shared != self._shared[0]:
            told = decode(shared[1:-1])
            self._shared = shared, {key: told[key] for key in _METADATA if key in told}
        return self._shared[1]

    def _close(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._say(message, message.end())

    def _say(self, message: Message, events: Iterable[Json]) -> None:
        for data in events:
            self._tell("messages", "messages", message.namespace, data, node=message.node)

    def _tool(self, namespace: Namespace, entry: Entry) -> None:
        self._tell("tools", "tools", namespace, raw(entry.data))

    def _custom(self, namespace: Namespace, entry: Entry) -> None:
        if self._asked.hears("custom"):
            told = decode(entry.data) if entry.data.startswith(b"{") else None
            name = told.get("name") if isinstance(told, dict) else None
            name = name if isinstance(name, str) else None
            self._tell("custom", "custom", namespace, raw(entry.data), name=name)

    # ---------------------------------------------------------------- what it asks
    def _question(self, namespace: Namespace, entry: Entry) -> None:
        asked = decode(entry.data)["interrupt_id"] if self._asked.hears("input") else ""
        key = f"input|{'|'.join(namespace)}|{asked}"
        self._tell("input", "input.requested", namespace, raw(entry.data), key=key)

    def _answered(self, namespace: Namespace, entry: Entry) -> None:
        self._tell("input", "input.answered", (), raw(entry.data), key="answered")

    # ---------------------------------------------------------------- telling
    def _tell(
        self,
        channel: str,
        method: str,
        namespace: Namespace,
        data: Any,
        *,
        key: str | None = None,
        event_id: str | None = None,
        node: str | None = None,
        name: str | None = None,
    ) -> None:
        """Tell one event of the entry at hand, if it is asked for. `key`: its name within the run."""
        place, part = self._place, self._parts
        self._parts += 1
        seq = sequence(place, part)
        if seq <= self._asked.since or not self._asked.wants(channel, namespace, name):
            return
        if key is not None:
            event_id = f"synth:{self._run.run_id}:{key}"
        elif event_id is None:
            event_id = f"{place.epoch}-{place.offset}" + (f".{part}" if part else "")
        self._out.append(Event(seq, event_id, method, namespace, self._run.at_ms, data, node))


# Once and not in each view: there is one for every open stream.
_METHODS: dict[str, Callable[[View, Namespace, Entry], None]] = {
    "values": View._hold_values,
    "updates": View._updates,
    "messages": View._message,
    "custom": View._custom,
    "error": View._failed,
    DONE: View._ended,
    STOPPED: View._ended,
    "~run": View._began,
    "~time": View._time,
    "~messages": View._message,
    "~said": View._said,
    "~values": View._hold_values,
    "~updates": View._updates,
    "~custom": View._custom,
    "~tools": View._tool,
    "~tasks": View._task,
    "~lifecycle": View._subgraph,
    "~checkpoints": View._checkpoint,
    "~input": View._question,
    "~answered": View._answered,
    "~waiting": View._waits,
}


def _within(namespace: Namespace, metadata: Json) -> Namespace:
    """Where something was said: what a tool has a model say is in a namespace of its own, by which clients
    tell it from what the agent says (contract/protocol-v2.md 3)."""
    if metadata.get("langgraph_node") != TOOLS:
        return namespace
    place = str(metadata.get("langgraph_checkpoint_ns", "")).split("|")
    return (*namespace, *place[len(namespace) : len(namespace) + 1])


def _without_interrupts(data: bytes) -> bytes:
    """A state or an update without the questions, which have a channel of their own."""
    if _INTERRUPT not in data:
        return data
    value = decode(data)
    if not isinstance(value, dict) or "__interrupt__" not in value:
        return data
    return encode({key: item for key, item in value.items() if key != "__interrupt__"})
