"""Bodies and answers of protocol v2, as the OpenAPI document shows them (contract/protocol-v2.md 2 to 4)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...api.schemas.events import JsonText


class CommandBody(BaseModel):
    """A command."""

    id: int = Field(description="The client's name for it; the answer has it too")
    method: str = Field(description="`run.start`, `input.respond`, `state.get`, …; docs/protocol-v2.md")
    params: dict[str, Any] | None = Field(default=None, description="What the method takes")


class CommandAnswer(BaseModel):
    """What a command answers: `success` with a result, `error` with its code and a message."""

    type: Literal["success", "error"] = Field(description="Whether it was carried out")
    id: int | str | None = Field(description="That of the command; null where it had none")
    result: dict[str, Any] | None = Field(default=None, description="Of a success")
    meta: dict[str, Any] | None = Field(
        default=None, description="Of a success: `applied_through_seq`, behind which all events are newer"
    )
    error: str | None = Field(default=None, description="The code of an error")
    message: str | None = Field(default=None, description="What is wrong, for people")


class SubscriptionBody(BaseModel):
    """Which events of a thread are wanted."""

    model_config = ConfigDict(extra="allow")

    channels: list[str] = Field(
        min_length=1,
        max_length=64,
        description="Among values, updates, messages, tools, custom, `custom:<name>`, lifecycle, input, "
        "checkpoints, tasks",
    )
    namespaces: list[list[str]] | None = Field(
        default=None, description="Where: prefixes of namespaces, of which one must fit"
    )
    depth: int | None = Field(default=None, description="How many levels below the prefix")
    since: int | None = Field(default=None, description="Only events with a greater `seq`")


class ThreadEventView(BaseModel):
    """One event of the thread stream."""

    event: str = Field(description="The channel, or `input.requested`, `input.answered`")
    data: JsonText = Field(description="The envelope: `{type, event_id, seq, method, params}`")
    id: str = Field(pattern=r"^\d+$", description="The `seq` of the envelope")
