"""Assistants on the wire (contract/resources.md 3)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from ...models import Assistant, AssistantChange, AssistantQuery
from .base import NAMES_MAX, Body, Metadata, Paged, Sorted, UuidText, storable
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

    graph_id: GraphId | None = None
    config: ConfigSettings | None = None
    context: ContextSettings | None = Field(default=None, description="Not with config.configurable")
    metadata: Metadata | None = Field(default=None, description="Merged key by key with what is there")
    name: Name | None = None
    description: Description | None = None

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

    graph_id: GraphId
    assistant_id: UuidText | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"


class AssistantFilter(Body):
    """Which assistants."""

    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")
    graph_id: GraphId | None = None
    name: Name | None = Field(default=None, description="A part of the name, in whatever case")

    def to_query(self) -> AssistantQuery:
        """The query for the services."""
        return AssistantQuery(self.metadata, self.graph_id, self.name)


class AssistantSearch(AssistantFilter, Sorted):
    """Which assistants, how many, in which order."""

    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] | None = None
    select: list[Column] = Field(default_factory=list, max_length=NAMES_MAX)


class VersionSearch(Paged):
    """Which versions of an assistant; the newest come first."""

    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")


class VersionChoice(Body):
    """The version to go back to."""

    version: int = Field(ge=1, le=VERSION_MAX)


class AssistantVersionView(BaseModel):
    """An assistant as it was in one version."""

    assistant_id: str
    version: int
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    created_at: str
    name: str
    description: str | None


class AssistantView(AssistantVersionView):
    """An assistant as clients see it."""

    updated_at: str


class DrawingView(BaseModel):
    """A graph as nodes and edges."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


class SchemasView(BaseModel):
    """The JSON schemas of a graph; null where there is none."""

    graph_id: str
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    state_schema: dict[str, Any] | None
    config_schema: dict[str, Any] | None
    context_schema: dict[str, Any] | None


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
