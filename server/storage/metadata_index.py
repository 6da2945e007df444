"""From a key and a value to the threads whose metadata have them: what a search can begin with.

PostgreSQL has an index for it. On SQLite it is a table with a row for every text, number, truth value
and null at the top of a thread's metadata, which triggers keep (migration 0005). Numbers are equal as SQLite
finds them equal; truth values and null are blobs, so that true does not equal 1. What is nested, and what is
long beyond its first bytes, is not in it.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, literal, select

from ..models import Json
from .database import Tx
from .filters import Condition, number
from .tables import thread_metadata

BYTES_MAX = 200  # of a key, and of the beginning of a text: as in the triggers
_WORDS = {None: b"null", True: b"true", False: b"false"}


@dataclass(frozen=True, slots=True)
class Term:
    """A key with a value, as it stands in the index."""

    key: str
    value: ColumnElement[Any]

    def threads(self) -> Select[Any]:
        """The ids of the threads that have it."""
        return select(thread_metadata.c.thread_id).where(self._is(thread_metadata))

    def of(self, thread_id: ColumnElement[Any]) -> Condition:
        """The condition that a thread has it."""
        other = thread_metadata.alias()
        return exists().select_from(other).where(self._is(other), other.c.thread_id == thread_id)

    def _is(self, row: Any) -> Condition:
        found: Condition = (row.c.key == literal(self.key)) & (row.c.value == self.value)
        return found


def split(tx: Tx, wanted: Json) -> tuple[list[Term], Json]:
    """A filter as terms, and what of it the terms do not say."""
    if tx.dialect.name != "sqlite":
        return [], wanted
    terms, rest = [], {}
    for key, value in wanted.items():
        if isinstance(value, dict | list) or len(key.encode()) > BYTES_MAX:
            rest[key] = value
            continue
        term = Term(key, _stored(value))
        terms.append(term)
        if isinstance(value, str) and len(value.encode()) > BYTES_MAX:
            rest[key] = value
    return terms, rest


def count(tx: Tx, terms: list[Term], most: int | None = None) -> int:
    """How many threads have all of these, one at least; with `most` counted no further."""
    first, *others = terms
    query = first.threads().where(*(term.of(thread_metadata.c.thread_id) for term in others))
    if most is not None:
        query = query.limit(most)
    return int(tx.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _stored(value: Any) -> ColumnElement[Any]:
    if value is None or isinstance(value, bool):
        return literal(_WORDS[value])
    if not isinstance(value, str):
        return number(value)
    data = value.encode()
    return literal(value) if len(data) <= BYTES_MAX else literal(data[:BYTES_MAX])
