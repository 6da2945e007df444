"""What models and tools say in a run whose caller asked for no tokens.

LangGraph's own modes for it would have the models stream, and what a model streams is not in all things what
it answers at once: some providers count tokens in one of the two. Who watches must not change what a graph
stores. So a message is told when it is whole, or as it comes where the graph has its model stream by itself.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from pydantic import BaseModel

Namespace = tuple[str, ...]
Tell = Callable[[Namespace, str, Any], object]  # a namespace, a mode of LangGraph's, a chunk as it has them


class Overheard(BaseCallbackHandler):
    """Tells the chunks of the modes `messages` and `tools` of one run, from whatever thread they come."""

    run_inline = True  # before the task that it is part of ends

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._under_way: dict[UUID, tuple[Namespace, Any]] = {}  # nodes and models: where, and their metadata
        self._calls: dict[UUID, tuple[Namespace, str]] = {}  # tools: where, and the id of the call
        self._known: set[str] = set()  # messages

    # ------------------------------------------------------------------------------------ models
    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if _is_told(metadata, tags):
            self._under_way[run_id] = namespace_of(metadata), metadata

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **_: Any) -> None:
        if run_id in self._under_way and isinstance(chunk, ChatGenerationChunk):
            self._say(*self._under_way[run_id], chunk.message)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        found = self._under_way.pop(run_id, None)
        said = next((said for answers in response.generations for said in answers), None)
        if found is not None and isinstance(said, ChatGeneration):
            self._say_once(*found, said.message)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._under_way.pop(run_id, None)

    # ------------------------------------------------------------------------------------ nodes
    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        if metadata and _is_told(metadata, None) and metadata.get("langgraph_node") == name:
            self._under_way[run_id] = namespace_of(metadata), metadata
            self._known.update(message.id for message in messages_in(inputs) if message.id is not None)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        found = self._under_way.pop(run_id, None)
        if found is not None:
            for message in messages_in(outputs):
                self._say_once(*found, message)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._under_way.pop(run_id, None)

    # ------------------------------------------------------------------------------------ tools
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if not _is_told(metadata, tags):
            return
        namespace, call = namespace_of(metadata), more.get("tool_call_id") or str(run_id)
        self._calls[run_id] = namespace, call
        name = (serialized or {}).get("name") or more.get("name") or ""
        given = {"input": inputs} if inputs is not None else {}
        self._tell(
            namespace,
            "tools",
            {"event": "tool-started", "tool_call_id": call, "tool_name": name, **given},
        )

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        self._tell_tool(run_id, "tool-finished", output=output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        if isinstance(error, GraphBubbleUp):  # it waits for an answer, and begins anew with it
            self._calls.pop(run_id, None)
        else:
            self._tell_tool(run_id, "tool-error", message=str(error))

    def _tell_tool(self, run_id: UUID, event: str, **more: Any) -> None:
        found = self._calls.pop(run_id, None)
        if found is not None:
            namespace, call = found
            self._tell(namespace, "tools", {"event": event, "tool_call_id": call, **more})

    # ------------------------------------------------------------------------------------ saying
    def _say(self, namespace: Namespace, metadata: Any, message: BaseMessage) -> None:
        if message.id is None:
            message.id = str(uuid4())  # LangGraph does so too: the state then has the same one
        self._known.add(message.id)
        self._tell(namespace, "messages", (message, metadata))

    def _say_once(self, namespace: Namespace, metadata: Any, message: BaseMessage) -> None:
        if message.id not in self._known:
            self._say(namespace, metadata, message)


def _is_told(metadata: Any, tags: list[str] | None) -> bool:
    return bool(metadata) and "langgraph_checkpoint_ns" in metadata and TAG_NOSTREAM not in (tags or ())


def namespace_of(metadata: Any) -> Namespace:
    """The namespace of the graph that a task is part of. A function that is called as a task is part of its
    caller's graph, though its place is below the caller's."""
    place, path = metadata["langgraph_checkpoint_ns"].split("|"), metadata.get("langgraph_path", ())
    above = 1
    while len(path) == 4 and path[0] == "__pregel_push" and path[-1] is True:
        above, path = above + 1, path[1]
    return tuple(place[:-above])


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """The messages in a state or in what a node returns: channels, lists in them, commands around them."""
    if isinstance(value, BaseMessage):
        yield value
    elif isinstance(value, Command):
        yield from messages_in(value.update)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, BaseMessage | Command | dict):
                yield from messages_in(item)
    else:
        for channel in _channels(value):
            if isinstance(channel, BaseMessage):
                yield channel
            elif isinstance(channel, list | tuple):
                yield from (item for item in channel if isinstance(item, BaseMessage))


def _channels(state: Any) -> Iterable[Any]:
    if isinstance(state, dict):
        return state.values()
    return vars(state).values() if isinstance(state, BaseModel) or is_dataclass(state) else ()
