"""Filters of the store: JSON with operators in it -> conditions (contract/resources.md 6).

Keys and values are bound parameters, as in `filters`; what differs are the operators, lists, which must be
equal here, and null, which a missing key equals too.
"""

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import JSON, ColumnElement, Text, and_, case, collate, exists, func, literal, select, true
from sqlalchemy.dialects.postgresql import JSONB

from ..errors import Invalid, RequestError
from .database import Tx
from .filters import CONDITIONS_MAX, DEPTH_MAX, NUMBERS, Condition, depth, is_scalar, jsonb, number, size
from .types import refuse_nul

Row = Any  # a row of json_each: key, value, type, atom
Document = ColumnElement[Any]
Inside = Callable[[Document], list[Condition]]
Compare = Callable[[ColumnElement[Any], ColumnElement[Any]], Condition]

_COMPARED: dict[str, Compare] = {
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}
OPERATORS = ("$eq", "$ne", *_COMPARED)


class _Engine(Protocol):
    """Conditions on what a JSON object has under a key; each is true or false, never unknown."""

    def document(self, column: ColumnElement[Any], wanted: dict[str, Any]) -> Document:
        """The column, to be asked for this. Raises Invalid for what no document can have."""

    def equals(self, container: Document, key: str, wanted: Any) -> Condition:
        """It is equal, and null to what is missing."""

    def compares(self, container: Document, key: str, compare: Compare, value: str | float) -> Condition:
        """It is of the same type and compares so."""

    def within(self, container: Document, key: str, inside: Inside) -> Condition:
        """It is an object for which all these conditions hold."""


def matching(tx: Tx, column: ColumnElement[Any], wanted: dict[str, Any]) -> list[Condition]:
    """The conditions that the JSON object in `column` matches a filter.

    A key's value is an object of operators, which must all hold; another object, which is contained key by
    key; or anything else, by equality (1 equals 1.0 and not true). `null` is equal to a missing key. Numbers
    are compared with numbers and texts with texts; what is of another type, or missing, does not match.
    Raises RequestError for an operator that does not exist or cannot compare its operand, Invalid for more
    than `filters` takes; both name the field.
    """
    if size(wanted) > CONDITIONS_MAX or depth(wanted) > DEPTH_MAX:
        raise Invalid(f"filter: at most {CONDITIONS_MAX} keys and items on {DEPTH_MAX} levels")
    if not wanted:
        return []
    engine = _ENGINES[tx.dialect.name]
    return _contains(engine, engine.document(column, wanted), wanted, "filter")


def _contains(engine: _Engine, container: Document, wanted: dict[str, Any], name: str) -> list[Condition]:
    return [
        condition
        for key, value in wanted.items()
        for condition in _at_key(engine, container, key, value, f"{name}.{key}")
    ]


def _at_key(engine: _Engine, container: Document, key: str, wanted: Any, name: str) -> list[Condition]:
    if not isinstance(wanted, dict):
        return [engine.equals(container, key, wanted)]
    if any(operator.startswith("$") for operator in wanted):
        return [_operation(engine, container, key, *asked, name) for asked in wanted.items()]
    return [engine.within(container, key, lambda inner: _contains(engine, inner, wanted, name))]


def _operation(
    engine: _Engine, container: Document, key: str, operator: str, value: Any, name: str
) -> Condition:
    if operator in ("$eq", "$ne"):
        equal = engine.equals(container, key, value)
        return equal if operator == "$eq" else ~equal
    if operator not in _COMPARED:
        raise RequestError(f"{name}: unknown operator {operator!r}: take one of {', '.join(OPERATORS)}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RequestError(f"{name}: {operator} compares numbers or texts")
    return engine.compares(container, key, _COMPARED[operator], value)


class _Sqlite:
    """By the rows of json_each."""

    def document(self, column: ColumnElement[Any], wanted: dict[str, Any]) -> Document:
        return column

    def equals(self, container: Document, key: str, wanted: Any) -> Condition:
        at = _each(container)
        if wanted is None:
            return ~_has(at, at.c.key == literal(key), at.c.type != literal("null"))
        return _has(at, at.c.key == literal(key), *_is(at, wanted))

    def compares(self, container: Document, key: str, compare: Compare, value: str | float) -> Condition:
        at = _each(container)
        types: tuple[str, ...]
        bound: ColumnElement[Any]
        if isinstance(value, str):
            types, bound = ("text",), literal(value)
        else:
            types, bound = NUMBERS, number(value)
        return _has(at, at.c.key == literal(key), at.c.type.in_(types), compare(at.c.atom, bound))

    def within(self, container: Document, key: str, inside: Inside) -> Condition:
        at = _each(container)
        conditions = inside(_items_of(at, "object"))
        return _has(at, at.c.key == literal(key), at.c.type == literal("object"), *conditions)


def _is(at: Row, wanted: Any) -> list[Condition]:
    """The conditions that a row is exactly this value: as many items, and each of them."""
    if not isinstance(wanted, dict | list):
        return is_scalar(at, wanted)
    kind = "object" if isinstance(wanted, dict) else "array"
    container = _items_of(at, kind)
    items = wanted.items() if isinstance(wanted, dict) else enumerate(wanted)
    found = []
    for key, value in items:
        inner = _each(container)
        found.append(_has(inner, inner.c.key == literal(key), *_is(inner, value)))
    count = select(func.count()).select_from(_each(container)).scalar_subquery()
    return [at.c.type == literal(kind), count == literal(len(wanted)), *found]


def _each(container: ColumnElement[Any]) -> Row:
    return func.json_each(container).table_valued("key", "value", "type", "atom")


def _items_of(at: Row, kind: str) -> ColumnElement[Any]:
    """The text of a container; NULL for what is none, which SQLite would refuse to take apart."""
    return case((at.c.type == literal(kind), at.c.value))


def _has(at: Row, *conditions: Condition) -> Condition:
    return exists().select_from(at).where(*conditions)


class _Postgresql:
    """By JSONB, whose values are compared as wholes."""

    def document(self, column: ColumnElement[Any], wanted: dict[str, Any]) -> Document:
        refuse_nul(wanted, "filter")
        return jsonb(column)

    def equals(self, container: Document, key: str, wanted: Any) -> Condition:
        found = func.coalesce(_at(container, key), literal(JSON.NULL, JSONB))
        return found == literal(JSON.NULL if wanted is None else wanted, JSONB)

    def compares(self, container: Document, key: str, compare: Compare, value: str | float) -> Condition:
        at = _at(container, key)
        if isinstance(value, str):
            text = collate(container.op("->>", return_type=Text())(literal(key, Text)), "C")
            return _of_type(at, "string", compare(text, literal(value, Text)))
        return _of_type(at, "number", compare(at, literal(value, JSONB)))

    def within(self, container: Document, key: str, inside: Inside) -> Condition:
        at = _at(container, key)
        return _of_type(at, "object", and_(true(), *inside(at)))


def _at(container: Document, key: str) -> Document:
    found: Document = container.op("->", return_type=JSONB())(literal(key, Text))
    return found


def _of_type(at: Document, kind: str, holds: Condition) -> Condition:
    return func.coalesce(and_(func.jsonb_typeof(at) == literal(kind), holds), literal(False))


_ENGINES: dict[str, _Engine] = {"sqlite": _Sqlite(), "postgresql": _Postgresql()}
