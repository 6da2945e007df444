"""What is staged is seen by its own graph only, until it is committed: then whole or not at all."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from sqlalchemy import text

from server.storage.checkpoints import DatabaseSaver, open_saver
from server.storage.database import Tx
from server.storage.layouts import Statement, has_blobs
from server.storage.staged import StagedSaver

HERE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def extend(value: list[str], writes: list[list[str]]) -> list[str]:
    return [*value, *(item for write in writes for item in write)]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    changes: Annotated[list[str], DeltaChannel(extend)]


def work(state: State) -> dict[str, list[str]]:
    return {"log": ["work"], "changes": ["work"]}


def graph_on(saver: DatabaseSaver) -> Any:
    builder = StateGraph(State).add_node(work).add_edge(START, "work")
    return builder.compile(checkpointer=saver)


@pytest.fixture
async def saver(database: Any) -> DatabaseSaver:
    saver = open_saver(database)
    await graph_on(saver).ainvoke({"log": ["in"], "changes": ["in"]}, HERE)
    return saver


async def values(saver: DatabaseSaver) -> Any:
    return (await graph_on(saver).aget_state(HERE)).values


TABLES = ["checkpoints", "{writes}"]
ROWS = [Statement(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in TABLES]
BLOBS = text("SELECT * FROM checkpoint_blobs ORDER BY 1, 2, 3, 4")


def rows(database: Any) -> Any:
    def read(tx: Tx) -> list[Any]:
        found = [tuple(row) for query in ROWS for row in tx.execute(query.on(tx))]
        return found + ([tuple(row) for row in tx.execute(BLOBS)] if has_blobs(tx) else [])

    return database.read_now(read)


def update(text: str) -> dict[str, list[str]]:
    return {"log": [text], "changes": [text]}


BEFORE = {"log": ["in", "work"], "changes": ["in", "work"]}
AFTER = {"log": ["in", "work", "one", "two"], "changes": ["in", "work", "one", "two"]}


async def test_nobody_else_sees_what_is_staged(database: Any, saver: DatabaseSaver) -> None:
    before, staged = rows(database), StagedSaver(saver, {})
    await graph_on(staged).aupdate_state(HERE, update("one"))
    await graph_on(staged).aupdate_state(HERE, update("two"))
    assert (await values(staged), await values(saver)) == (AFTER, BEFORE)
    assert rows(database) == before


async def test_everybody_sees_what_was_committed(database: Any, saver: DatabaseSaver) -> None:
    staged = StagedSaver(saver, {"graph_id": "g"})
    await graph_on(staged).aupdate_state(HERE, update("one"))
    at = await graph_on(staged).aupdate_state(HERE, update("two"))
    mine = await graph_on(staged).aget_state(HERE)
    await database.write(staged.commit)
    found = await graph_on(saver).aget_state(HERE)
    assert found == mine
    assert found.config == at
    assert found.values == AFTER
    assert found.metadata["graph_id"] == "g"


async def test_a_commit_that_fails_leaves_nothing(database: Any, saver: DatabaseSaver) -> None:
    before, staged = rows(database), StagedSaver(saver, {})
    await graph_on(staged).aupdate_state(HERE, update("one"))

    def work(tx: Tx) -> None:
        staged.commit(tx)
        raise RuntimeError("the thread is not what it was")

    with pytest.raises(RuntimeError):
        await database.write(work)
    assert rows(database) == before


async def test_what_is_stored_later_is_newer_than_what_is_staged(saver: DatabaseSaver) -> None:
    staged = StagedSaver(saver, {})
    await graph_on(staged).aupdate_state(HERE, update("staged"))
    await graph_on(saver).aupdate_state(HERE, update("stored"))
    assert (await values(staged))["log"] == ["in", "work", "stored"]


async def test_an_old_checkpoint_is_read_as_it_is_stored(saver: DatabaseSaver) -> None:
    old = (await graph_on(saver).aget_state(HERE)).config
    staged = StagedSaver(saver, {})
    await graph_on(staged).aupdate_state(HERE, update("one"))
    assert (await graph_on(staged).aget_state(old)).values == BEFORE


async def test_values_are_read_as_they_will_be_stored(saver: DatabaseSaver) -> None:
    staged = StagedSaver(saver, {})
    await graph_on(staged).aupdate_state(HERE, {"log": ["a\ud800b", object()]})
    assert (await values(staged))["log"][-2:] == ["a\ufffdb", None]
