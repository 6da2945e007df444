"""What goes of a thread's past is never missed: its state is read, resumed and continued as before."""

import operator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from sqlalchemy import text

from server.models import Thread, ThreadStatus
from server.rules.threads import LATEST, Keep
from server.storage import pruning, threads
from server.storage.checkpoints import DatabaseSaver, open_saver
from server.storage.database import Tx
from server.storage.layouts import Statement, has_blobs
from server.storage.pruning import Piece

AT = "2026-01-01T00:00:00.000000+00:00"
HERE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture
def saver(database: Any) -> DatabaseSaver:
    return open_saver(database)


def prune(database: Any, keep: Keep = LATEST, at: datetime | None = None) -> int:
    """Take away what need not be kept; returns how many checkpoints went."""

    def work(tx: Tx) -> int:
        found = pruning.outdated(tx, "t", keep, at or datetime.now(UTC))
        for part in pruning.slices(found):
            pruning.take(tx, "t", part)
        return len([piece for piece in found if piece.blob is None])

    return database.write_now(work)


def left(database: Any, table: str = "checkpoints") -> list[tuple[str, str]]:
    query = Statement(f"SELECT checkpoint_ns, checkpoint_id FROM {table} WHERE thread_id = 't' ORDER BY 2")
    return database.read_now(lambda tx: [tuple(row) for row in tx.execute(query.on(tx))])


def extend(value: list[str], writes: list[list[str]]) -> list[str]:
    return [*value, *(item for write in writes for item in write)]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    changes: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]


class Plain(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def ask(state: Plain) -> dict[str, list[str]]:
    return {"log": [f"answer {interrupt('?')}"]}


def note(state: Plain) -> dict[str, list[str]]:
    return {"log": ["note"]}


def plain(saver: DatabaseSaver) -> Any:
    return StateGraph(Plain).add_node(note).add_edge(START, "note").compile(checkpointer=saver)


# ------------------------------------------------------------------------------ what is left


async def test_of_a_plain_thread_one_checkpoint_is_left(database: Any, saver: DatabaseSaver) -> None:
    graph = plain(saver)
    for _ in range(3):
        await graph.ainvoke({"log": ["in"]}, HERE)
    before = await graph.aget_state(HERE)
    assert prune(database) == 8
    assert len(left(database)) == 1
    assert left(database, "{writes}") == []
    after = await graph.aget_state(HERE)
    assert after == before
    assert (await graph.ainvoke({"log": ["in"]}, HERE))["log"] == [*before.values["log"], "in", "note"]


async def test_the_newest_are_left_and_the_history_ends_with_them(
    database: Any, saver: DatabaseSaver
) -> None:
    graph = plain(saver)
    for _ in range(3):
        await graph.ainvoke({"log": ["in"]}, HERE)
    before = [state async for state in graph.aget_state_history(HERE)]
    assert prune(database, Keep(checkpoints=4)) == 5
    assert [state async for state in graph.aget_state_history(HERE)] == before[:4]
    assert prune(database, Keep(checkpoints=4)) == 0


async def test_those_of_so_many_days_are_left_and_the_newest_in_any_case(
    database: Any, saver: DatabaseSaver
) -> None:
    graph = plain(saver)
    await graph.ainvoke({"log": ["in"]}, HERE)
    await graph.ainvoke({"log": ["in"]}, HERE)
    made = [state.created_at async for state in graph.aget_state_history(HERE)]
    second = datetime.fromisoformat(made[2])  # newest first: when the second run began
    day = timedelta(days=1)
    assert prune(database, Keep(days=2), second + day) == 0
    assert prune(database, Keep(days=1), second + day - timedelta(milliseconds=1)) == 3
    assert prune(database, Keep(days=1), second + 400 * day) == 2
    assert [state.created_at async for state in graph.aget_state_history(HERE)] == made[:1]
    assert prune(database, Keep(days=1), second + 400 * day) == 0


async def test_of_two_limits_the_stricter_counts(database: Any, saver: DatabaseSaver) -> None:
    graph = plain(saver)
    for _ in range(3):
        await graph.ainvoke({"log": ["in"]}, HERE)
    now = datetime.now(UTC)
    assert prune(database, Keep(checkpoints=100, days=1), now) == 0
    assert prune(database, Keep(checkpoints=5, days=1), now) == 4
    assert prune(database, Keep(checkpoints=3, days=1), now + timedelta(days=2)) == 4


def test_a_thread_without_a_past_loses_nothing(database: Any, saver: DatabaseSaver) -> None:
    assert prune(database) == 0
    assert prune(database, Keep(days=1)) == 0


# ------------------------------------------------------------------------------ what is needed


async def test_a_question_that_waits_can_still_be_answered(database: Any, saver: DatabaseSaver) -> None:
    graph = (
        StateGraph(Plain)
        .add_sequence([("note", note), ("ask", ask)])
        .add_edge(START, "note")
        .compile(checkpointer=saver)
    )
    await graph.ainvoke({"log": ["in"]}, HERE)
    before = await graph.aget_state(HERE)
    assert prune(database) == 2
    assert await graph.aget_state(HERE) == before
    assert (await graph.ainvoke(Command(resume="yes"), HERE))["log"] == ["in", "note", "answer yes"]


async def test_a_question_inside_a_subgraph_can_still_be_answered(
    database: Any, saver: DatabaseSaver
) -> None:
    inner = StateGraph(Plain).add_sequence([("note", note), ("ask", ask)]).add_edge(START, "note").compile()
    outer = StateGraph(Plain).add_sequence([("first", inner), ("second", inner)]).add_edge(START, "first")
    graph = outer.compile(checkpointer=saver)
    await graph.ainvoke({"log": ["in"]}, HERE)
    await graph.ainvoke(Command(resume="one"), HERE)
    before = await graph.aget_state(HERE, subgraphs=True)
    spaces = {namespace.partition(":")[0] for namespace, _ in left(database)}
    assert spaces == {"", "first", "second"}
    assert prune(database) > 0
    # What the first subgraph did is over; the second waits.
    assert {namespace.partition(":")[0] for namespace, _ in left(database)} == {"", "second"}
    assert (await graph.aget_state(HERE, subgraphs=True)).tasks[0].state.values == before.tasks[
        0
    ].state.values
    done = await graph.ainvoke(Command(resume="two"), HERE)
    assert done["log"][-2:] == ["note", "answer two"]
    prune(database)
    assert [namespace for namespace, _ in left(database)] == [""]


async def test_a_subgraph_keeps_its_memory(database: Any, saver: DatabaseSaver) -> None:
    class Counting(TypedDict, total=False):
        seen: Annotated[int, operator.add]

    def count(state: Counting) -> dict[str, int]:
        return {"seen": 1}

    def call(state: Plain) -> dict[str, list[str]]:
        return {"log": [str(inner.invoke({"seen": 0})["seen"])]}

    inner = StateGraph(Counting).add_node(count).add_edge(START, "count").compile(checkpointer=True)
    graph = StateGraph(Plain).add_node(call).add_edge(START, "call").compile(checkpointer=saver)
    for expected in (["1"], ["1", "2"], ["1", "2", "3"]):
        assert (await graph.ainvoke({}, HERE))["log"] == expected
        assert prune(database) > 0
        assert sorted(namespace for namespace, _ in left(database)) == ["", "call"]


@pytest.mark.parametrize("runs", range(1, 7))
async def test_a_delta_channel_keeps_what_it_is_made_of(
    database: Any, saver: DatabaseSaver, runs: int
) -> None:
    def work(state: State) -> dict[str, list[str]]:
        return {"log": ["work"], "changes": ["work"]}

    graph = StateGraph(State).add_node(work).add_edge(START, "work").compile(checkpointer=saver)
    for number in range(runs):
        await graph.ainvoke({"log": [str(number)], "changes": [str(number)]}, HERE)
    expected = [item for number in range(runs) for item in (str(number), "work")]
    for keep in (Keep(checkpoints=2), LATEST):
        prune(database, keep)
        found = (await graph.aget_state(HERE)).values
        assert found == {"log": expected, "changes": expected}
    assert len(left(database)) < 3 * runs or runs == 1
    done = await graph.ainvoke({"log": ["end"], "changes": ["end"]}, HERE)
    assert done["changes"] == [*expected, "end", "work"]


# ------------------------------------------------------------------------------ in small steps


def test_slices_are_small_in_number_and_in_bytes() -> None:
    many = [Piece("", str(number), 1) for number in range(pruning.SLICE_PIECES * 2 + 1)]
    assert [len(part) for part in pruning.slices(many)] == [pruning.SLICE_PIECES, pruning.SLICE_PIECES, 1]
    large = pruning.SLICE_BYTES // 2
    heavy = [Piece("", str(number), size) for number, size in enumerate((large, large, 1, large * 9, 1))]
    assert [[piece.checkpoint_id for piece in part] for part in pruning.slices(heavy)] == [
        ["0", "1"],
        ["2"],
        ["3"],
        ["4"],
    ]
    assert [*pruning.slices([])] == []


async def test_the_bytes_of_writes_count(database: Any, saver: DatabaseSaver) -> None:
    await plain(saver).ainvoke({"log": ["x" * 100_000]}, HERE)
    found = database.read_now(lambda tx: pruning.everything(tx, "t"))
    sizes = Statement(
        "SELECT (SELECT sum({stored_bytes}) FROM checkpoints c), (SELECT sum(length({value})) FROM {writes})"
    )
    apart = text("SELECT sum(length(blob)) FROM checkpoint_blobs")

    def read(tx: Tx) -> tuple[int, int]:
        checkpoints, writes = tx.execute(sizes.on(tx)).one()
        return checkpoints + (tx.execute(apart).scalar_one() if has_blobs(tx) else 0), writes

    checkpoints, writes = database.read_now(read)
    assert sum(piece.bytes for piece in found) == checkpoints + writes
    assert writes > 100_000


async def test_threads_with_a_past_are_found_page_by_page(
    database: Any, saver: DatabaseSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(tx: Tx) -> None:
        for number in range(7):
            threads.add(tx, Thread(str(number), AT, AT, AT, {}, ThreadStatus.idle, {}, None, None))

    database.write_now(add)
    for thread_id, runs in (("1", 1), ("4", 2), ("6", 3)):
        for _ in range(runs):
            await plain(saver).ainvoke({"log": []}, {"configurable": {"thread_id": thread_id}})
    monkeypatch.setattr(pruning, "PAGE", 3)

    def found(keep: Keep, at: datetime) -> list[list[str]]:
        pages, place = [], ""
        while True:
            page, last = database.read_now(lambda tx: pruning.with_past(tx, keep, place, at))  # noqa: B023
            pages.append(sorted(page))
            if last is None:
                return pages
            place = last

    now = datetime.now(UTC)
    assert found(Keep(checkpoints=3), now) == [[], ["4"], ["6"]]
    assert found(Keep(checkpoints=6), now) == [[], [], ["6"]]
    assert found(Keep(days=1), now) == [[], [], []]
    assert found(Keep(days=1), now + timedelta(days=2)) == [["1"], ["4"], ["6"]]
