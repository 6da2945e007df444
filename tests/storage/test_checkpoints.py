"""What checkpoints hold comes back, nothing else comes to life, and a stale attempt writes nothing."""

import asyncio
import dataclasses
import datetime as dt
import decimal
import pickle
import sys
import threading
import uuid
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.serde import jsonplus
from langgraph.types import Interrupt, Send
from pydantic import BaseModel
from sqlalchemy import update

from server.errors import Superseded
from server.models import Run, RunStatus, Thread, ThreadStatus
from server.storage import runs, threads, traces
from server.storage.checkpoints import DatabaseSaver, open_saver
from server.storage.layouts import Statement
from server.storage.serializer import TolerantSerializer
from server.storage.tables import runs as runs_table

BIG = 10**30
AT = "2026-01-01T00:00:00.000000+00:00"
revived: list[str] = []


class Bomb(BaseModel):
    """A class of nobody's state: if it comes to life, somebody else's code ran."""

    name: str = "bomb"

    def __init__(self, *args: Any, **fields: Any) -> None:
        revived.append("constructed")
        super().__init__(**fields)


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


def back(value: Any) -> Any:
    """A value as it is after a checkpoint."""
    serializer = TolerantSerializer()
    return serializer.loads_typed(serializer.dumps_typed(value))


# ------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**64 - 1,
        -(2**63),
        1.5,
        "ä☃😀\0",
        b"\x00\xff",
        bytearray(b"a"),
        [1, [2]],
        {1, 2},
        {"a": {"b": None}},
        {1: "int", None: "none", 1.5: "float"},
        {(1, 2): 3},
        dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
        dt.timedelta(seconds=90),
        decimal.Decimal("1.50"),
        uuid.UUID(int=1),
        AIMessage("hi", id="m", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}]),
        HumanMessage("hi"),
        ToolMessage("hi", tool_call_id="c"),
        Send("node", {"a": 1}),
        Interrupt("question", id="i"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_state_usually_holds_comes_back_equal(value: Any) -> None:
    assert back(value) == value
    assert back({"deep": [value]}) == {"deep": [value]}


@pytest.mark.parametrize("value", [BIG, -BIG, 2**64, -(2**63) - 1, 10**5_000], ids=hex)
def test_an_integer_of_any_size_keeps_its_value(value: int) -> None:
    assert back({"a": [value]}) == {"a": [value]}


@pytest.mark.parametrize(
    "value", [{"a": BIG}, [BIG], {BIG}, Point(BIG), AIMessage("", additional_kwargs={"a": BIG})]
)
def test_a_large_integer_is_no_reason_to_lose_what_is_around_it(value: Any) -> None:
    assert str(BIG) in str(back(value))


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert back({"a": "vor\ud800nach", "\udc00": 1}) == {"a": "vor\ufffdnach", "\ufffd": 1}


def test_a_lone_surrogate_within_a_message_spares_the_text_around_it() -> None:
    found = back([AIMessage("vor\ud800nach", id="m")])
    assert found == [AIMessage("vor\ufffdnach", id="m")]


def test_a_lone_surrogate_deep_within_a_message_spares_the_message() -> None:
    calls = [{"name": "f", "args": {"q": ["\ud800"]}, "id": "c"}]
    found = back(
        [AIMessageChunk("hi", id="m", additional_kwargs={"a": "\udfff"}), AIMessage("", tool_calls=calls)]
    )
    assert found[0].additional_kwargs == {"a": "\ufffd"}
    assert found[1].tool_calls[0]["args"] == {"q": ["\ufffd"]}


@pytest.mark.parametrize("value", [object(), lambda: 1, int, sys, threading.Lock(), (n for n in ())])
def test_what_has_no_stored_form_becomes_null_and_the_rest_stays(value: Any) -> None:
    assert back({"a": value, "b": [value, 1], "c": "kept"}) == {"a": None, "b": [None, 1], "c": "kept"}


def test_an_odd_value_beside_a_message_does_not_cost_the_message() -> None:
    message = AIMessage("hi", id="m")
    assert back({"messages": [message], "client": object()}) == {"messages": [message], "client": None}


def test_an_exception_in_the_state_looks_as_on_the_streams() -> None:
    assert back({"a": ValueError("boom")}) == {"a": {"error": "ValueError", "message": "boom"}}


def test_the_exception_of_a_task_is_stored_as_langgraph_does_it() -> None:
    assert back(ValueError("boom")) == jsonplus.JsonPlusSerializer().loads_typed(
        jsonplus.JsonPlusSerializer().dumps_typed(ValueError("boom"))
    )


def test_what_refers_to_itself_twice_is_stored_in_reasonable_time() -> None:
    visits = 0

    class Watched(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            nonlocal visits
            visits += 1
            if visits > 20_000:
                pytest.fail("the serializer goes round in circles")
            return super().items()

    loop = Watched()
    loop |= {"a": loop, "b": loop}
    TolerantSerializer().dumps_typed(loop)


@dataclasses.dataclass
class Needs:
    x: Any
    seed: dataclasses.InitVar[int]


@dataclasses.dataclass
class Checks:
    x: Any

    def __post_init__(self) -> None:
        if not isinstance(self.x, int):
            raise TypeError("x must be an int")


class Pair(list):  # type: ignore[type-arg]
    def __init__(self, a: Any, b: Any) -> None:
        super().__init__([a, b])


class NoText:
    def __str__(self) -> str:
        raise RuntimeError


Named = namedtuple("Named", "a b")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Needs(BIG, 1), id="a dataclass with an InitVar"),
        pytest.param(Checks(BIG), id="a dataclass that checks its fields"),
        pytest.param(Pair(BIG, 1), id="a list with a constructor of its own"),
        pytest.param(AIMessage("x", odd="\ud800"), id="an extra field of a message with a lone surrogate"),
        pytest.param({NoText(): BIG}, id="a key without text"),
    ],
)
def test_no_value_fails_a_run(value: Any) -> None:
    back({"a": value})


def test_a_named_tuple_loses_no_more_than_it_must() -> None:
    assert back([Named("kept", "\ud800")]) != [None]


# ------------------------------------------------------------------------------------- what stays dead


def planted(code: int, *parts: Any) -> bytes:
    """Bytes of a checkpoint that somebody else wrote into the database."""
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


@pytest.mark.parametrize(
    "data",
    [
        planted(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, __name__, "Bomb", "x"),
        planted(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, __name__, "Bomb", ["x"]),
        planted(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, __name__, "Bomb", {"name": "x"}),
        planted(jsonplus.EXT_METHOD_SINGLE_ARG, __name__, "Bomb", "x", "model_validate"),
        planted(jsonplus.EXT_PYDANTIC_V1, __name__, "Bomb", {"name": "x"}, "parse_raw"),
        planted(jsonplus.EXT_PYDANTIC_V2, __name__, "Bomb", {"name": "x"}, "model_validate_json"),
    ],
)
def test_a_planted_constructor_is_not_called(data: bytes) -> None:
    revived.clear()
    found = TolerantSerializer().loads_typed(("msgpack", data))
    assert revived == []
    assert not isinstance(found, Bomb)


@pytest.mark.parametrize("target", [("os", "system"), ("builtins", "eval"), ("subprocess", "Popen")])
def test_a_planted_function_is_not_called(target: tuple[str, str], tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    code = f"open({str(proof)!r}, 'w')" if target[1] == "eval" else f"touch {proof}"
    TolerantSerializer().loads_typed(("msgpack", planted(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, *target, code)))
    assert not proof.exists()


def test_a_planted_constructor_in_json_is_not_called() -> None:
    revived.clear()
    data = b'{"lc":2,"type":"constructor","id":["%b","Bomb"],"kwargs":{"name":"x"}}' % __name__.encode()
    found = TolerantSerializer().loads_typed(("json", data))
    assert revived == []
    assert not isinstance(found, Bomb)


def test_a_class_that_no_graph_declared_comes_back_as_plain_data() -> None:
    stored = Bomb()
    revived.clear()
    assert back({"a": stored}) == {"a": {"name": "bomb"}}
    assert revived == []


def test_pickled_data_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="pickle"):
        TolerantSerializer().loads_typed(("pickle", pickle.dumps(1)))


@pytest.mark.parametrize(
    "value", [object(), BIG, Point(object()), {(1,): object()}, "\ud800", ValueError("x")]
)
def test_nothing_is_ever_pickled(value: Any) -> None:
    assert TolerantSerializer().dumps_typed({"a": value})[0] == "msgpack"


# ------------------------------------------------------------------------------------- savers


@pytest.fixture
def saver(database: Any) -> DatabaseSaver:
    return open_saver(database)


@pytest.fixture
def run(database: Any) -> Run:
    """A run under way, in its first attempt."""
    thread = Thread("t", AT, AT, AT, {}, ThreadStatus.busy, {}, None, None)
    found = Run("r", "t", "a", "g", RunStatus.running, {}, {}, "enqueue", AT, AT, AT, attempt=1)
    database.write_now(lambda tx: (threads.add(tx, thread), runs.add(tx, found)))
    return found


def checkpoint(word: str) -> Checkpoint:
    return {**empty_checkpoint(), "channel_values": {"word": word}}


def put(saver: DatabaseSaver, word: str, run_id: str = "r", thread_id: str = "t") -> Any:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    return saver.put(config, checkpoint(word), {"source": "loop", "step": 1, "run_id": run_id}, {})


def word_of(saver: DatabaseSaver, thread_id: str = "t") -> str | None:
    found = saver.get_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    return found and found.checkpoint["channel_values"]["word"]


def change(database: Any, **values: Any) -> None:
    database.write_now(lambda tx: tx.execute(update(runs_table).values(**values)).rowcount)


def test_a_checkpoint_comes_back(saver: DatabaseSaver) -> None:
    put(saver, "hello")
    assert word_of(saver) == "hello"


def test_the_attempt_that_owns_its_run_may_write(saver: DatabaseSaver, run: Run) -> None:
    put(saver.fenced(run.run_id, 1), "hello")
    assert word_of(saver) == "hello"


LOST: dict[str, Callable[[Any], None]] = {
    "has ended": lambda database: change(database, status=RunStatus.success),
    "was cancelled": lambda database: change(database, status=RunStatus.interrupted),
    "waits again": lambda database: change(database, status=RunStatus.pending),
    "is in its next attempt": lambda database: change(database, attempt=2),
    "was deleted": lambda database: database.write_now(lambda tx: runs.remove(tx, "r")),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("how", LOST)
def test_a_stale_attempt_writes_nothing(how: str, database: Any, saver: DatabaseSaver, run: Run) -> None:
    mine = saver.fenced(run.run_id, 1)
    config = put(mine, "before")
    LOST[how](database)
    with pytest.raises(Superseded):
        put(mine, "after")
    with pytest.raises(Superseded):
        mine.put_writes(config, [("word", "after")], "task")
    with pytest.raises(Superseded):
        mine.delete_thread("t")
    assert word_of(saver) == "before"


async def test_the_fence_stands_for_asynchronous_writes_too(
    database: Any, saver: DatabaseSaver, run: Run
) -> None:
    mine = saver.fenced(run.run_id, 1)
    config = put(mine, "before")
    change(database, status=RunStatus.success)
    with pytest.raises(Superseded):
        await mine.aput(config, checkpoint("after"), {}, {})
    with pytest.raises(Superseded):
        await mine.aput_writes(config, [("word", "after")], "task")
    with pytest.raises(Superseded):
        await mine.adelete_thread("t")
    assert word_of(saver) == "before"


def test_a_stale_attempt_may_still_read(database: Any, saver: DatabaseSaver, run: Run) -> None:
    mine = saver.fenced(run.run_id, 1)
    put(mine, "before")
    change(database, status=RunStatus.success)
    assert word_of(mine) == "before"


def test_fencing_leaves_the_saver_itself_free(database: Any, saver: DatabaseSaver, run: Run) -> None:
    saver.fenced("unknown", 1)
    put(saver, "free")
    assert word_of(saver) == "free"


async def test_any_thread_and_any_loop_may_write(saver: DatabaseSaver) -> None:
    def elsewhere(number: int) -> None:
        async def work() -> None:
            config: Any = {"configurable": {"thread_id": f"t{number}", "checkpoint_ns": ""}}
            await saver.aput(config, checkpoint(str(number)), {}, {})

        asyncio.run(work())

    await asyncio.gather(*(asyncio.to_thread(elsewhere, number) for number in range(20)))
    assert [word_of(saver, f"t{number}") for number in range(20)] == [str(number) for number in range(20)]


def test_deleting_a_thread_deletes_its_checkpoints_alone(database: Any, saver: DatabaseSaver) -> None:
    for thread_id in ("t", "u"):
        saver.put_writes(put(saver, thread_id, thread_id=thread_id), [("word", "w")], "task")
    database.write_now(lambda tx: traces.delete_thread(tx, "t"))
    assert (word_of(saver, "t"), word_of(saver, "u")) == (None, "u")
    written = Statement("SELECT DISTINCT thread_id FROM {writes}")
    assert database.read_now(lambda tx: [*tx.execute(written.on(tx)).scalars()]) == ["u"]


def test_deleting_a_run_leaves_the_thread_as_it_was_before(database: Any, saver: DatabaseSaver) -> None:
    put(saver, "first", run_id="r1")
    saver.put_writes(put(saver, "second", run_id="r2"), [("word", "w")], "task")
    database.write_now(lambda tx: traces.delete_run(tx, "t", "r2"))
    assert word_of(saver) == "first"
    written = Statement("SELECT count(*) FROM {writes}")
    assert database.read_now(lambda tx: tx.execute(written.on(tx)).scalar_one()) == 0


def test_opening_twice_keeps_what_is_there(database: Any) -> None:
    put(open_saver(database), "kept")
    assert word_of(open_saver(database)) == "kept"
