"""What PostgreSQL alone could spoil: values it cannot hold, workers that meet, tables made at once."""

import math
import operator
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from fix_postgres import Postgres
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, StateGraph
from psycopg.rows import dict_row
from sqlalchemy import text, update

from server.errors import Superseded
from server.models import Run, RunStatus, Thread, ThreadStatus
from server.storage import runs, threads, traces
from server.storage.checkpoints import DatabaseSaver, open_saver
from server.storage.checkpoints_postgres import INLINE_MAX
from server.storage.database import Tx
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase
from server.storage.staged import StagedSaver
from server.storage.tables import runs as runs_table

AT = "2026-01-01T00:00:00.000000+00:00"
HERE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture
def kept_in() -> str:
    return "postgres"


@pytest.fixture
def saver(database: PostgresDatabase) -> DatabaseSaver:
    return open_saver(database)


@pytest.fixture
def theirs(database: PostgresDatabase, postgres: Postgres, saver: DatabaseSaver) -> Iterator[PostgresSaver]:
    """LangGraph's own saver on the same tables."""
    options = f"-c search_path={database.schema}"
    with psycopg.connect(postgres.uri, autocommit=True, row_factory=dict_row, options=options) as connection:
        yield PostgresSaver(connection, serde=saver.serde)


def checkpoint(saver: Any, value: Any, **others: Any) -> tuple[Checkpoint, dict[str, Any]]:
    values = {"value": value, **others}
    versions: dict[str, Any] = {name: saver.get_next_version(None, None) for name in values}
    found: Any = {**empty_checkpoint(), "v": 4, "channel_values": values, "channel_versions": versions}
    return found, versions


def put(saver: Any, value: Any, config: Any = HERE, **metadata: Any) -> Any:
    made, versions = checkpoint(saver, value)
    return saver.put(config, made, {"source": "loop", "step": 1, **metadata}, versions)


def value_of(saver: Any, config: Any = HERE) -> Any:
    found = saver.get_tuple(config)
    return found and found.checkpoint["channel_values"]["value"]


def rows(database: PostgresDatabase, query: str) -> list[Any]:
    return database.read_now(lambda tx: [tuple(row) for row in tx.execute(text(query))])


def blobs(database: PostgresDatabase) -> int:
    return int(rows(database, "SELECT count(*) FROM checkpoint_blobs")[0][0])


def test_an_exception_that_is_all_of_a_channel_looks_as_on_the_streams(saver: DatabaseSaver) -> None:
    put(saver, ValueError("boom"))
    assert value_of(saver) == {"error": "ValueError", "message": "boom"}


# ------------------------------------------------------------------------------ what jsonb cannot hold

ODD = [
    "a\0b",
    "\0",
    1e16,
    1e20,
    -0.0,
    0.1,
    1.0,
    2**63,
    10**40,
    -(2**70),
    "x" * (INLINE_MAX + 1),
    "ä" * INLINE_MAX,
]
PLAIN = [None, True, False, 0, 2**63 - 1, "", "text", "ä☃😀", [1], {"a": "\0"}]


@pytest.mark.parametrize("value", [*ODD, *PLAIN], ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_with_its_type(saver: DatabaseSaver, theirs: PostgresSaver, value: Any) -> None:
    at = put(saver, value)
    for found in (value_of(saver), value_of(saver, at), value_of(theirs)):
        assert (found, type(found), repr(found)) == (value, type(found), repr(found))
        assert math.copysign(1, found) == math.copysign(1, value) if isinstance(value, float) else True
    assert [each.checkpoint["channel_values"] for each in saver.list(HERE)] == [{"value": value}]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_comes_back(saver: DatabaseSaver, value: float) -> None:
    put(saver, value)
    assert repr(value_of(saver)) == repr(value)


def test_half_a_character_is_replaced(saver: DatabaseSaver) -> None:
    put(saver, "a\ud800b")
    assert value_of(saver) == "a\ufffdb"


def test_what_langgraphs_own_saver_kept_within_a_checkpoint_goes_on(
    saver: DatabaseSaver, theirs: PostgresSaver
) -> None:
    made, versions = checkpoint(theirs, 0.5)
    at = theirs.put(HERE, made, {"source": "loop", "step": 1}, versions)
    following: Any = {**made, "id": empty_checkpoint()["id"]}
    saver.put(at, following, {"source": "loop", "step": 2}, {})  # the channel has not changed since
    assert value_of(saver) == 0.5


def test_metadata_of_any_kind_are_stored(saver: DatabaseSaver) -> None:
    odd = {"a": "x\0y", "b": ["\ud800", math.nan, 10**30], "c": {"\0k": (1, 2)}, "d": 0.5}
    config: Any = {
        "configurable": {**HERE["configurable"], "said\ud800": "\ud800z", "__hidden": 1, "big": 2**70}
    }
    put(saver, "x", config, **odd)
    found: Any = saver.get_tuple(HERE)
    assert found.metadata == {
        "source": "loop", "step": 1, "a": "xy", "b": ["\ufffd", None, str(10**30)], "c": {"k": [1, 2]},
        "d": 0.5, "said\ufffd": "\ufffdz", "big": str(2**70),
    }  # fmt: skip


def test_a_channel_may_have_any_name(saver: DatabaseSaver) -> None:
    name = "a\\b\\001 ä"
    made, versions = checkpoint(saver, 1, **{name: [1]})
    at = saver.put(HERE, made, {}, versions)
    saver.put_writes(at, [(name, 1)], "task\\1")
    found: Any = saver.get_tuple(HERE)
    assert found.checkpoint["channel_values"] == {"value": 1, name: [1]}
    assert found.pending_writes == [("task\\1", name, 1)]


# ------------------------------------------------------------------------------ the fence


@pytest.fixture
def run(database: PostgresDatabase, saver: DatabaseSaver) -> Run:
    """A run under way, in its first attempt."""
    thread = Thread("t", AT, AT, AT, {}, ThreadStatus.busy, {}, None, None)
    found = Run("r", "t", "a", "g", RunStatus.running, {}, {}, "enqueue", AT, AT, AT, attempt=1)
    database.write_now(lambda tx: (threads.add(tx, thread), runs.add(tx, found)))
    return found


def take_over(tx: Tx) -> None:
    tx.execute(update(runs_table).values(attempt=2))


def until_somebody_waits(database: PostgresDatabase) -> None:
    """Returns once a statement waits for the lock of another's."""
    deadline = time.monotonic() + 10
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while not database.read_now(lambda tx: tx.execute(query).scalar_one()):
        assert time.monotonic() < deadline, "nobody waits"


class Held:
    """A unit of work that does its work, then waits before it ends."""

    def __init__(self, work: Callable[[Tx], Any]) -> None:
        self.done, self.go = threading.Event(), threading.Event()
        self._work = work

    def __call__(self, tx: Tx) -> None:
        self._work(tx)
        self.done.set()
        assert self.go.wait(10)


def test_who_takes_a_run_over_waits_for_what_its_owner_is_writing(
    database: PostgresDatabase, saver: DatabaseSaver, run: Run
) -> None:
    made, versions = checkpoint(saver, "mine")
    held = Held(saver.fenced("r", 1)._put(HERE, made, {}, versions))
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(database.write_now, held)
        assert held.done.wait(10)
        taking = pool.submit(database.write_now, take_over)
        until_somebody_waits(database)
        assert not taking.done()
        held.go.set()
        writing.result(10)
        taking.result(10)
    assert value_of(saver) == "mine"


def test_what_is_written_while_a_run_is_taken_over_is_refused(
    database: PostgresDatabase, saver: DatabaseSaver, run: Run
) -> None:
    held = Held(take_over)
    with ThreadPoolExecutor() as pool:
        taking = pool.submit(database.write_now, held)
        assert held.done.wait(10)
        writing = pool.submit(put, saver.fenced("r", 1), "late")
        until_somebody_waits(database)
        held.go.set()
        taking.result(10)
        with pytest.raises(Superseded):
            writing.result(10)
    assert value_of(saver) is None
    assert blobs(database) == 0


def test_nothing_is_left_of_a_thread_that_is_deleted_while_its_run_writes(
    database: PostgresDatabase, saver: DatabaseSaver, run: Run
) -> None:
    mine = saver.fenced("r", 1)
    made, versions = checkpoint(saver, ["value"])
    held = Held(mine._put(HERE, made, {}, versions))

    def delete(tx: Tx) -> None:
        traces.delete_thread(tx, "t")
        threads.remove(tx, "t")

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(database.write_now, held)
        assert held.done.wait(10)
        deleting = pool.submit(database.write_now, delete)
        until_somebody_waits(database)
        held.go.set()
        writing.result(10)
        deleting.result(10)
    with pytest.raises(Superseded):
        put(mine, "later")
    assert rows(database, "SELECT thread_id FROM checkpoints") == []
    assert blobs(database) == 0


def test_writes_of_one_run_do_not_wait_for_each_other(
    database: PostgresDatabase, saver: DatabaseSaver, run: Run
) -> None:
    mine = saver.fenced("r", 1)
    at = put(mine, "x")
    held = Held(mine._put_writes(at, [("value", 1)], "task", ""))
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(database.write_now, held)
        assert held.done.wait(10)
        mine.put_writes(at, [("value", 2)], "other")
        held.go.set()
        writing.result(10)


# ------------------------------------------------------------------------------ the tables


def test_many_that_start_at_once_make_the_tables_once(
    in_new_schema: Callable[[], PostgresDatabase],
) -> None:
    opened = [in_new_schema() for _ in range(6)]
    migrate(opened[0])
    with ThreadPoolExecutor(6) as pool:
        savers = [*pool.map(open_saver, opened)]
    at = put(savers[0], "x")
    assert value_of(savers[5], at) == "x"
    versions = rows(opened[0], "SELECT v FROM checkpoint_migrations ORDER BY v")
    assert versions == [(number,) for number in range(len(PostgresSaver.MIGRATIONS))]


def test_tables_of_an_older_langgraph_are_brought_up_to_date(
    in_new_schema: Callable[[], PostgresDatabase],
) -> None:
    database = in_new_schema()
    migrate(database)

    def older(tx: Tx) -> None:
        for number, migration in enumerate(PostgresSaver.MIGRATIONS[:6]):
            tx.exec_driver_sql(migration)
            tx.exec_driver_sql("INSERT INTO checkpoint_migrations (v) VALUES (%s)", (number,))

    database.write_now(older)
    saver = open_saver(database)
    saver.put_writes(put(saver, "x"), [("value", 1)], "task", "path")
    indexes = rows(database, f"SELECT indexname FROM pg_indexes WHERE schemaname = '{database.schema}'")
    assert ("checkpoint_blobs_thread_id_idx",) in indexes


def test_langgraphs_own_setup_finds_nothing_to_do(theirs: PostgresSaver, database: PostgresDatabase) -> None:
    theirs.setup()
    assert len(rows(database, "SELECT v FROM checkpoint_migrations")) == len(PostgresSaver.MIGRATIONS)


# ------------------------------------------------------------------------------ values apart


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    kept: list[str]


def note(state: State) -> dict[str, list[str]]:
    return {"log": ["note"]}


def graph_on(saver: Any) -> Any:
    return StateGraph(State).add_node(note).add_edge(START, "note").compile(checkpointer=saver)


def config(run_id: str) -> Any:
    return {"configurable": HERE["configurable"], "metadata": {"run_id": run_id}}


async def test_the_values_of_a_deleted_run_go_and_those_before_stay(
    database: PostgresDatabase, saver: DatabaseSaver
) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"log": ["in"], "kept": ["k"]}, config("r1"))
    before = blobs(database)
    await graph.ainvoke({"log": ["again"]}, config("r2"))
    assert blobs(database) > before
    database.write_now(lambda tx: traces.delete_run(tx, "t", "r2"))
    assert blobs(database) == before
    assert (await graph.aget_state(HERE)).values == {"log": ["in", "note"], "kept": ["k"]}


async def test_the_values_of_a_deleted_run_stay_while_another_goes_on_from_them(
    database: PostgresDatabase, saver: DatabaseSaver, run: Run
) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"log": ["in"], "kept": ["k"]}, config("old"))
    loaded: Any = saver.get_tuple(HERE)  # the running one has read it, and will not change `kept`
    database.write_now(lambda tx: traces.delete_run(tx, "t", "old"))
    following: Any = {**loaded.checkpoint, "id": empty_checkpoint()["id"]}
    saver.fenced("r", 1).put(loaded.config, following, {"run_id": "r"}, {})
    assert (await graph.aget_state(HERE)).values == {"log": ["in", "note"], "kept": ["k"]}


async def test_an_update_is_whole_though_its_parent_goes_meanwhile(
    database: PostgresDatabase, saver: DatabaseSaver
) -> None:
    await graph_on(saver).ainvoke({"log": ["in"], "kept": ["k"]}, config("old"))
    staged = StagedSaver(saver, {})
    await graph_on(staged).aupdate_state(HERE, {"log": ["more"]})
    database.write_now(lambda tx: traces.delete_run(tx, "t", "old"))
    assert blobs(database) == 0
    database.write_now(staged.commit)
    found = await graph_on(saver).aget_state(HERE)
    assert found.values == {"log": ["in", "note", "more"], "kept": ["k"]}


def extend(value: list[str], writes: list[list[str]]) -> list[str]:
    return [*value, *(item for write in writes for item in write)]


class Delta(TypedDict, total=False):
    changes: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]


async def test_delta_channels_are_read_as_langgraphs_own_saver_reads_them(
    saver: DatabaseSaver, theirs: PostgresSaver
) -> None:
    def work(state: Delta) -> dict[str, list[str]]:
        return {"changes": [f"work {len(state['changes'])}"]}

    graph = StateGraph(Delta).add_node(work).add_edge(START, "work").compile(checkpointer=saver)
    for number in range(8):
        await graph.ainvoke({"changes": [str(number)]}, HERE)
    for found in saver.list(HERE):
        asked: Any = {"config": found.config, "channels": ["changes"]}
        assert saver.get_delta_channel_history(**asked) == theirs.get_delta_channel_history(**asked)
    assert len((await graph.aget_state(HERE)).values["changes"]) == 16
