"""Any value a graph emits becomes one line of JSON: the rows of the value table, and values by chance."""

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import json
import math
import pathlib
import random
import re
import string
import uuid
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from pydantic import BaseModel

from server.streaming.encode import DEPTH_MAX, decode, encode, raw

# Its presence anywhere sends the whole value along the slow path, which must say the same as the fast one.
BIG = 10**30


class Colour(enum.Enum):
    red = "r"
    pair = (1, 2)


class Level(enum.IntEnum):
    high = 7


class Point(BaseModel):
    x: int
    label: str = "p"


@dataclasses.dataclass
class Plain:
    a: int
    _hidden: int = 9


class Slotted:
    __slots__ = ("a",)


class V1Model:
    """As pydantic made them before version 2."""

    def dict(self) -> dict[str, int]:
        return {"a": 1}


class Text(str):
    pass


Named = namedtuple("Named", "a b")
UTC = dt.UTC
MOMENT = dt.datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")

TABLE: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "true": (True, True),
    "int": (1, 1),
    "int of 64 bits": (2**64 - 1, 2**64 - 1),
    "smallest int": (-(2**63), -(2**63)),
    "big int": (BIG, BIG),
    "big negative int": (-BIG, -BIG),
    "float": (1.5, 1.5),
    "nan": (math.nan, None),
    "infinity": (math.inf, None),
    "minus infinity": (-math.inf, None),
    "text": ("ä☃😀", "ä☃😀"),
    "NUL": ("a\0b", "a\0b"),
    "subclass of str": (Text("a"), "a"),
    "lone surrogate": ("a\ud800b", "a\ufffdb"),
    "datetime": (MOMENT, "2020-01-02T03:04:05.000678+00:00"),
    "datetime without a zone": (MOMENT.replace(tzinfo=None), "2020-01-02T03:04:05.000678"),
    "date": (MOMENT.date(), "2020-01-02"),
    "time": (MOMENT.time(), "03:04:05.000678"),
    "timedelta": (dt.timedelta(seconds=90), 90.0),
    "zone": (UTC, "UTC"),
    "uuid": (ID, str(ID)),
    "enum": (Colour.red, "r"),
    "enum of a tuple": (Colour.pair, [1, 2]),
    "int enum": (Level.high, 7),
    "decimal": (decimal.Decimal("1.50"), 1.5),
    "decimal nan": (decimal.Decimal("nan"), None),
    "decimal infinity": (decimal.Decimal("-inf"), None),
    "bytes": (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
    "bytearray": (bytearray(b"ab"), "YWI="),
    "memoryview": (memoryview(b"ab"), "YWI="),
    "list": ([1, "a"], [1, "a"]),
    "tuple": ((1, 2), [1, 2]),
    "set": ({1}, [1]),
    "frozenset": (frozenset({1}), [1]),
    "deque": (deque([1, 2]), [1, 2]),
    "range": (range(3), [0, 1, 2]),
    "named tuple": (Named(1, 2), {"a": 1, "b": 2}),
    "defaultdict": (defaultdict(int, a=1), {"a": 1}),
    "ordered dict": (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "mapping": (UserDict(a=1), {"a": 1}),
    "dict views": ({"a": 1}.keys(), ["a"]),
    "int keys": ({1: "a"}, {"1": "a"}),
    "tuple keys": ({(1, 2): 3}, {"(1, 2)": 3}),
    "none key": ({None: 1}, {"null": 1}),
    "bool keys": ({True: 1, False: 0}, {"true": 1, "false": 0}),
    "enum key": ({Colour.red: 1}, {"r": 1}),
    "date key": ({MOMENT.date(): 1}, {"2020-01-02": 1}),
    "uuid key": ({ID: 1}, {str(ID): 1}),
    "surrogate key": ({"\ud800": 1}, {"\ufffd": 1}),
    "exception": (ValueError("boom"), {"error": "ValueError", "message": "boom"}),
    "pydantic": (Point(x=1), {"x": 1, "label": "p"}),
    "pydantic v1": (V1Model(), {"a": 1}),
    "dataclass": (Plain(1), {"a": 1}),
    "class": (Point, None),
    "function": (len, None),
    "lambda": (lambda: 1, None),
    "plain object": (object(), None),
    "object with slots": (Slotted(), None),
    "module": (json, None),
    "generator": ((n for n in ()), None),
    "complex": (1j, None),
    "path": (pathlib.PurePosixPath("/a/b"), "/a/b"),
    "address": (ipaddress.ip_address("127.0.0.1"), "127.0.0.1"),
    "network": (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    "pattern": (re.compile("a+"), "a+"),
}


def slowly(value: Any) -> Any:
    """The JSON of a value that has something beside it which the fast path refuses."""
    return json.loads(encode([value, BIG]))[0]


@pytest.mark.parametrize("row", TABLE)
def test_every_row_of_the_table_looks_as_promised(row: str) -> None:
    value, expected = TABLE[row]
    assert json.loads(encode(value)) == expected


@pytest.mark.parametrize("row", TABLE)
def test_a_value_looks_the_same_beside_one_that_takes_the_slow_path(row: str) -> None:
    value, expected = TABLE[row]
    assert slowly(value) == expected


@pytest.mark.parametrize("row", TABLE)
def test_a_value_looks_the_same_deep_inside_others(row: str) -> None:
    value, expected = TABLE[row]
    assert json.loads(encode({"a": [({"b": value},)]})) == {"a": [[{"b": expected}]]}


@pytest.mark.parametrize("encoded", [lambda value: json.loads(encode(value)), slowly])
def test_a_message_has_its_type_and_all_its_fields(encoded: Any) -> None:
    message = AIMessage("hi", id="m", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}])
    found = encoded(message)
    assert (found["type"], found["content"], found["id"]) == ("ai", "hi", "m")
    assert found["tool_calls"] == [{"name": "f", "args": {"a": 1}, "id": "c", "type": "tool_call"}]


def test_chunks_and_messages_are_told_apart_by_type() -> None:
    types = [json.loads(encode(message))["type"] for message in (AIMessageChunk("a"), HumanMessage("b"))]
    assert types == ["AIMessageChunk", "human"]


def test_a_surrogate_within_a_message_spares_the_text_around_it() -> None:
    assert json.loads(encode({"messages": [AIMessage("vor\udc00nach")]}))["messages"][0]["content"] == (
        "vor\ufffdnach"
    )


def test_two_halves_of_a_character_become_one_again() -> None:
    assert json.loads(encode("\ud83d\ude00")) == "😀"


@pytest.mark.parametrize(
    "separator", ["\u2028", "\u2029", "\x85", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c"]
)
@pytest.mark.parametrize("beside", [None, BIG])
def test_no_character_breaks_the_line(separator: str, beside: Any) -> None:
    data = encode({"text" + separator: f"a{separator}b", "beside": beside})
    assert len(data.decode().splitlines()) == 1
    assert json.loads(data)["text" + separator] == f"a{separator}b"


def test_an_integer_of_any_length_keeps_its_digits() -> None:
    value = 10**6_000 + 7
    assert encode(value) == b"1" + b"0" * 5_999 + b"7"


def test_a_key_of_any_length_keeps_its_digits() -> None:
    assert encode({10**6_000: 1}) == b'{"1' + b"0" * 6_000 + b'":1}'


def test_what_refers_to_itself_ends_in_null() -> None:
    loop: list[Any] = []
    loop.append(loop)
    found, depth = json.loads(encode(loop)), 0
    while found:
        found, depth = found[0], depth + 1
    assert found is None
    assert depth <= DEPTH_MAX + 1


def test_what_refers_to_itself_twice_is_read_in_reasonable_time() -> None:
    visits = 0

    class Watched(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            nonlocal visits
            visits += 1
            if visits > 20_000:
                pytest.fail("the encoder goes round in circles")
            return super().__iter__()

    loop = Watched()
    loop += [loop, loop]
    encode(loop)


def test_what_is_deeper_than_any_reader_likes_is_cut() -> None:
    value: Any = "bottom"
    for _ in range(5_000):
        value = [value]
    assert json.loads(encode(value)) is not None


class Hostile:
    """An object whose every part fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


class BadDump:
    def model_dump(self) -> Any:
        raise RuntimeError


class BadMessage(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_object_that_fails_when_it_is_read_is_null() -> None:
    assert json.loads(encode([Hostile(), BadDump(), 1])) == [None, None, 1]


def test_an_exception_without_a_readable_text_keeps_its_name() -> None:
    assert json.loads(encode(BadMessage()))["error"] == "BadMessage"


@dataclasses.dataclass
class BadField:
    a: int = 1


BadField.a = property(lambda self: 1 // 0, lambda self, value: None)  # type: ignore[assignment]


class BadItems(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([Hostile(), BIG], id="attributes that fail beside a big integer"),
        pytest.param([BadField(), BIG], id="a dataclass field that fails beside a big integer"),
        pytest.param([BadItems(a=1), BIG], id="a dict that fails beside a big integer"),
        pytest.param({Hostile(): 1}, id="a key without text"),
    ],
)
def test_no_user_code_makes_the_encoder_raise(value: Any) -> None:
    json.loads(encode(value))


def test_ready_json_is_embedded_as_it_is() -> None:
    assert encode({"a": raw(b'{"b":1.0}')}) == b'{"a":{"b":1.0}}'
    assert encode({"a": raw(b'{"b":1.0}'), "c": BIG}) == b'{"a":{"b":1.0},"c":%d}' % BIG


# ------------------------------------------------------------------------------------- by chance


def anything(chance: random.Random, depth: int) -> Any:
    """A value of any kind, most of them small."""
    leaves = [value for row, (value, _) in TABLE.items() if row not in ("generator", "memoryview")]
    kind = chance.randrange(8 if depth else 4)
    if kind < 2:
        return chance.choice(leaves)
    if kind == 2:
        return "".join(chance.choice(string.printable + "\ud800\udfff\u2028\x85😀\0") for _ in range(6))
    if kind == 3:
        return chance.choice([chance.getrandbits(90) - 2**89, chance.uniform(-1e308, 1e308)])
    size = chance.randrange(4)
    if kind == 4:
        return tuple(anything(chance, depth - 1) for _ in range(size))
    if kind == 5:
        return {chance.choice(["a", 1, None, (1,), Colour.red]): anything(chance, depth - 1)}
    if kind == 6:
        return Plain(anything(chance, depth - 1))
    return [anything(chance, depth - 1) for _ in range(size)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_is_one_line_of_json(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = encode(anything(chance, 5))
        assert b"\n" not in data
        json.loads(data)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_comes_is_encoded_the_same_twice_and_beside_anything(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        value = anything(chance, 4)
        assert encode(value) == encode(value)
        assert json.loads(encode(value)) == slowly(value)


@pytest.mark.parametrize("seed", range(10))
def test_plain_json_comes_back_as_it_was(seed: int) -> None:
    chance = random.Random(seed)

    def plain(depth: int) -> Any:
        kinds: list[Any] = [None, True, chance.getrandbits(50), chance.random(), "tä\u2028xt\0", ""]
        if not depth:
            return chance.choice(kinds)
        nested = [plain(depth - 1) for _ in range(chance.randrange(4))]
        return chance.choice([nested, {f"k{n}": item for n, item in enumerate(nested)}])

    for _ in range(100):
        value = plain(5)
        assert decode(encode(value)) == value
