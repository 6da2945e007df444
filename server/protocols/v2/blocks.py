"""Pieces of messages as the log has them → content-block events (contract/protocol-v2.md 5, messages).

message-start → per block: content-block-start, content-block-delta*, content-block-finish → message-finish.
A piece of plain text, which most tokens are, takes the short way; what providers put into lists of content is
read by langchain-core, which knows their dialects.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk

from ...models import Json
from ...streaming.encode import decode

Key = tuple[str, Any]
# Block type → the field that grows, and the delta that carries it.
_GROWING = {
    "text": ("text", "text-delta"),
    "reasoning": ("reasoning", "reasoning-delta"),
    "tool_call_chunk": ("args", "tool-call-delta"),
    "server_tool_call_chunk": ("args", "tool-call-delta"),
}
_FINAL = {"tool_call_chunk": "tool_call", "server_tool_call_chunk": "server_tool_call"}
_HEAVY = frozenset({"args", "data", "output", "transcript", "value"})  # told once, when the block is finished
_STREAM_ONLY = frozenset({"index", "annotations"})
_TEXT: Key = ("text", None)
_DETAILS = ("input_token_details", "output_token_details")


@dataclass(slots=True)
class Block:
    """One block of a message under way. What grows is bytes: thousands of tokens cost what they are long."""

    index: int
    fields: Json
    grown: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Message:
    """A message that has begun and not ended."""

    id: str
    namespace: tuple[str, ...]
    node: str | None
    blocks: dict[Key, Block] = field(default_factory=dict)
    usage: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)

    def event(self, name: str, **more: Any) -> Json:
        """Each event says of which message it is: several may be under way at once, also in one node.

        The run of JavaScript's client is the call of the model (`run_id`), which has one message.
        """
        return {"event": name, **more, "id": self.id, "run_id": self.id.removeprefix("lc_run--")}

    def begin(self, piece: Json, metadata: Json) -> Json:
        told = piece.get("response_metadata") or {}
        names = {
            "provider": told.get("model_provider") or metadata.get("ls_provider"),
            "model": told.get("model_name") or metadata.get("ls_model_name"),
            "langgraph_node": self.node,
        }
        said = {key: value for key, value in names.items() if isinstance(value, str)}
        return self.event("message-start", role="ai", metadata=said)

    def add(self, piece: Json) -> Iterator[Json]:
        """The events of one more piece."""
        for key, block in _blocks(piece):
            yield from self._grow(key, block)
        if piece.get("response_metadata"):
            self.metadata.update(piece["response_metadata"])
        if piece.get("usage_metadata"):
            _count(self.usage, piece["usage_metadata"])

    def end(self) -> Iterator[Json]:
        """The events that close it, whatever there is of it."""
        for block in self.blocks.values():
            yield self.event("content-block-finish", index=block.index, content=_final(block))
        more: Json = {"usage": self.usage} if self.usage else {}
        if self.metadata:
            more["metadata"] = self.metadata
        yield self.event("message-finish", **more)

    def _grow(self, key: Key, piece: Json) -> Iterator[Json]:
        block = self.blocks.get(key)
        kind = str(piece.get("type", "text"))
        growing, delta = _GROWING.get(kind, ("data", "data-delta"))
        if block is None:
            block = self.blocks[key] = Block(len(self.blocks), dict(piece))
            block.fields.pop(growing, None)
            yield self.event("content-block-start", index=block.index, content=_skeleton(kind, piece))
        else:
            block.fields.update(
                {name: value for name, value in piece.items() if name != growing and value is not None}
            )
        more = piece.get(growing)
        if isinstance(more, str) and more:
            block.grown += more.encode()
            change: Json = {"type": delta, growing: more}
            if delta == "data-delta":
                change["encoding"] = "base64"
            yield self.event("content-block-delta", index=block.index, delta=change)


def _blocks(piece: Json) -> list[tuple[Key, Json]]:
    """The blocks in a piece, each with what tells it from the others of its message."""
    content, calls = piece.get("content"), piece.get("tool_call_chunks") or ()
    whole = piece.get("type") == "ai"
    if isinstance(content, str) and not piece.get("additional_kwargs") and not whole:
        found: list[tuple[Key, Json]] = [(_TEXT, {"type": "text", "text": content})] if content else []
        for number, call in enumerate(calls):
            told = {**call, "type": "tool_call_chunk"}
            found.append((_key(told, number), {k: v for k, v in told.items() if v is not None}))
        return found
    return [(_key(block, number), block) for number, block in enumerate(_by_langchain(piece, whole=whole))]


def _by_langchain(piece: Json, *, whole: bool) -> list[Json]:
    """The blocks of what a provider said in its own way."""
    try:
        kind = AIMessage if whole else AIMessageChunk
        message: Any = kind(**{key: value for key, value in piece.items() if key != "type"})
        found = [dict(block) for block in message.content_blocks if isinstance(block, dict)]
    except Exception:  # translators are code of others, and so are the pieces
        text = piece.get("content")
        return [{"type": "text", "text": text}] if isinstance(text, str) and text else []
    if whole:
        found += [{**call, "type": "invalid_tool_call"} for call in piece.get("invalid_tool_calls") or ()]
    return found


def _key(block: Json, number: int) -> Key:
    kind, index = str(block.get("type", "text")), block.get("index")
    if index is not None:
        return kind, str(index)
    return _TEXT if kind == "text" and number == 0 else (kind, f"at {number}")


def _skeleton(kind: str, piece: Json) -> Json:
    """The block as it begins: without what grows, and without what is large."""
    if kind in _GROWING:
        growing = _GROWING[kind][0]
        call = kind in _FINAL
        dropped = _STREAM_ONLY if not call else frozenset[str]()
        return {**{k: v for k, v in piece.items() if k not in dropped}, growing: ""}
    small = {key: value for key, value in piece.items() if key not in _HEAVY}
    if kind in ("tool_call", "server_tool_call"):
        small["args"] = {}
    return small


def _final(block: Block) -> Json:
    fields = dict(block.fields)
    kind = str(fields.get("type", "text"))
    text = block.grown.decode()
    if kind in _FINAL:
        return _call(fields, kind, text)
    if kind in _GROWING:
        fields[_GROWING[kind][0]] = text
    elif block.grown:
        fields["data"] = text
    return fields


def _call(fields: Json, kind: str, text: str) -> Json:
    """A call of a tool whose arguments are complete; if they are no JSON, an invalid one."""
    rest = {key: value for key, value in fields.items() if key not in ("type", "index")}
    try:
        arguments = decode(text or "{}")
    except ValueError:
        why = "Failed to parse tool call arguments as JSON"
        return {"type": "invalid_tool_call", **rest, "args": text, "error": why}
    return {"type": _FINAL[kind], "id": "", "name": "", **rest, "args": arguments}


def _count(total: Json, more: Json) -> None:
    """Add what one piece says of tokens: providers tell them in parts."""
    for name, value in more.items():
        if name in _DETAILS and isinstance(value, dict):
            total[name] = {**total.get(name, {}), **value}
        elif isinstance(value, int):
            total[name] = total.get(name, 0) + value
