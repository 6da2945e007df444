"""The nouns of the long-term store: what it keeps, and what can be asked of it (contract/resources.md 6)."""

from dataclasses import dataclass, field
from typing import Any

Namespace = tuple[str, ...]

WILDCARD = "*"  # in a pattern of namespaces: any one label
WHOLE = ("$",)  # the path of a value as a whole


@dataclass(frozen=True, slots=True)
class Item:
    """A JSON object under a key in a namespace. `value` is JSON that the server does not decode on its way.

    `expires_at` is in seconds since 1970, `ttl_seconds` what a read adds to the time: None is for ever.
    `score` says how near the item is to the query of a search, 1 at most; None without one.
    """

    namespace: Namespace
    key: str
    value: bytes
    created_at: str
    updated_at: str
    expires_at: float | None = None
    ttl_seconds: float | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ItemGet:
    """Read one item; `refresh` begins its time to live anew, None is the store's rule."""

    namespace: Namespace
    key: str
    refresh: bool | None = None


@dataclass(frozen=True, slots=True)
class ItemPut:
    """Write one item, to live for some time: None is the store's rule, infinity for ever.

    `index` are the paths that a search shall look into: None the store's own, () none.
    """

    namespace: Namespace
    key: str
    value: Any
    ttl_seconds: float | None = None
    index: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ItemDelete:
    """Remove one item, if it is there."""

    namespace: Namespace
    key: str


@dataclass(frozen=True, slots=True)
class ItemSearch:
    """Read the items at and below `prefix` that match, nearest to `query` first, else last written first."""

    prefix: Namespace = ()
    filter: dict[str, Any] = field(default_factory=dict)
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh: bool | None = None


@dataclass(frozen=True, slots=True)
class NamespaceSearch:
    """Read the namespaces that match all patterns, each cut after `max_depth` labels."""

    prefixes: tuple[Namespace, ...] = ()
    suffixes: tuple[Namespace, ...] = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


ItemOperation = ItemGet | ItemPut | ItemDelete | ItemSearch | NamespaceSearch


@dataclass(frozen=True, slots=True)
class IndexRules:
    """How items are made searchable by meaning: `store.index` of langgraph.json."""

    embed: str  # "./file.py:variable", or "provider:model"
    dims: int
    fields: tuple[str, ...] = WHOLE


@dataclass(frozen=True, slots=True)
class StoreRules:
    """`store` of langgraph.json (contract/resources.md 12); without an index searches ignore their query."""

    index: IndexRules | None = None
    default_ttl_seconds: float | None = None
    refresh_on_read: bool = True
    sweep_seconds: float = 300.0
