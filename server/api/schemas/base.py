"""What all bodies share: strict types, unknown fields ignored, null means absent."""

import re
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ...models import METADATA_BYTES_MAX, Page

NAMES_MAX = 1_000
PAGE_MAX = 1_000
OFFSET_MAX = 2**31
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # in JSON text; a backslash may itself be escaped

UuidText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"),
    AfterValidator(str.lower),
]


def _said(model: Any) -> Any:
    return model.model_dump(exclude_unset=True)


def storable(bytes_max: int) -> AfterValidator:
    """Lets pass what a database can hold and search: not too large, and without NUL.

    PostgreSQL takes no NUL in `jsonb`, and SQLite reads a text of JSON only up to it.
    """

    def check(value: Any) -> Any:
        data = orjson.dumps(value, default=_said)
        if len(data) > bytes_max:
            raise ValueError(f"must be at most {bytes_max} bytes of JSON")
        if _NUL.search(data):
            raise ValueError("must not contain the character NUL")
        return value

    return AfterValidator(check)


Metadata = Annotated[dict[str, Any], storable(METADATA_BYTES_MAX)]


class Body(BaseModel):
    """A request body. Clients are ahead of servers: what is unknown is ignored (contract/clients.md 2)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """A missing key and an explicit null mean the same, save where null is a value."""
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key in cls.nullable}


class Paged(Body):
    """A body that asks for a part of a list (contract/resources.md 1.3)."""

    limit: int = Field(default=10, ge=1, le=PAGE_MAX, description="How many at most")
    offset: int = Field(default=0, ge=0, le=OFFSET_MAX, description="How many to pass over")

    def to_page(self) -> Page:
        """The page for the services."""
        return Page(self.limit, self.offset)


class Sorted(Paged):
    """One that also says in which order; subclasses say by which fields."""

    sort_by: str | None = Field(default=None, description="What they are sorted by")
    sort_order: Literal["asc", "desc"] = Field(default="desc", description="Which come first")

    def to_page(self) -> Page:
        """The page for the services."""
        return Page(self.limit, self.offset, self.sort_by, self.sort_order == "desc")
