"""Filters of the store: JSON with operators in it -> conditions (contract/resources.md 6).

Keys and values are bound parameters, as in `filters`; what differs are the operators, lists, which must be
equal here, and null, which a missing key equals too.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, literal, select

from ..errors import Invalid, RequestError
from .filters import CONDITIONS_MAX, DEPTH_MAX, NUMBERS, Condition, depth, is_scalar, number, size

Row = Any  # a row of json_each: key, value, type, atom

_COMPARED: dict[str, Callable[[ColumnElement[Any], Any], Condition]] = {
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}
OPERATORS = ("$eq", "$ne", *_COMPARED)


def matching(column: ColumnElement[Any], wanted: dict[str, Any]) -> list[Condition]:
    """The conditions that the JSON object in `column` matches a filter.

    A key's value is an object of operators, which must all hold; another object, which is contained key by
    key; or anything else, by equality (1 equals 1.0 and not true). `null` is equal to a missing key. Numbers
    are compared with numbers and texts with texts; what is of another type, or missing, does not match.
    Raises RequestError for an operator that does not exist or cannot compare its operand, Invalid for more
    than `filters` takes; both name the field.
    """
    if size(wanted) > CONDITIONS_MAX or depth(wanted) > DEPTH_MAX:
        raise Invalid(f"filter: at most {CONDITIONS_MAX} keys and items on {DEPTH_MAX} levels")
    return _contains(column, wanted, "filter")


def _contains(container: ColumnElement[Any], wanted: dict[str, Any], name: str) -> list[Condition]:
    return [
        condition
        for key, value in wanted.items()
        for condition in _at_key(container, key, value, f"{name}.{key}")
    ]


def _at_key(container: ColumnElement[Any], key: str, wanted: Any, name: str) -> list[Condition]:
    if not isinstance(wanted, dict):
        return [_equals(container, key, wanted)]
    if any(operator.startswith("$") for operator in wanted):
        return [_operation(container, key, operator, value, name) for operator, value in wanted.items()]
    at = _each(container)
    inside = _contains(_items_of(at, "object"), wanted, name)
    return [_has(at, at.c.key == literal(key), at.c.type == literal("object"), *inside)]


def _operation(container: ColumnElement[Any], key: str, operator: str, value: Any, name: str) -> Condition:
    if operator in ("$eq", "$ne"):
        equal = _equals(container, key, value)
        return equal if operator == "$eq" else ~equal
    if operator not in _COMPARED:
        raise RequestError(f"{name}: unknown operator {operator!r}: take one of {', '.join(OPERATORS)}")
    at = _each(container)
    types: tuple[str, ...]
    bound: ColumnElement[Any]
    if isinstance(value, str):
        types, bound = ("text",), literal(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        types, bound = NUMBERS, number(value)
    else:
        raise RequestError(f"{name}: {operator} compares numbers or texts")
    return _has(at, at.c.key == literal(key), at.c.type.in_(types), _COMPARED[operator](at.c.atom, bound))


def _equals(container: ColumnElement[Any], key: str, wanted: Any) -> Condition:
    at = _each(container)
    if wanted is None:
        return ~_has(at, at.c.key == literal(key), at.c.type != literal("null"))
    return _has(at, at.c.key == literal(key), *_is(at, wanted))


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
