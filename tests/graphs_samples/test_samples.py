"""Every sample graph, run by LangGraph alone: it streams the words of its model one by one."""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.types import Command

ROOT = Path(__file__).parents[2]
PAUSE_SECONDS = 0.01
THREAD: Any = {"configurable": {"thread_id": "1"}}
INPUTS: dict[str, Any] = {
    "agent": {"topic": "ice cream"},
    "tools": {"messages": [{"role": "user", "content": "Tell me a joke about ice cream, please."}]},
    "subgraph": {"topic": "ice cream"},
    "interrupt": {"topic": "ice cream"},
    "workflow": {"topic": "ice cream"},
}
SPEAKERS = {
    "agent": ["call_model"],
    "tools": ["tools", "agent"],  # the agent's first turn is a tool call without words
    "subgraph": ["write", "critic"],
    "interrupt": ["draft"],
    "workflow": ["write", "explain"],
}

Load = Callable[[str], Pregel]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a sample graph by its id, afresh, so that it sees this test's environment."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delenv("MODEL", raising=False)
    monkeypatch.setenv("OFFLINE_MODEL_PAUSE", str(PAUSE_SECONDS))
    for name in [name for name in sys.modules if name.split(".")[0] == "graphs"]:
        monkeypatch.delitem(sys.modules, name)

    def load_graph(graph_id: str) -> Pregel:
        path, _, variable = targets()[graph_id].partition(":")
        module = importlib.import_module(Path(path).with_suffix("").as_posix().replace("/", "."))
        return getattr(module, variable).copy({"checkpointer": InMemorySaver()})

    return load_graph


def targets() -> dict[str, str]:
    entries = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
    return {graph_id: entry["path"] for graph_id, entry in entries.items()}


def words_of(stream: Any) -> list[tuple[str, str]]:
    """(node, word) of every token with text, in the order of arrival."""
    return [
        (metadata["langgraph_node"], message.content)
        for _, (message, metadata) in stream
        if isinstance(message, AIMessageChunk) and message.content
    ]


def speakers(words: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(node for node, _ in words))


def text_of(words: list[tuple[str, str]], node: str) -> str:
    return "".join(word for speaker, word in words if speaker == node)


def test_the_project_file_names_exactly_these_samples() -> None:
    assert list(targets()) == list(INPUTS)


@pytest.mark.parametrize("graph_id", INPUTS)
def test_a_sample_streams_every_word_as_a_token(load: Load, graph_id: str) -> None:
    stream = load(graph_id).stream(INPUTS[graph_id], THREAD, stream_mode="messages", subgraphs=True)
    words = words_of(stream)
    assert speakers(words) == SPEAKERS[graph_id]
    assert all(len(word.split()) == 1 for _, word in words)
    assert "ice cream" in text_of(words, SPEAKERS[graph_id][0])


@pytest.mark.parametrize("graph_id", INPUTS)
async def test_a_sample_streams_every_word_in_async_too(load: Load, graph_id: str) -> None:
    stream = load(graph_id).astream(INPUTS[graph_id], THREAD, stream_mode="messages", subgraphs=True)
    words = words_of([item async for item in stream])
    assert speakers(words) == SPEAKERS[graph_id]
    assert all(len(word.split()) == 1 for _, word in words)


def test_the_tokens_arrive_while_the_model_is_still_speaking(load: Load) -> None:
    arrivals = [
        time.monotonic() for _ in load("agent").stream(INPUTS["agent"], THREAD, stream_mode="messages")
    ]
    assert len(arrivals) > 5
    assert arrivals[-1] - arrivals[0] >= (len(arrivals) - 2) * PAUSE_SECONDS * 0.9


def test_the_joke_of_the_state_is_the_text_of_the_tokens(load: Load) -> None:
    graph = load("agent")
    words = words_of(graph.stream(INPUTS["agent"], THREAD, stream_mode="messages", subgraphs=True))
    assert graph.get_state(THREAD).values == {"topic": "ice cream", "joke": text_of(words, "call_model")}


def test_the_tool_is_called_with_the_topic_and_its_answer_is_told(load: Load) -> None:
    messages = load("tools").invoke(INPUTS["tools"], THREAD)["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[1].tool_calls[0]["args"] == {"topic": "ice cream"}
    assert messages[2].text in messages[3].text


def test_a_refused_draft_is_written_again_and_an_approved_one_is_the_end(load: Load) -> None:
    graph = load("interrupt")
    asked = graph.invoke(INPUTS["interrupt"], THREAD)["__interrupt__"][0].value
    assert asked["question"] == "Publish this joke?"
    again = words_of(graph.stream(Command(resume=False), THREAD, stream_mode="messages", subgraphs=True))
    assert speakers(again) == ["draft"]
    assert graph.invoke(Command(resume=True), THREAD)["approved"] is True
    assert graph.get_state(THREAD).next == ()


def test_a_named_model_without_its_packages_says_what_to_install(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL", "openai:gpt-4o-mini")
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(RuntimeError, match=r'MODEL="openai:gpt-4o-mini".*pip install langchain'):
        load("agent")


def test_a_named_model_is_made_by_langchain(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "openai:gpt-4o-mini")
    monkeypatch.setenv("OPENAI_API_KEY", "not a key")
    load("agent")
    assert type(sys.modules["graphs.agent"].model).__name__ == "ChatOpenAI"
