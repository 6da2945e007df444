"""Searches for threads: which ones, in which order, what of them, and how many there are in all.

How a search goes, so that it takes milliseconds among 100,000 threads (docs/decisions/0010):
- A term of the metadata that few threads have is where it begins: these threads are looked at and sorted.
- Otherwise the threads are gone through in the order that was asked for, by its index, until the page is
  full; each is looked up in the index of metadata, not in its row.
- Terms alone are counted in that index.
`values` may be megabytes: they are read only where they are shown, and only for the rows of the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import JSON, ColumnElement, Integer, Text, UnaryExpression, cast, func, literal, null, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import operators

from ..errors import TooLarge
from ..models import Json, Page
from ..rules.access import EVERYTHING, Holds, Scope
from ..rules.threads import Extract, ThreadFields, ThreadQuery
from . import metadata_index
from .database import Tx
from .deadline import deadline
from .filters import Condition, Order, check, contains
from .metadata_index import Term
from .scopes import owned, within
from .tables import threads
from .types import Metadata, RawJson

FEW = 2_000  # threads, which are found and sorted in a few milliseconds
TERMS_TRIED = 5  # for one that few threads have
SECONDS_MAX = 10.0
BYTES_MAX = 64 * 2**20
FIELDS = tuple(column.name for column in threads.c if column.name != "owner")
_TOO_LONG = (
    f"The search takes more than {SECONDS_MAX:g} seconds: say more, such as ids, status or metadata of text "
    "and numbers"
)
_ORDER = Order(
    {
        name: threads.c[name]
        for name in ("thread_id", "status", "created_at", "updated_at", "state_updated_at")
    },
    default="updated_at",
    key=threads.c.thread_id,
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A query as conditions on rows of threads; `terms` alone where they say all of it."""

    conditions: list[Condition]
    terms: list[Term]

    def count(self, tx: Tx) -> int:
        if self.terms:
            return metadata_index.count(tx, self.terms)
        counting = select(func.count()).select_from(threads).where(*self.conditions)
        return int(tx.execute(counting).scalar_one())


def search(
    tx: Tx, query: ThreadQuery, page: Page, show: ThreadFields, scope: Scope = EVERYTHING
) -> tuple[list[Json], int]:
    """The rows of a page with their ids and the fields to show, and how many threads there are on all pages.

    What is raw in the table is bytes. Raises Invalid, or TooLarge for what takes too long or is too much.
    """
    with deadline(tx, SECONDS_MAX, _TOO_LONG):
        found = _find(tx, query, scope)
        rows = select(*_columns(tx, show)).where(*found.conditions).order_by(*_ORDER.by(page))
        shown = _rows(tx.execute(rows.limit(page.limit).offset(page.offset)), show)
        return shown, found.count(tx)


def count(tx: Tx, query: ThreadQuery, scope: Scope = EVERYTHING) -> int:
    """How many threads a query describes. Raises like `search`."""
    with deadline(tx, SECONDS_MAX, _TOO_LONG):
        return _find(tx, query, scope).count(tx)


def _find(tx: Tx, query: ThreadQuery, scope: Scope) -> _Found:
    check(threads.c.metadata, query.metadata)
    terms, rest = metadata_index.split(tx, query.metadata)
    terms_of_scope, conditions_of_scope = _allowed(tx, scope)
    terms += terms_of_scope
    rare = _rare(tx, terms) if not query.ids else None
    others = [
        *conditions_of_scope,
        *contains(tx, threads.c.metadata, rest),
        *contains(tx, threads.c["values"], query.values),
    ]
    if query.ids:
        others.append(threads.c.thread_id.in_(query.ids))
    if query.status is not None:
        status = threads.c.status if rare is None else _unindexed(threads.c.status)
        others.append(status == literal(query.status))
    by_term = [
        threads.c.thread_id.in_(term.threads()) if term is rare else term.of(threads.c.thread_id)
        for term in terms
    ]
    return _Found([*by_term, *others], [] if others else terms)


def _allowed(tx: Tx, scope: Scope) -> tuple[list[Term], list[Condition]]:
    """A scope as terms where there is an index for them, and as conditions for the rest."""
    terms: list[Term] = []
    conditions = owned(threads, scope)
    for test in scope.tests:
        found, rest = metadata_index.split(tx, test.wanted) if isinstance(test, Holds) else ([], {})
        terms += found
        if rest or not found:
            conditions += within(tx, threads, Scope(tests=(test,)))
    return terms, conditions


def _rare(tx: Tx, terms: Sequence[Term]) -> Term | None:
    """A term that few threads have."""
    return next((term for term in terms[:TERMS_TRIED] if metadata_index.count(tx, [term], FEW) < FEW), None)


def _unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column, but not its index: SQLite does not know that few threads have the rare term."""
    return UnaryExpression(column, operator=operators.custom_op("+"), type_=column.type)


def _columns(tx: Tx, show: ThreadFields) -> list[ColumnElement[Any]]:
    names = [name for name in FIELDS if name in show.select] if show.select else FIELDS
    place_of = _PLACES[tx.dialect.name]
    places = [place_of(place).label(_label(index)) for index, place in enumerate(show.extract.values())]
    return [threads.c.thread_id, *(threads.c[name] for name in names if name != "thread_id"), *places]


def _label(index: int) -> str:
    return f"extract_{index}"


# A part of a document as JSON. No key becomes SQL.


def _postgresql(place: Extract) -> ColumnElement[Any]:
    """One step after the other: the text of JSON keeps what JSONB would not, such as NUL."""
    if place.steps is None:
        return null()
    document = threads.c[place.document]
    found: ColumnElement[Any] = cast(document, JSONB if isinstance(document.type, Metadata) else JSON)
    for step in place.steps:
        if isinstance(step, int) and not -(2**31) <= step < 2**31:
            return null()
        found = found.op("->", return_type=JSON())(literal(step, Text if isinstance(step, str) else Integer))
    return cast(found, RawJson)


def _sqlite(place: Extract) -> ColumnElement[Any]:
    """The path is one bound text."""
    path = _path(place.steps)
    if path is None:
        return null()
    found: ColumnElement[Any] = threads.c[place.document].op("->", return_type=RawJson())(literal(path))
    return found


def _path(steps: tuple[str | int, ...] | None) -> str | None:
    """The path for SQLite, which knows no way to name a key that JSON writes with an escape."""
    if steps is None:
        return None
    path = "$"
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]" if step >= 0 else f"[#{step}]"
        elif orjson.dumps(step).decode() == f'"{step}"':
            path += f'."{step}"'
        else:
            return None
    return path


_PLACES = {"sqlite": _sqlite, "postgresql": _postgresql}


def _rows(rows: Any, show: ThreadFields) -> list[Json]:
    """Read row by row, so that what is too much is never in memory."""
    found, size = [], 0
    for row in rows:
        fields = dict(row._mapping)
        size += sum(len(value) for value in fields.values() if isinstance(value, bytes))
        if size > BYTES_MAX:
            raise TooLarge(
                f"The page is larger than {BYTES_MAX} bytes: ask for fewer threads (limit) or fields (select)"
            )
        if show.extract:
            values = [fields.pop(_label(index)) for index in range(len(show.extract))]
            fields["extracted"] = {
                alias: value or b"null" for alias, value in zip(show.extract, values, strict=True)
            }
        found.append(fields)
    return found
