"""Assistants on the wire (contract/resources.md 3)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from ...models import Assistant, AssistantChange, AssistantQuery
from .base import NAMES_MAX, Body, Metadata, Paged, Sorted, UuidText, storable
from .meta import Timestamp, Uuid
from .runs import Config

SETTINGS_BYTES_MAX = 1024 * 1024  # prompts live here, documents do not
VERSION_MAX = 2**31 - 1

Column = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "metadata",
    "version",
    "created_at",
    "updated_at",
]
# No NUL in them: PostgreSQL takes none.
Name = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[^\x00]*$")]
Description = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
GraphId = Annotated[str, StringConstraints(min_length=1)]
ConfigSettings = Annotated[Config, storable(SETTINGS_BYTES_MAX)]
ContextSettings = Annotated[dict[str, Any], storable(SETTINGS_BYTES_MAX)]


class AssistantPatch(Body):
    """A change of an assistant; what is absent stays as it is."""

    graph_id: GraphId | None = Field(default=None, description="A graph that this server serves")
    config: ConfigSettings | None = Field(default=None, description="How its runs are configured")
    context: ContextSettings | None = Field(default=None, description="Not with config.configurable")
    metadata: Metadata | None = Field(default=None, description="Merged key by key with what is there")
    name: Name | None = Field(default=None, description="For people; need not be unique")
    description: Description | None = Field(default=None, description="For people and for models")

    def to_change(self) -> AssistantChange:
        """The change for the services."""
        return AssistantChange(
            graph_id=self.graph_id,
            config=None if self.config is None else self.config.model_dump(exclude_unset=True),
            context=self.context,
            metadata=self.metadata,
            name=self.name,
            description=self.description,
        )


class AssistantCreate(AssistantPatch):
    """A new assistant."""

    graph_id: GraphId = Field(description="A graph that this server serves")
    assistant_id: UuidText | None = Field(default=None, description="The caller's own id; else one is made")
    if_exists: Literal["raise", "do_nothing"] = Field(
        default="raise", description="Whether an id that exists is refused, or answered as it is"
    )


class AssistantFilter(Body):
    """Which assistants."""

    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")
    graph_id: GraphId | None = Field(default=None, description="Their graph")
    name: Name | None = Field(default=None, description="A part of the name, in whatever case")

    def to_query(self) -> AssistantQuery:
        """The query for the services."""
        return AssistantQuery(self.metadata, self.graph_id, self.name)


class AssistantSearch(AssistantFilter, Sorted):
    """Which assistants, how many, in which order."""

    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] | None = Field(
        default=None, description="What they are sorted by; without it by `created_at`"
    )
    select: list[Column] = Field(
        default_factory=list, max_length=NAMES_MAX, description="Only these fields; without any all"
    )


class VersionSearch(Paged):
    """Which versions of an assistant; the newest come first."""

    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")


class VersionChoice(Body):
    """The version to go back to."""

    version: int = Field(ge=1, le=VERSION_MAX, description="One that there was")


class AssistantVersionView(BaseModel):
    """An assistant as it was in one version."""

    assistant_id: Uuid = Field(description="The id of the assistant")
    version: int = Field(ge=1, description="Which version this is")
    graph_id: str = Field(description="The graph that it runs")
    config: dict[str, Any] = Field(description="How its runs are configured")
    context: dict[str, Any] = Field(description="What its runs are given as context")
    metadata: dict[str, Any] = Field(description="The caller's own")
    created_at: Timestamp = Field(description="When it was made")
    name: str = Field(description="For people")
    description: str | None = Field(description="For people and for models")


class AssistantView(AssistantVersionView):
    """An assistant as clients see it."""

    updated_at: Timestamp = Field(description="When it was last changed")


class NodeView(BaseModel):
    """A node of a drawing."""

    id: str | int = Field(description="Its name; those of subgraphs are joined with a colon")
    type: str | None = Field(default=None, description="What kind it is; `runnable` most of the time")
    data: Any = Field(default=None, description="`{name}`, or a schema")
    metadata: dict[str, Any] | None = Field(default=None, description="What the graph's author said of it")


class EdgeView(BaseModel):
    """An edge of a drawing."""

    source: str | int = Field(description="The id of the node that it leaves")
    target: str | int = Field(description="The id of the node that it enters")
    data: Any = Field(default=None, description="What is written beside it")
    conditional: bool | None = Field(default=None, description="Whether the graph decides if it is taken")


class DrawingView(BaseModel):
    """A graph as nodes and edges."""

    nodes: list[NodeView] = Field(description="The nodes, `__start__` and `__end__` among them")
    edges: list[EdgeView] = Field(description="The edges")


class SubgraphSchemasView(BaseModel):
    """The JSON schemas of a graph; null where there is none."""

    input_schema: dict[str, Any] | None = Field(description="Of what a run takes")
    output_schema: dict[str, Any] | None = Field(description="Of what a run returns")
    state_schema: dict[str, Any] | None = Field(description="Of what may be written to the state")
    config_schema: dict[str, Any] | None = Field(description="Of `config.configurable`; empty without one")
    context_schema: dict[str, Any] | None = Field(description="Of `context`")


class SchemasView(SubgraphSchemasView):
    """The JSON schemas of a graph with its id; null where there is none."""

    graph_id: str = Field(description="The graph")


SubgraphsView = Annotated[
    dict[str, SubgraphSchemasView], Field(description="The schemas of the graphs inside, by namespace.")
]


def assistant_view(assistant: Assistant) -> dict[str, Any]:
    """The JSON of an assistant, its keys in the order of the contract."""
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.graph_id,
        "config": assistant.config,
        "context": assistant.context,
        "metadata": assistant.metadata,
        "name": assistant.name,
        "created_at": assistant.created_at,
        "updated_at": assistant.updated_at,
        "version": assistant.version,
        "description": assistant.description,
    }


def version_view(version: Assistant) -> dict[str, Any]:
    """The JSON of a version, its keys in the order of the contract."""
    return {
        "assistant_id": version.assistant_id,
        "version": version.version,
        "graph_id": version.graph_id,
        "config": version.config,
        "context": version.context,
        "metadata": version.metadata,
        "created_at": version.created_at,
        "name": version.name,
        "description": version.description,
    }
