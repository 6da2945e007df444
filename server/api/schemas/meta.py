"""The small answers, liveness, version, errors, and the small parts of others."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Uuid = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Count = Annotated[int, Field(ge=0, description="How many there are.")]
Document = Annotated[dict[str, Any], Field(description="This document.")]


class Ok(BaseModel):
    """The server answers."""

    ok: bool = Field(description="Always true")
    services: dict[str, Any] = Field(description="Empty; clients expect it")


class Info(BaseModel):
    """What server this is (contract/resources.md 2)."""

    version: str = Field(description="Of Graphwire")
    langgraph_py_version: str = Field(description="Of the LangGraph library that runs the graphs")
    flags: dict[str, bool] = Field(description="Which parts of the API are there")
    host: dict[str, Any] = Field(description="Where it runs: `kind`, and ids that only hosted servers have")


class QueueView(BaseModel):
    """The runs of all processes. Null: none waits, or the database does not tell."""

    n_pending: int | None = Field(description="How many wait")
    n_running: int | None = Field(description="How many run")
    pending_runs_wait_time_max_secs: float | None = Field(description="How long the first waits that is due")
    pending_runs_wait_time_med_secs: float | None = Field(description="How long the one in the middle waits")
    pending_unblocked_runs_wait_time_max_secs: float | None = Field(
        description="How long the first waits that waits for a free slot only"
    )


class RouteView(BaseModel):
    """How often something was asked for, and answered with a status."""

    method: str = Field(description="The method")
    path: str = Field(description="The route: ids are names in braces")
    status: int = Field(description="The status of the answer; 0: there was none")
    count: int = Field(description="How often")


class RequestsView(BaseModel):
    """What this process was asked."""

    http_requests_total: list[RouteView] = Field(description="Requests that are over")


class WorkersView(BaseModel):
    """How many runs this process can execute at the same time."""

    max: int = Field(description="In all")
    active: int = Field(description="As many as it executes")
    available: int = Field(description="As many more as it could")


class MetricsView(BaseModel):
    """The short form of the metrics (contract/resources.md 2)."""

    queue: QueueView = Field(description="What waits and runs")
    api: RequestsView = Field(description="What was asked")
    workers: WorkersView = Field(description="What executes")


class Problem(BaseModel):
    """Every error of every operation."""

    detail: str = Field(description="What is wrong, for people; often beginning with the name of the field")


class Failure(BaseModel):
    """An exception of a graph."""

    error: str = Field(description="Its class")
    message: str = Field(description="Its text, or a sentence where that is not shown")


class InterruptView(BaseModel):
    """A question of a graph that waits for an answer."""

    id: str = Field(description="By this id it can be answered: `command.resume: {id: answer}`")
    value: Any = Field(description="What the graph asks")
    response_schema: Any = Field(default=None, description="The JSON schema of the answer, if the graph says")


class Nothing(BaseModel):
    """An empty object."""

    model_config = ConfigDict(extra="forbid")
