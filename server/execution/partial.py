"""What a model had said when its run was cancelled: gathered while it speaks, kept in the thread if asked."""

from collections.abc import Iterable
from typing import Any

import structlog
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateUpdate

from ..graph.catalog import Graph

_log = structlog.get_logger(__name__)

CHANNEL = "messages"
MARK = {"partial": True, "finish_reason": "cancelled"}  # in `response_metadata` (docs/compatibility.md)


class Unfinished:
    """The answers of a run that have begun and not ended, by message id. Chunks are kept, not copied."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Any, list[AIMessageChunk]]] = {}

    def hear(self, message: BaseMessage, metadata: Any) -> None:
        """One item of the stream of messages."""
        if not isinstance(message, AIMessageChunk) or message.id is None:
            return
        if message.chunk_position == "last":
            self._said.pop(message.id, None)
        else:
            self._said.setdefault(message.id, (metadata, []))[1].append(message)

    async def keep(self, graph: Graph, config: RunnableConfig) -> None:
        """Write them into the state as if their nodes had returned them. Never raises: it is a courtesy.

        Needs a channel `messages`. What a model wanted of tools is left out: calls without results are
        refused by the next model call.
        """
        if not self._said or CHANNEL not in graph.channels:
            return
        try:
            snapshot = await graph.aget_state(config)
            known = {getattr(message, "id", None) for message in snapshot.values.get(CHANNEL, ())}
            updates = [
                StateUpdate({CHANNEL: [message for at, message in found if at == node]}, node)
                for found in [self._messages(known)]
                for node in dict.fromkeys(node for node, _ in found)
                if node in graph.nodes
            ]
            if updates:
                await graph.abulk_update_state(config, [updates])
        except BaseException:  # the graph's reducers and edges are user code
            _log.warning("could not keep a partial answer", exc_info=True)

    def _messages(self, known: set[str | None]) -> list[tuple[str, AIMessage]]:
        """(node of the root graph, its message) of those with any text."""
        found = []
        for key, (metadata, chunks) in self._said.items():
            text = "".join(_texts(chunks))
            if text and key not in known:
                told = {**chunks[0].response_metadata, **MARK}
                found.append((_root_node(metadata), AIMessage(text, id=key, response_metadata=told)))
        return found


def _texts(chunks: Iterable[AIMessageChunk]) -> Iterable[str]:
    for chunk in chunks:
        yield from (
            block if isinstance(block, str) else block.get("text", "")
            for block in ([chunk.content] if isinstance(chunk.content, str) else chunk.content)
        )


def _root_node(metadata: Any) -> str:
    """`node:task|inner:task` -> `node`: where the root graph was when this was said."""
    return str(metadata.get("langgraph_checkpoint_ns", "")).partition("|")[0].rpartition(":")[0]
