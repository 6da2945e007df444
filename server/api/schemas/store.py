"""Items of the store on the wire (contract/resources.md 6)."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, WithJsonSchema

from ...models import Json
from ...rules.items import Item, ItemPut, ItemSearch, Namespace, NamespaceSearch
from ...streaming.encode import raw
from .base import NAMES_MAX, Body, Paged, storable
from .meta import Timestamp

LABEL_MAX = 256
LABELS_MAX = 64
KEY_MAX = 1_000
VALUE_BYTES_MAX = 16 * 2**20
QUERY_MAX = 100_000
MINUTES_MAX = 100 * 366 * 24 * 60  # a hundred years


def _is_label(label: str) -> str:
    if "." in label or "\0" in label:
        raise ValueError("a label must not contain a dot or NUL")
    return label


def _paths(value: Any) -> Any:
    if value is not False and not isinstance(value, list):
        raise ValueError("must be false or a list of paths")
    return value or []


Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LABEL_MAX),
    AfterValidator(_is_label),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LABEL_MAX, "pattern": r"^[^.\u0000]+$"}),
]
Labels = Annotated[list[Label], Field(max_length=LABELS_MAX)]
Key = Annotated[str, StringConstraints(max_length=KEY_MAX, pattern=r"^[^\x00]*$")]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]

Paths = Annotated[
    list[Path],
    Field(max_length=NAMES_MAX),
    BeforeValidator(_paths),
    WithJsonSchema({"anyOf": [{"const": False}, {"type": "array", "items": {"type": "string"}}]}),
]


class ItemName(Body):
    """Which item."""

    namespace: Labels = Field(default_factory=list, description="Where it lies, from the top down")
    key: Key = Field(description="Its name there")


class ItemWrite(ItemName):
    """An item to be written."""

    nullable = frozenset({"ttl"})

    namespace: Labels = Field(description="Where it shall lie, from the top down; at least one label")
    value: Annotated[dict[str, Any], storable(VALUE_BYTES_MAX)] = Field(
        description="What it holds; takes the place of what was there"
    )
    index: Paths | None = Field(
        default=None, description="Paths that a search by meaning looks into; false for none"
    )
    ttl: Annotated[float, Field(gt=0, le=MINUTES_MAX, allow_inf_nan=False)] | None = Field(
        default=None, description="Minutes that the item lives; null: for ever. Absent: the store's default"
    )

    def to_put(self) -> ItemPut:
        """The operation for the services."""
        ttl = None if "ttl" not in self.model_fields_set else math.inf if self.ttl is None else self.ttl * 60
        index = None if self.index is None else tuple(self.index)
        return ItemPut(tuple(self.namespace), self.key, self.value, ttl, index)


class ItemsSearch(Paged):
    """Which items to find."""

    namespace_prefix: Labels = Field(
        default_factory=list, description="Only items at and below this namespace; empty: all"
    )
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="What their values must hold: `{field: value}`, or `{field: {operator: value}}` with "
        "`$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`",
    )
    query: Annotated[str, StringConstraints(max_length=QUERY_MAX)] | None = Field(
        default=None, description="What the items shall be about; ignored without store.index"
    )
    refresh_ttl: bool | None = Field(
        default=None, description="Whether the time to live of what is found begins anew"
    )

    def to_search(self) -> ItemSearch:
        """The operation for the services."""
        prefix = tuple(self.namespace_prefix)
        return ItemSearch(prefix, self.filter, self.limit, self.offset, self.query, self.refresh_ttl)


class NamespacesSearch(Paged):
    """Which namespaces to find; `*` in a pattern is any one label."""

    limit: int = Field(default=100, ge=1, le=1_000, description="How many at most")
    prefix: Labels = Field(default_factory=list, description="What they begin with")
    suffix: Labels = Field(default_factory=list, description="What they end with")
    max_depth: int | None = Field(
        default=None, ge=1, le=1_000, description="Labels to show, the others are cut"
    )

    def to_search(self) -> NamespaceSearch:
        """The operation for the services."""
        return NamespaceSearch(
            (tuple(self.prefix),) if self.prefix else (),
            (tuple(self.suffix),) if self.suffix else (),
            self.max_depth,
            self.limit,
            self.offset,
        )


class ItemView(BaseModel):
    """An item of the store."""

    namespace: list[str] = Field(description="Where it lies, from the top down")
    key: str = Field(description="Its name there")
    value: dict[str, Any] = Field(description="What it holds")
    created_at: Timestamp = Field(description="When it was first written")
    updated_at: Timestamp = Field(description="When it was last written")


MaybeItemView = Annotated[ItemView | None, Field(description="The item; null when there is none.")]


class FoundItem(ItemView):
    """An item that was found, and how near it is to the query."""

    score: float | None = Field(description="How near: 1 at most; null without a query or an index")


class FoundItems(BaseModel):
    """A page of items."""

    items: list[FoundItem] = Field(description="The items, nearest or last written first")


class FoundNamespaces(BaseModel):
    """A page of namespaces."""

    namespaces: list[list[str]] = Field(description="The namespaces, in their order")


def item_view(item: Item) -> Json:
    """An item as JSON."""
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": raw(item.value),
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }


def items_view(found: list[Item]) -> Json:
    """Found items as JSON."""
    return {"items": [{**item_view(item), "score": item.score} for item in found]}


def namespaces_view(found: list[Namespace]) -> Json:
    """Found namespaces as JSON."""
    return {"namespaces": found}
