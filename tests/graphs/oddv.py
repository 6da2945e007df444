"""Values that JSON does not know, in a custom event and in the state."""

import datetime as dt
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class Color(enum.Enum):
    RED = "red"


class Model(BaseModel):
    a: int = 1
    when: dt.datetime = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@dataclass
class Data:
    x: int = 2


class Plain:
    pass


class HostileRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


def loop() -> list[Any]:
    """A list that holds itself."""
    value: list[Any] = [1]
    value.append(value)
    return value


def deep() -> Any:
    value: Any = "bottom"
    for _ in range(400):
        value = [value]
    return value


class State(TypedDict, total=False):
    kind: str
    v: Any


VALUES = {
    "datetime": lambda: dt.datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC),
    "naive datetime": lambda: dt.datetime(2020, 1, 2, 3, 4, 5),
    "date": lambda: dt.date(2020, 1, 2),
    "time": lambda: dt.time(3, 4, 5),
    "timedelta": lambda: dt.timedelta(seconds=90),
    "uuid": lambda: uuid.UUID(int=1),
    "decimal": lambda: decimal.Decimal("1.50"),
    "long decimal": lambda: decimal.Decimal("3.14159265358979323846264338327950288"),
    "decimal nan": lambda: decimal.Decimal("NaN"),
    "bytes": lambda: b"\x00\xffhi",
    "set": lambda: {1},
    "frozenset": lambda: frozenset([1]),
    "tuple": lambda: (1, "a"),
    "pydantic": Model,
    "dataclass": Data,
    "enum": lambda: Color.RED,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("-inf"),
    "big int": lambda: 2**70,
    "negative big int": lambda: -(2**70),
    "huge int": lambda: 10**5000,
    "int keys": lambda: {1: "a"},
    "none key": lambda: {None: "b"},
    "tuple keys": lambda: {(1, 2): "c"},
    "enum keys": lambda: {Color.RED: "d"},
    "uuid keys": lambda: {uuid.UUID(int=1): "e"},
    "exception": lambda: ValueError("boom"),
    "function": lambda: len,
    "class": lambda: Plain,
    "object": Plain,
    "hostile object": HostileRepr,
    "surrogate": lambda: "bad \ud800 char",
    "surrogate key": lambda: {"bad \udfff key": 1},
    "surrogate pair": lambda: "\ud83d\ude00",
    "nul": lambda: "a\x00b",
    "message": lambda: AIMessage("hi", id="m1"),
    "nested": lambda: {"a": [{"b": (dt.date(2020, 1, 2), {decimal.Decimal(1)}, Plain(), 2**70)}]},
    "self-containing": loop,
    "deep": deep,
}


def node(state: State):
    value = VALUES[state["kind"]]()
    get_stream_writer()(value)
    return {"v": value}


graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
