"""Vectors keep their direction alone, and both ways to compare them agree."""

import math
import random
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import literal, select

from server.storage import vectors
from server.storage.database import Database, Tx
from server.storage.types import Vector


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def nearness(database: Database, one: list[float], other: list[float]) -> float:
    first, second = vectors.pack(one), vectors.pack(other)
    assert first
    assert second

    def work(tx: Tx) -> float:
        vectors.prepare(tx)
        return float(tx.execute(select(vectors.nearness(tx, literal(first, Vector), second))).scalar_one())

    return database.read_now(work)


@pytest.mark.parametrize(
    ("one", "other"), [([1, 0], [1, 0]), ([1, 0], [0, 9]), ([1, 0], [-3, 0]), ([1], [2])]
)
def test_nearness_is_the_cosine(database: Database, one: list[float], other: list[float]) -> None:
    assert nearness(database, one, other) == pytest.approx(cosine(one, other), abs=1e-6)


def test_nearness_is_the_cosine_of_large_vectors_too(database: Database) -> None:
    chance = random.Random(1)
    for dims in (3, 256, 1536):
        one, other = ([chance.uniform(-5, 5) for _ in range(dims)] for _ in range(2))
        assert nearness(database, one, other) == pytest.approx(cosine(one, other), abs=1e-5)


@pytest.mark.parametrize("vector", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_a_vector_without_direction_is_none(vector: list[float]) -> None:
    assert vectors.pack(vector) is None


def test_a_packed_vector_is_four_bytes_a_number() -> None:
    assert vectors.pack([3.0, 4.0]) == bytes.fromhex("9a99193f cdcc4c3f")


def test_it_is_known_whether_this_python_can_load_extensions() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert vectors.in_c() is hasattr(connection, "enable_load_extension")
