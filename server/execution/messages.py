"""The accumulating `messages` mode: chunks become messages/metadata, /partial and /complete.

Besides what the reference sends, the end of a streamed message is told by `messages/complete`: clients
could not know it otherwise (contract/runs.md 6.2, marked as a defect there).
"""

from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    message_chunk_to_message,
)

from ..rules.masking import masked

Event = tuple[str, Any]


class MessageAssembler:
    """The messages of one run that are being streamed, by id."""

    def __init__(self) -> None:
        self._growing: dict[str, BaseMessageChunk] = {}
        self._known: set[str] = set()

    def add(self, message: BaseMessage, metadata: Any) -> list[Event]:
        """The events for one chunk or one ready message."""
        key = message.id or ""
        events = self._introduce(key, metadata)
        if not isinstance(message, BaseMessageChunk):
            return [*events, ("messages/complete", [message])]
        whole = self._grow(key, message)
        events.append(("messages/partial", [whole]))
        if isinstance(message, AIMessageChunk) and message.chunk_position == "last":
            del self._growing[key]
            events.append(("messages/complete", [whole]))
        return events

    def _introduce(self, key: str, metadata: Any) -> list[Event]:
        if key in self._known:
            return []
        self._known.add(key)
        return [("messages/metadata", {key: {"metadata": masked(metadata)}})]

    def _grow(self, key: str, chunk: BaseMessageChunk) -> BaseMessage:
        before = self._growing.get(key)
        grown = chunk if before is None else before + chunk
        assert isinstance(grown, BaseMessageChunk)
        self._growing[key] = grown
        return _full(grown)


def _full(chunk: BaseMessageChunk) -> BaseMessage:
    """The chunk as a message: type "ai" without the fields that only chunks have."""
    message = message_chunk_to_message(chunk)
    if isinstance(message, AIMessage) and isinstance(chunk, AIMessageChunk):
        message.usage_metadata = chunk.usage_metadata
    return message
