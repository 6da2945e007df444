"""Vectors of length 1 as bytes, and how near two of them are.

On PostgreSQL they are arrays, compared without any extension: slow beyond some 10,000 items. On SQLite
sqlite-vec compares them in C, outside Python's lock. Where Python's own sqlite3 was built without the loading
of extensions, a function in Python of the same name stands in (docs/decisions/0009).
"""

import math
import sqlite3
import struct
import typing
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlite_vec
from sqlalchemy import ColumnElement, Float, cast, func, literal, select

from .database import Tx
from .types import FLOAT_BYTES, Vector, unpack

_LOADED = "graphwire.vectors"  # marks connections that know the function


def pack(vector: Sequence[float]) -> bytes | None:
    """A vector brought to length 1; None for one without direction: zero, or not finite."""
    length = math.hypot(*vector)
    if not length or not math.isfinite(length):
        return None
    return struct.pack(f"<{len(vector)}f", *(number / length for number in vector))


def nearness(tx: Tx, vector: ColumnElement[Any], to: bytes) -> ColumnElement[float]:
    """The cosine of the angle between two packed vectors, which must have the same size: 1 for the same."""
    if tx.dialect.name == "postgresql":
        pair = func.unnest(vector, literal(to, Vector)).table_valued("one", "other").render_derived()
        product = cast(pair.c.one, Float(53)) * cast(pair.c.other, Float(53))
        return select(func.sum(product)).select_from(pair).scalar_subquery()
    return literal(1.0) - func.vec_distance_cosine(vector, literal(to))


def same_size(tx: Tx, vector: ColumnElement[Any], to: bytes) -> ColumnElement[bool]:
    """Whether two packed vectors can be compared."""
    if tx.dialect.name == "postgresql":
        return func.cardinality(vector) == len(to) // FLOAT_BYTES
    return func.length(vector) == len(to)


def in_c() -> bool:
    """Whether this Python can use sqlite-vec."""
    with sqlite3.connect(":memory:") as connection:
        return _load(connection)


def prepare(tx: Tx) -> None:
    """Make `nearness` known to a connection."""
    if tx.dialect.name == "sqlite" and _LOADED not in tx.info:
        raw = typing.cast(sqlite3.Connection, tx.connection.driver_connection)
        if not _load(raw):
            raw.create_function("vec_distance_cosine", 2, _distance, deterministic=True)
        tx.info[_LOADED] = True


def _load(connection: sqlite3.Connection) -> bool:
    try:
        connection.enable_load_extension(True)
        sqlite_vec.load(connection)
        connection.enable_load_extension(False)
    except (AttributeError, sqlite3.Error):
        return False
    return True


def _distance(one: bytes, other: bytes) -> float:
    # Of vectors of length 1 the chord tells the cosine, and math.dist is the fastest sum that Python has.
    return math.dist(_query(other), unpack(one)) ** 2 / 2


_query = lru_cache(maxsize=16)(unpack)  # the same for all rows of a search
