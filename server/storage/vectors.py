"""Vectors of length 1 as bytes, and how near two of them are, for SQLite.

sqlite-vec compares them in C, outside Python's lock. Where Python's own sqlite3 was built without the
loading of extensions, a function in Python of the same name stands in (docs/decisions/0009).
"""

import math
import sqlite3
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import sqlite_vec
from sqlalchemy import ColumnElement, Connection, func, literal

BYTES = 4  # a number: float32

_LOADED = "graphwire.vectors"  # marks connections that know the function


def pack(vector: Sequence[float]) -> bytes | None:
    """A vector brought to length 1; None for one without direction: zero, or not finite."""
    length = math.hypot(*vector)
    if not length or not math.isfinite(length):
        return None
    return struct.pack(f"<{len(vector)}f", *(number / length for number in vector))


def nearness(vector: ColumnElement[Any], to: bytes) -> ColumnElement[float]:
    """The cosine of the angle between two packed vectors, which must have the same size: 1 for the same."""
    return literal(1.0) - func.vec_distance_cosine(vector, literal(to))


def in_c() -> bool:
    """Whether this Python can use sqlite-vec."""
    with sqlite3.connect(":memory:") as connection:
        return _load(connection)


def prepare(tx: Connection) -> None:
    """Make `nearness` known to a connection."""
    if _LOADED not in tx.info:
        raw = cast(sqlite3.Connection, tx.connection.driver_connection)
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
    return math.dist(_query(other), _unpack(one)) ** 2 / 2


def _unpack(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // BYTES}f", vector)


_query = lru_cache(maxsize=16)(_unpack)  # the same for all rows of a search
