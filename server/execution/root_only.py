"""What a graph streams without its subgraphs, picked from what it streams with them.

Every run is executed with its subgraphs, for whoever watches through protocol v2. One that was not asked for
them shows what LangGraph streams then: nothing of a subgraph, but the messages that it hands to its parent,
whole; and nothing of a graph that a node runs on a thread of its own.
"""

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from .overheard import Namespace, messages_in


class _Nodes(BaseCallbackHandler):
    """Hears of the metadata of nodes, which their messages carry."""

    run_inline = True
    ignore_llm = ignore_chat_model = ignore_retriever = ignore_agent = ignore_custom_event = True

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}  # of nodes by name, and of each of their tasks by its segment

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, metadata: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """A node of the root, or of a graph on a thread of its own, has one segment."""
        node = (metadata or {}).get("langgraph_node")
        if metadata and node is not None and kwargs.get("name") == node:
            place = metadata["langgraph_checkpoint_ns"]
            if "|" not in place:
                self.metadata[place] = self.metadata[node] = metadata


class RootOnly:
    """Of one run. Ask it of every chunk, in their order."""

    def __init__(self) -> None:
        self.nodes = _Nodes()
        self._tasks: set[str] = set()  # of the root: their segments
        self._subgraphs: set[Namespace] = set()
        self._within: dict[str, str] = {}  # messages that were not shown -> the task of the root, if known

    def shows(self, namespace: Namespace, mode: str, chunk: Any) -> bool:
        """Whether the graph streams this chunk without its subgraphs too."""
        if mode == "tasks":  # everything begins with a task
            if namespace:
                self._subgraphs.add(namespace)
            else:
                self._tasks.add(f"{chunk['name']}:{chunk['id']}")
        if mode == "messages":
            return self._shows_message(namespace, *chunk)
        if mode == "custom":  # a function that is called as a task has a namespace, and is no subgraph
            return self._subgraphs.isdisjoint(namespace[: end + 1] for end in range(len(namespace)))
        return not namespace

    def _shows_message(self, namespace: Namespace, message: BaseMessage, metadata: Any) -> bool:
        place = metadata.get("langgraph_checkpoint_ns", "").partition("|")[0]
        if not namespace and place in self._tasks:
            return True
        if message.id is not None:
            self._within[message.id] = place if place in self._tasks else ""
        return False

    def handed_over(self, namespace: Namespace, updates: Any) -> Iterator[tuple[BaseMessage, Any]]:
        """(message, metadata) of what nodes return that was said within them, out of sight."""
        if namespace or not self._within or not isinstance(updates, dict):
            return
        for node, update in updates.items():
            for message in messages_in(update):
                place = self._within.pop(message.id or "", None)
                metadata = self.nodes.metadata.get(place or node)
                if place is not None and metadata is not None:
                    yield message, metadata
