"""What runs leave is told apart from what others left, undone, copied and measured: on every engine alike."""

import operator
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from sqlalchemy import text

from server.models import Run, RunStatus, Thread, ThreadStatus
from server.rules.threads import LATEST, Amount, ThreadUsage
from server.storage import history, pruning, runs, thread_copies, threads, traces
from server.storage.before_run import SaverBeforeRun
from server.storage.checkpoints import DatabaseSaver, open_saver
from server.storage.database import Tx
from server.storage.history import HistorySaver
from server.storage.layouts import Statement, has_blobs
from server.storage.usage import BEGINNING, Usage

AT = "2026-01-01T00:00:00.000000+00:00"
HERE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    word: str


def ask(state: State) -> dict[str, Any]:
    return {"log": [f"answer {interrupt('?')}"], "word": "asked"}


def note(state: State) -> dict[str, list[str]]:
    return {"log": ["note"]}


def graph_on(saver: Any) -> Any:
    builder = StateGraph(State).add_sequence([("note", note), ("ask", ask)]).add_edge(START, "note")
    return builder.compile(checkpointer=saver)


@pytest.fixture
def saver(database: Any) -> DatabaseSaver:
    def add(tx: Tx) -> None:
        threads.add(tx, Thread("t", AT, AT, AT, {}, ThreadStatus.busy, {}, None, None))

    database.write_now(add)
    return open_saver(database)


def begin(database: Any, saver: DatabaseSaver, run_id: str) -> tuple[Any, Any]:
    """A run that is under way: its graph and its config."""
    run = Run(run_id, "t", "a", "g", RunStatus.running, {}, {}, "enqueue", AT, AT, AT, attempt=1)
    database.write_now(lambda tx: runs.add(tx, run))
    return graph_on(saver.fenced(run_id, 1)), {**HERE, "metadata": {"run_id": run_id}}


def end(database: Any, run_id: str) -> None:
    run = database.read_now(lambda tx: runs.get(tx, "t", run_id))
    database.write_now(lambda tx: runs.finish(tx, run, RunStatus.success, AT, error=None, reason=None))


async def do(database: Any, saver: DatabaseSaver, run_id: str, value: Any) -> None:
    graph, config = begin(database, saver, run_id)
    await graph.ainvoke(value, config)
    end(database, run_id)


def stored(database: Any) -> Any:
    """All that a thread has in LangGraph's tables, but for the order."""
    tables = ["checkpoints", "{writes}"]

    def read(tx: Tx) -> Any:
        found = [
            sorted(tuple(map(str, row)) for row in tx.execute(Statement(f"SELECT * FROM {table}").on(tx)))
            for table in tables
        ]
        if has_blobs(tx):
            found.append(
                sorted(tuple(map(str, row)) for row in tx.execute(text("SELECT * FROM checkpoint_blobs")))
            )
        return found

    return database.read_now(read)


async def test_an_answer_that_is_undone_was_never_given(database: Any, saver: DatabaseSaver) -> None:
    await do(database, saver, "asks", {"log": ["in"]})
    before, state = stored(database), await graph_on(saver).aget_state(HERE)
    await do(database, saver, "answers", Command(resume="yes"))
    done = await graph_on(saver).aget_state(HERE)
    assert done.values == {"log": ["in", "note", "answer yes"], "word": "asked"}
    assert stored(database) != before
    database.write_now(lambda tx: traces.delete_run(tx, "t", "answers"))
    assert stored(database) == before
    assert await graph_on(saver).aget_state(HERE) == state


async def test_an_answer_that_is_undone_can_be_given_again(database: Any, saver: DatabaseSaver) -> None:
    await do(database, saver, "asks", {"log": ["in"]})
    await do(database, saver, "answers", Command(resume="yes"))
    database.write_now(lambda tx: traces.delete_run(tx, "t", "answers"))
    await do(database, saver, "again", Command(resume="no"))
    assert (await graph_on(saver).aget_state(HERE)).values["log"] == ["in", "note", "answer no"]


def test_nothing_is_left_of_a_run_that_took_two_attempts(database: Any, saver: DatabaseSaver) -> None:
    begin(database, saver, "r")
    at = saver.fenced("r", 1).put(HERE, empty_checkpoint(), {"run_id": "r"}, {})  # type: ignore[typeddict-unknown-key]
    for word in ("first", "second"):  # as one that begins anew where the one before has stopped
        saver.fenced("r", 1).put_writes(at, [("log", word)], "task")
    database.write_now(lambda tx: traces.delete_run(tx, "t", "r"))
    assert not any(stored(database))


async def test_the_state_before_a_run_is_what_deleting_it_leaves(database: Any, saver: DatabaseSaver) -> None:
    await do(database, saver, "asks", {"log": ["in"]})
    before = await graph_on(saver).aget_state(HERE)
    await do(database, saver, "answers", Command(resume="yes"))
    graph = graph_on(SaverBeforeRun(saver, "answers"))
    assert await graph.aget_state(HERE) == before
    assert graph.get_state(HERE) == before
    assert (await graph_on(SaverBeforeRun(saver, "asks")).aget_state(HERE)).values["word"] == "asked"


async def test_the_newest_checkpoint_without_a_run_is_found(database: Any, saver: DatabaseSaver) -> None:
    def place(run_id: str) -> Any:
        return database.read_now(lambda tx: traces.newest_without(tx, "t", run_id))

    assert place("asks") == (None, False)
    await do(database, saver, "asks", {"log": ["in"]})
    newest = saver.get_tuple(HERE).checkpoint["id"]  # type: ignore[union-attr]
    assert place("asks") == (None, True)
    assert place("other") == (newest, False)
    graph, config = begin(database, saver, "answers")
    [_ async for _ in graph.astream(Command(resume="yes"), config, stream_mode="tasks")]
    assert place("answers") == (newest, True)


# ------------------------------------------------------------------------------ histories


async def found(saver: DatabaseSaver, wanted: Any, **more: Any) -> list[int]:
    return [
        each.metadata["step"] async for each in HistorySaver(saver).alist(HERE, filter=wanted, **more)
    ]  # fmt: skip


async def test_a_history_is_filtered_by_containment(
    database: Any, saver: DatabaseSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    await do(database, saver, "asks", {"log": ["in"]})
    await do(database, saver, "answers", Command(resume="yes"))
    assert await found(saver, {"run_id": "asks"}) == [1, 0, -1]
    assert await found(saver, {"source": "loop"}) == [2, 1, 0]
    assert await found(saver, {"source": "loop"}, limit=2) == [2, 1]
    assert await found(saver, {"source": "loop", "parents": {}}) == [2, 1, 0]
    assert await found(saver, {"step": 1.0}) == [1]
    assert await found(saver, {"step": True}) == []
    assert await found(saver, {"od'd\\\0 \ud800": {}}) == []
    newest = saver.get_tuple(HERE).config  # type: ignore[union-attr]
    assert await found(saver, {"source": "loop"}, before=newest) == [1, 0]


# ------------------------------------------------------------------------------ copies and measures


def copy(database: Any, target: str) -> None:
    pieces = database.read_now(lambda tx: pruning.everything(tx, "t"))
    for piece in pieces:
        database.write_now(lambda tx: thread_copies.copy(tx, "t", target, [piece]))  # noqa: B023


async def test_a_copy_goes_on_by_itself(database: Any, saver: DatabaseSaver) -> None:
    await do(database, saver, "asks", {"log": ["in"]})
    copy(database, "u")
    there: Any = {"configurable": {"thread_id": "u", "checkpoint_ns": ""}}
    assert saver.get_tuple(there).metadata["run_id"] == "asks"  # type: ignore[union-attr]
    database.write_now(lambda tx: traces.delete_thread(tx, "t"))
    assert saver.get_tuple(HERE) is None
    await graph_on(saver).ainvoke(Command(resume="yes"), there)
    assert (await graph_on(saver).aget_state(there)).values["log"] == ["in", "note", "answer yes"]
    assert len([*saver.list(there)]) == 4


async def test_metadata_of_a_copy_name_the_copy(database: Any, saver: DatabaseSaver) -> None:
    empty: Any = saver.put(HERE, empty_checkpoint(), {"thread_id": "t", "half": 0.5}, {})  # type: ignore[typeddict-unknown-key]
    copy(database, "u")
    empty["configurable"]["thread_id"] = "u"
    assert saver.get_tuple(empty).metadata == {"thread_id": "u", "half": 0.5}  # type: ignore[union-attr]


def usage(database: Any) -> ThreadUsage:
    sums, place = Usage("t"), BEGINNING
    while (after := database.read_now(lambda tx: sums.read(tx, place))) is not None:  # noqa: B023
        place = after
    return database.read_now(sums.result)


async def test_what_a_thread_takes_is_measured_by_channel(database: Any, saver: DatabaseSaver) -> None:
    assert usage(database) == ThreadUsage(Amount(), {}, Amount())
    await do(database, saver, "asks", {"log": ["x" * 50_000], "word": "y" * 20_000})
    measured = usage(database)
    assert measured.checkpoints.count == 3
    assert 0 < measured.checkpoints.bytes < 20_000
    assert measured.by_channel["log"].count == 2
    assert measured.by_channel["log"].bytes > 100_000
    assert measured.by_channel["word"].count == 1
    assert measured.by_channel["word"].bytes >= 20_000
    assert measured.pending_writes.count > 3
    assert measured.pending_writes.bytes > 70_000


# ------------------------------------------------------------------------------ pruning


async def test_nothing_is_left_of_a_past_that_was_taken_away(database: Any, saver: DatabaseSaver) -> None:
    for number in range(4):
        await do(database, saver, f"asks {number}", {"log": [str(number)]})
        await do(database, saver, f"answers {number}", Command(resume="yes"))
    state = await graph_on(saver).aget_state(HERE)
    newest = saver.get_tuple(HERE)

    def work(tx: Tx) -> None:
        for part in pruning.slices(pruning.outdated(tx, "t", LATEST, datetime.now(UTC))):
            pruning.take(tx, "t", part)

    database.write_now(work)
    assert saver.get_tuple(HERE) == newest
    assert (await graph_on(saver).aget_state(HERE)).values == state.values
    assert [len(rows) for rows in stored(database)][:2] == [1, 0]
    if len(stored(database)) == 3:  # of each channel the newest value alone
        assert len(stored(database)[2]) == 1
    database.write_now(work)
    assert saver.get_tuple(HERE) == newest


async def test_what_a_copy_left_behind_is_taken_away_whole(database: Any, saver: DatabaseSaver) -> None:
    await do(database, saver, "asks", {"log": ["in"]})
    while pieces := database.read_now(lambda tx: pruning.everything(tx, "t", 2)):
        for part in pruning.slices(pieces):
            database.write_now(lambda tx: pruning.take(tx, "t", part))  # noqa: B023
    assert [*map(len, stored(database))] in ([0, 0], [0, 0, 0])
