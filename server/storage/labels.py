"""A namespace, which is its labels joined by dots, taken apart by the database."""

from typing import Any, Protocol

from sqlalchemy import ARRAY, ColumnElement, Text, func, literal, select

from .database import Tx

DOT = "."


class Labels(Protocol):
    """The labels of the namespaces in a column."""

    def at(self, index: int) -> ColumnElement[Any]:
        """One of them, counted as Python counts, from the end too; NULL where there is none."""

    def first(self, count: int) -> ColumnElement[str]:
        """So many of the first, as a namespace."""


def of(tx: Tx, namespace: ColumnElement[str]) -> Labels:
    """The labels of a namespace, as this engine finds them."""
    return _Sqlite(namespace) if tx.dialect.name == "sqlite" else _Postgresql(namespace)


class _Sqlite:
    """As a list in JSON."""

    def __init__(self, namespace: Any) -> None:
        self._table = namespace.table
        quoted = func.replace(func.json_quote(namespace), DOT, '","')
        self._list = literal("[").concat(quoted).concat("]")

    def at(self, index: int) -> ColumnElement[Any]:
        path = f"$[{index}]" if index >= 0 else f"$[#{index}]"
        return func.json_extract(self._list, literal(path))

    def first(self, count: int) -> ColumnElement[str]:
        at = func.json_each(self._list).table_valued("key", "value")
        chosen = select(at.c.value).where(at.c.key < literal(count)).order_by(at.c.key)
        rows = chosen.correlate(self._table).subquery()
        return select(func.group_concat(rows.c.value, DOT)).select_from(rows).scalar_subquery()


class _Postgresql:
    """As an array, which counts from 1."""

    def __init__(self, namespace: ColumnElement[str]) -> None:
        self._array = func.string_to_array(namespace, DOT, type_=ARRAY(Text))

    def at(self, index: int) -> ColumnElement[Any]:
        place = literal(index + 1) if index >= 0 else func.cardinality(self._array) + literal(index + 1)
        found: ColumnElement[Any] = self._array[place]
        return found

    def first(self, count: int) -> ColumnElement[str]:
        return func.array_to_string(self._array[literal(1) : literal(count)], DOT)
