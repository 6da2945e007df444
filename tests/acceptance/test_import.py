"""`graphwire import`: threads that LangGraph's own checkpointers kept go on here, with their whole past."""

import importlib.util
import json
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from fix_cli import graphwire
from fix_engine import Engine
from fix_postgres import Postgres
from fix_server import Server, start, stop
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

GRAPH = """
from dataclasses import dataclass
from typing import Annotated, Any
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

@dataclass
class Mood:
    name: str
    levels: tuple[int, ...]

class State(MessagesState):
    mood: Mood
    blob: bytes
    odd: Any

def answer(state):
    said = state["messages"][-1].content
    return {"messages": [AIMessage(f"You said {said}")], "mood": Mood(said, (1, 2)),
            "blob": b"\\x00\\xff", "odd": {1: {"a"}, "n": None, "f": 1.5, "t": "x" * 2000}}

def ask(state):
    if "ask" in state["messages"][0].content:
        return {"messages": [AIMessage("heard " + interrupt({"really": "?"}))]}

inner = StateGraph(State).add_node(answer).add_edge(START, "answer").compile()
builder = StateGraph(State).add_node("inner", inner).add_node(ask)
builder.add_edge(START, "inner").add_edge("inner", "ask")
graph = builder.compile()
"""
from_sqlite = pytest.mark.parametrize("theirs", ["sqlite"], indirect=True)  # the same on both
FIRST, WAITING, NAMED = str(uuid.uuid4()), str(uuid.uuid4()), "user-42"


@dataclass(frozen=True)
class Theirs:
    """A project, and what LangGraph's saver kept of its threads."""

    config: Path
    address: str
    module: ModuleType
    open: Callable[[], Any]

    def history(self, thread_id: str) -> list[Any]:
        with self.open() as saver:
            graph = self.module.builder.compile(checkpointer=saver)
            return list(graph.get_state_history({"configurable": {"thread_id": thread_id}}))


def module_of(file: Path) -> ModuleType:
    """Imported under the name that a user's own script would use."""
    spec = importlib.util.spec_from_file_location("talk", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["talk"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_sqlite(folder: Path) -> tuple[str, Callable[[], Any]]:
    path = folder / "theirs.sqlite"
    return str(path), lambda: SqliteSaver.from_conn_string(str(path))


def in_postgres(postgres: Postgres, schema: str) -> tuple[str, Callable[[], Any]]:
    with psycopg.connect(postgres.uri, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    uri = f"{postgres.uri}?options=-csearch_path%3D{schema}"

    @contextmanager
    def open_() -> Iterator[PostgresSaver]:
        with PostgresSaver.from_conn_string(uri) as saver:
            saver.setup()
            yield saver

    return uri, open_


@pytest.fixture(params=["sqlite", "postgres"])
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Theirs]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "talk.py").write_text(GRAPH)
    config = project / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"talk": "./talk.py:graph", "other": "./talk.py:inner"}}))
    module = module_of(project / "talk.py")
    if request.param == "sqlite":
        address, open_ = in_sqlite(tmp_path)
    else:
        name = request.getfixturevalue("new_schema")()
        address, open_ = in_postgres(request.getfixturevalue("postgres"), name)
    with open_() as saver:
        graph = module.builder.compile(checkpointer=saver)

        def say(thread_id: str, words: str) -> None:
            config: Any = {"configurable": {"thread_id": thread_id}}
            graph.invoke({"messages": [("user", words)]}, config, durability="sync")

        for words in ("one", "two"):
            say(FIRST, words)
        say(NAMED, "hello")
        say(WAITING, "please ask")
    yield Theirs(config, address, module, open_)
    del sys.modules["talk"]


@pytest.fixture
def take(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: Theirs
) -> Callable[..., Any]:
    """The command, into the database of the servers in this folder."""
    for name, text in engine.environment(tmp_path / "ours").items():
        monkeypatch.setenv(name, text)
    (tmp_path / "ours").mkdir()
    return lambda *flags: graphwire("import", theirs.address, "--config", theirs.config, *flags)


@pytest.fixture
def serve(engine: Engine, tmp_path: Path, theirs: Theirs) -> Iterator[Callable[[], Server]]:
    started: list[Server] = []

    def start_one() -> Server:
        started.append(start(tmp_path / "ours", theirs.config, engine=engine))
        return started[-1]

    yield start_one
    for server in started:
        stop(server)


def test_threads_come_with_their_whole_past_and_go_on(
    take: Callable[..., Any], serve: Callable[[], Server], theirs: Theirs
) -> None:
    done = take("--graph", "talk", "--metadata", "from=elsewhere")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "3 threads with" in done.stdout
    assert "1 have another id here" in done.stdout
    server = serve()

    found = server.post("/threads/search", {"metadata": {"imported_thread_id": NAMED, "from": "elsewhere"}})
    assert [thread["metadata"]["graph_id"] for thread in found] == ["talk"]
    assert found[0]["values"]["messages"][-1]["content"] == "You said hello"

    for source_id, thread_id in ((FIRST, FIRST), (NAMED, found[0]["thread_id"]), (WAITING, WAITING)):
        past = theirs.history(source_id)
        ours = server.post(f"/threads/{thread_id}/history", {"limit": 100})
        assert [state["checkpoint"]["checkpoint_id"] for state in ours] == [
            state.config["configurable"]["checkpoint_id"] for state in past
        ]
        for mine, state in zip(ours, past, strict=True):
            assert mine["next"] == list(state.next)
            assert mine["metadata"]["step"] == state.metadata["step"]
            assert [message["content"] for message in mine["values"].get("messages", [])] == [
                message.content for message in state.values.get("messages", [])
            ]
            assert [task["name"] for task in mine["tasks"]] == [task.name for task in state.tasks]
            assert [task["result"] is None for task in mine["tasks"]] == [
                task.result is None for task in state.tasks
            ]
    values = server.get(f"/threads/{FIRST}/state")["values"]
    assert values["mood"] == {"name": "two", "levels": [1, 2]}
    assert values["odd"] == {"1": ["a"], "n": None, "f": 1.5, "t": "x" * 2000}

    again = server.wait("talk", {"messages": [{"role": "user", "content": "three"}]}, FIRST)
    assert [message["content"] for message in again["messages"]][-4:] == [
        "two",
        "You said two",
        "three",
        "You said three",
    ]
    assert server.get(f"/threads/{WAITING}")["status"] == "interrupted"
    answered = server.wait("talk", None, WAITING, command={"resume": "yes"})
    assert answered["messages"][-1]["content"] == "heard yes"
    oldest = server.post(f"/threads/{FIRST}/history", {"limit": 100})[-2]["checkpoint"]["checkpoint_id"]
    forked = server.wait("talk", None, FIRST, checkpoint_id=oldest)
    assert [message["content"] for message in forked["messages"]] == ["one", "You said one"]


@pytest.mark.embedded
@from_sqlite
def test_the_command_can_be_repeated_and_says_in_advance_what_it_will_do(
    take: Callable[..., Any], theirs: Theirs
) -> None:
    tried = take("--graph", "talk", "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert "would be taken over" in tried.stdout
    assert "3 threads" in take("--graph", "talk").stdout
    with theirs.open() as saver:
        graph = theirs.module.builder.compile(checkpointer=saver)
        graph.invoke({"messages": [("user", "new")]}, {"configurable": {"thread_id": str(uuid.uuid4())}})
    again = take("--graph", "talk")
    assert again.returncode == 0
    assert again.stdout.startswith("1 thread with")
    assert "3 were here already" in again.stdout


@pytest.mark.embedded
@from_sqlite
def test_a_thread_of_no_graph_is_told_and_the_others_come(take: Callable[..., Any], theirs: Theirs) -> None:
    with theirs.open() as saver:
        graph = theirs.module.builder.compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "told"}, "metadata": {"graph_id": "talk"}}
        graph.invoke({"messages": [("user", "new")]}, config)
    done = take()
    assert done.returncode == 1
    assert done.stdout.startswith("1 thread with")
    told = "its checkpoints do not say of which graph they are: name one that is served with --graph"
    assert sorted(done.stderr.splitlines()) == sorted(
        f"thread {name}: {told}" for name in (FIRST, WAITING, NAMED)
    )


@pytest.mark.embedded
@from_sqlite
def test_what_is_pickled_is_never_read(take: Callable[..., Any], theirs: Theirs) -> None:
    with sqlite3.connect(theirs.address) as connection:
        changed = connection.execute(
            "UPDATE checkpoints SET type = 'pickle', checkpoint = ? WHERE thread_id = ?",
            (b"cos\nsystem\n", FIRST),
        )
        assert changed.rowcount
    done = take("--graph", "talk")
    assert done.returncode == 1
    assert f"thread {FIRST}: it holds pickled objects" in done.stderr
    assert done.stdout.startswith("2 threads with")


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("address", "flags", "said"),
    [
        ("nothing.sqlite", [], "nothing.sqlite is no file: name a SQLite file or a URI"),
        ("langgraph.json", [], "cannot read langgraph.json: file is not a database"),
        ("empty.sqlite", [], "there are no checkpoints of LangGraph there"),
        ("postgresql://me:secret@127.0.0.1:1/x", [], "cannot read postgresql://127.0.0.1:1/x"),
        ("empty.sqlite", ["--graph", "none"], 'there is no graph "none"'),
        ("empty.sqlite", ["--metadata", "x"], "write KEY=VALUE"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_and_without_passwords(
    tmp_path: Path, address: str, flags: list[str], said: str
) -> None:
    (tmp_path / "talk.py").write_text(GRAPH)
    config = tmp_path / "langgraph.json"
    config.write_text('{"graphs": {"talk": "./talk.py:graph"}}')
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    source = address if "://" in address else str(tmp_path / address)
    done = graphwire("import", source, "--config", config, *flags)
    assert done.returncode == 2
    assert said in done.stderr.replace(f"{tmp_path}/", "")
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr
