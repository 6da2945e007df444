"""What a run was told, and what it answers (contract/runs.md 3 and 10)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .meta import Failure, InterruptView, Uuid


def _of_any_type(schema: dict[str, Any]) -> None:
    """A graph may return whatever it likes; these fields are there where it is an object."""
    del schema["type"]


class KwargsView(BaseModel):
    """What a run was told."""

    input: Any = Field(description="The graph's input")
    command: dict[str, Any] | None = Field(description="What the graph was told instead of input")
    checkpoint: dict[str, Any] | None = Field(description="Where it forked from")
    config: dict[str, Any] = Field(description="How it is configured, the assistant's settings included")
    context: dict[str, Any] = Field(description="Its context, the assistant's included")
    stream_mode: list[str] = Field(description="What its stream tells of")
    interrupt_before: str | list[str] | None = Field(description="Nodes to stop before; `*` is every one")
    interrupt_after: str | list[str] | None = Field(description="Nodes to stop after")
    webhook: str | None = Field(description="Whom to tell when it has ended")
    feedback_keys: list[str] | None = Field(description="As they were given")
    temporary: bool = Field(description="Whether the run and its hidden thread vanish at its end")
    subgraphs: bool = Field(description="Whether its stream tells of subgraphs too")
    resumable: bool = Field(description="As it was given; every stream is resumable")
    checkpoint_during: bool = Field(description="Whether it saves its state while it runs")
    durability: Literal["sync", "async", "exit"] = Field(description="When it saves its state")


class RunDone(BaseModel):
    """How a run ended that somebody made end."""

    status: Literal["run_done"] = Field(description="Always this")
    run_id: Uuid = Field(description="The run")
    outcome: str = Field(description="`interrupted`, `rolled_back` or `deleted`")
    reason: str | None = Field(default=None, description="Who made it end, and how")


class ResultView(BaseModel):
    """What a run returned: the values of its thread, with these beside them. Blank lines may come before."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_of_any_type)

    error: Failure | None = Field(default=None, alias="__error__", description="Only of a run that failed")
    interrupts: list[InterruptView] | None = Field(
        default=None,
        alias="__interrupt__",
        description="Only of a run that waits for an answer: the questions",
    )
    run: RunDone | None = Field(
        default=None, alias="__run__", description="Only of a run that somebody made end, or deleted"
    )
