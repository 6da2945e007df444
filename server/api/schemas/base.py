"""What all bodies share: strict types, unknown fields ignored, null means absent."""

from typing import Annotated, Any, ClassVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

METADATA_BYTES_MAX = 64 * 1024
NAMES_MAX = 1_000

UuidText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"),
    AfterValidator(str.lower),
]


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(value)) > METADATA_BYTES_MAX:
        raise ValueError(f"must be at most {METADATA_BYTES_MAX} bytes of JSON")
    return value


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]


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
