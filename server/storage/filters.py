"""Searches: what a caller filters and sorts by -> WHERE, ORDER BY, LIMIT (contract/resources.md 1.3).

Nothing of what a caller sends becomes SQL. Keys and values of a filter are bound parameters, the names of
columns come from tables of this package (reliability I4).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, Select, Text, case, cast, exists, func, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ..errors import Invalid
from ..models import Json, Page
from .database import Tx
from .types import RawJson, refuse_nul

Condition = ColumnElement[bool]

CONDITIONS_MAX = 100  # each is a part of the statement; SQLite has a limit of its own near 1,000
DEPTH_MAX = 6  # each is an EXISTS inside an EXISTS; the parser of older SQLite gives up at nine
NUMBERS = ("integer", "real")  # the types that json_each has for them
_WORDS = {None: "null", True: "true", False: "false"}


def contains(tx: Tx, column: ColumnElement[Any], wanted: Json) -> list[Condition]:
    """The conditions that the JSON object in `column` contains `wanted`, by PostgreSQL's rules for `@>`.

    Every key must be there with a value that contains the one asked for: objects by their keys, lists by
    their items in any order, all else by equality; 1 equals 1.0 and does not equal true. An empty `wanted`
    asks for nothing. Raises Invalid, which names the column, for more than the limits above.
    """
    if not wanted:
        return []
    check(column, wanted)
    return _CONTAINS[tx.dialect.name](column, wanted)


def check(column: ColumnElement[Any], wanted: Json) -> None:
    """Raises Invalid for a filter beyond the limits."""
    if size(wanted) > CONDITIONS_MAX or depth(wanted) > DEPTH_MAX:
        limits = f"at most {CONDITIONS_MAX} keys and items on {DEPTH_MAX} levels"
        raise Invalid(f"{getattr(column, 'name', 'filter')}: a filter has {limits}")


def includes(column: ColumnElement[Any], text: str) -> Condition:
    """The condition that a text is part of the one in `column`, whatever the case."""
    return lowered(column).contains(text.lower(), autoescape=True)


class lowered(FunctionElement[str]):
    """A text in lower case, in every script, sorted by its code points."""

    name = "lowered"
    type = Text()
    inherit_cache = True


@compiles(lowered, "sqlite")
def _lowered_on_sqlite(element: lowered, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(lowered, "postgresql")
def _lowered_on_postgresql(element: lowered, compiler: Any, **options: Any) -> str:
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "und-x-icu") COLLATE "C"'


@dataclass(frozen=True, slots=True)
class Order:
    """What rows of one kind can be sorted by. Equals are in the order of `default`, then of `key`."""

    columns: Mapping[str, ColumnElement[Any]]
    default: str
    key: ColumnElement[Any]

    def by(self, page: Page) -> list[ColumnElement[Any]]:
        """The columns to sort by. Raises Invalid for a name that is not in the table."""
        asked = page.sort_by or self.default
        if asked not in self.columns:
            raise Invalid(f"sort_by: must be one of {', '.join(self.columns)}")
        column = self.columns[asked]
        first = column.desc() if page.descending else column.asc()
        # Said twice, SQLite would sort what its index has sorted already.
        then = [] if asked == self.default else [self.columns[self.default].desc()]
        return [first, *then, self.key.asc()]


def page_of(tx: Tx, query: Select[Any], page: Page, order: Order) -> tuple[Sequence[Row[Any]], int]:
    """The rows of a page, and how many rows there are on all pages."""
    rows = tx.execute(query.order_by(*order.by(page)).limit(page.limit).offset(page.offset)).all()
    return rows, count_of(tx, query)


def count_of(tx: Tx, query: Select[Any]) -> int:
    """How many rows a query finds."""
    counting = query.with_only_columns(func.count(), maintain_column_froms=True)
    return int(tx.execute(counting).scalar_one())


# --- SQLite: one EXISTS over json_each for every key, because a key inside a JSON path cannot be bound ------


def _sqlite(column: ColumnElement[Any], wanted: Json) -> list[Condition]:
    return [_has(column, key, value) for key, value in wanted.items()]


def _has(container: ColumnElement[Any], key: str | None, value: Any) -> Condition:
    """Whether a JSON object has a key, or a list any item, whose value matches."""
    at = func.json_each(container).table_valued("key", "value", "type", "atom")
    named = [] if key is None else [at.c.key == literal(key)]
    return exists().select_from(at).where(*named, *_matches(at, value))


def _matches(at: Any, wanted: Any) -> list[Condition]:
    """The conditions on a row of json_each. A type is compared too: the atom of `true` is 1.

    Only what is a container is asked for its items, in whatever order SQLite asks: it fails on other texts.
    """
    if isinstance(wanted, dict):
        is_object = at.c.type == literal("object")
        return [is_object, *_sqlite(case((is_object, at.c.value)), wanted)]
    if isinstance(wanted, list):
        is_array = at.c.type == literal("array")
        return [is_array, *(_has(case((is_array, at.c.value)), None, item) for item in wanted)]
    return is_scalar(at, wanted)


def is_scalar(at: Any, wanted: Any) -> list[Condition]:
    """The conditions that a row of json_each is this text, number, truth value or null."""
    if wanted is None or isinstance(wanted, bool):
        return [at.c.type == literal(_WORDS[wanted])]
    if isinstance(wanted, str):
        return [at.c.type == literal("text"), at.c.atom == literal(wanted)]
    return [at.c.type.in_(NUMBERS), at.c.atom == number(wanted)]


def number(wanted: float) -> ColumnElement[Any]:
    """A number, read by the same parser as the stored ones: also beyond 64 bits, and to the last digit."""
    return func.json_extract(literal(orjson.dumps(wanted).decode()), literal("$"))


# --- PostgreSQL has an operator, and an index for it --------------------------------------------------------


def _postgresql(column: ColumnElement[Any], wanted: Json) -> list[Condition]:
    refuse_nul(wanted, getattr(column, "name", "filter"))
    return [jsonb(column).op("@>", is_comparison=True)(literal(wanted, JSONB))]


def jsonb(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A document as PostgreSQL can search it: a NUL in it, which JSONB does not know, becomes U+FFFD."""
    if not isinstance(column.type, RawJson):
        return cast(column, JSONB)
    text = cast(column, Text)
    without = func.regexp_replace(text, r"(?<!\\)((?:\\\\)*)\\u0000", r"\1\\ufffd", "g")
    return cast(case((func.strpos(text, r"\u0000") > 0, without), else_=text), JSONB)


_CONTAINS: dict[str, Callable[[ColumnElement[Any], Json], list[Condition]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}


def size(wanted: Any) -> int:
    """How many keys and items a value has on all its levels."""
    items = _items(wanted)
    return len(items) + sum(map(size, items))


def depth(wanted: Any) -> int:
    """On how many levels a value has keys or items."""
    return 1 + max(map(depth, _items(wanted)), default=0) if isinstance(wanted, dict | list) else 0


def _items(wanted: Any) -> list[Any]:
    if isinstance(wanted, dict):
        return list(wanted.values())
    return wanted if isinstance(wanted, list) else []
