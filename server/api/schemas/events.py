"""Events of streams on the wire (contract/runs.md 5)."""

from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema

JsonText = Annotated[str, WithJsonSchema({"type": "string", "contentMediaType": "application/json"})]


class EventView(BaseModel):
    """One event of a stream of server-sent events."""

    event: str = Field(description="What it tells; for events of subgraphs `|` and their namespace follow")
    data: JsonText = Field(description="One line of JSON")
    id: str = Field(
        pattern=r"^\d+-\d+$", description="To go on after it: `Last-Event-ID`; strictly increases"
    )
    retry: int = Field(default=1000, description="Milliseconds before coming back; in the first event only")
