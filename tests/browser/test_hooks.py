"""Each React hook in a real Chromium, against the real server on another origin: what a person sees."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from fix_browser import Open, Page
from fix_cutter import MakeCutter
from fix_gate import Gate
from fix_server import Server

HOOKS: dict[str, tuple[str, dict[str, str]]] = {
    "useStream 1.15": ("sdk-1", {}),
    "useStream 2.0": ("sdk-2", {}),
    "react 1.1": ("react-1", {}),
    "react 1.1 over a WebSocket": ("react-1", {"transport": "websocket"}),
}


@dataclass(frozen=True)
class Hook:
    """A page with one of the hooks."""

    open_page: Open
    name: str
    query: dict[str, str]
    api: str

    def open(self, assistant: str, graph_input: dict[str, Any] | None = None, **query: str) -> Page:
        more = {"api": self.api, "assistant": assistant, "input": graph_input or {}}
        return self.open_page(self.name, **more, **self.query, **query)


@pytest.fixture(params=HOOKS)
def hook(request: pytest.FixtureRequest, open_page: Open, server: Server) -> Hook:
    name, query = HOOKS[request.param]
    return Hook(open_page, name, query, server.url)


def test_words_appear_while_the_model_is_still_speaking(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held", graph_input)
    page.say("hi")
    speaker = gate.node(graph_input)
    for words, word in (("one ", "one "), ("one two ", "two "), ("one two three", "three")):
        speaker.say(word)
        shown = page.until_messages(("human", "hi"), ("ai", words))
        assert shown["loading"]
    speaker.finish()
    done = page.until("!s.loading")
    assert done["messages"] == [["human", "hi"], ["ai", "one two three"]]
    assert done["error"] is None


def test_a_tool_is_called_and_its_answer_used(hook: Hook) -> None:
    page = hook.open("tools")  # which asks a model itself: that is no message of the chat
    page.say("ice?")
    done = page.until("!s.loading && s.messages.at(-1)[1] === 'Done: ok'")
    assert done["messages"] == [["human", "ice?"], ["ai", ""], ["tool", "inner answer"], ["ai", "Done: ok"]]
    assert done["calls"] == ['research({"q":"ice"})']


def test_the_progress_of_a_tool_is_shown(open_page: Open, server: Server) -> None:
    """`toolProgress` of the hook asks for the stream mode `tools`, which the reference refuses."""
    page = Hook(open_page, "sdk-1", {}, server.url).open("tools_plain")
    page.say("ice?")
    page.until_text("#progress", "research completed")


def test_a_question_is_asked_and_the_run_goes_on_with_the_answer(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held_confirming", graph_input)
    page.say("hi")
    asked = page.until("s.question && !s.loading")
    assert asked["question"] == ["which way?"]
    page.click("yes")
    speaker = gate.node(graph_input)
    speaker.say("left")
    assert page.until("s.loading && !s.question")
    speaker.finish()
    page.until_messages(("human", "hi"), ("human", "yes"), ("ai", "left"))
    done = page.until("!s.loading")
    assert done["question"] is None


def test_a_question_outlives_a_reload(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held_confirming", graph_input)
    page.say("hi")
    page.until("s.question && !s.loading")
    page.reload()
    assert page.until("s.question && !s.loading")["question"] == ["which way?"]
    page.click("yes")
    speaker = gate.node(graph_input)
    speaker.say("left")
    speaker.finish()
    page.until_messages(("human", "hi"), ("human", "yes"), ("ai", "left"))


def test_a_model_that_fails_is_shown_as_an_error(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held", graph_input)
    page.say("hi")
    speaker = gate.node(graph_input)
    speaker.say("half ")
    page.until_messages(("human", "hi"), ("ai", "half "))
    speaker.fail("model exploded")
    assert "model exploded" in page.until("!s.loading && s.error")["error"]


def test_a_subgraph_speaks_under_its_own_name(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held_outer", graph_input)
    page.say("hi")
    speaker = gate.node(graph_input)
    speaker.say("from within")
    speaker.finish()
    done = page.until("!s.loading && s.messages.length === 2")
    assert done["messages"] == [["human", "hi"], ["ai", "from within"]]
    assert page.until("s.namespaces.length")["namespaces"] == ["inner"]


def test_stop_ends_the_model_and_keeps_what_was_said(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held", graph_input)
    page.say("hi")
    speaker = gate.node(graph_input)
    speaker.say("half ")
    page.until_messages(("human", "hi"), ("ai", "half "))
    page.click("stop")
    assert speaker.hear() == "cancelled"
    assert page.until("!s.loading")["error"] is None


def test_a_page_that_is_reloaded_in_mid_run_shows_every_word_and_goes_on(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held", graph_input)
    page.say("hi")
    speaker = gate.node(graph_input)
    speaker.say("one ")
    page.until_messages(("human", "hi"), ("ai", "one "))
    page.reload()
    page.until_messages(("human", "hi"), ("ai", "one "))
    speaker.say("two")
    page.until_messages(("human", "hi"), ("ai", "one two"))
    speaker.finish()
    done = page.until("!s.loading")
    assert done["messages"] == [["human", "hi"], ["ai", "one two"]]
    assert len(set(done["ids"])) == 2


def test_a_page_whose_connections_break_in_mid_run_goes_on(
    hook: Hook, gate: Gate, proxy_to: MakeCutter, server: Server
) -> None:
    proxy, graph_input = proxy_to(server.port), gate.input()
    page = replace(hook, api=proxy.url).open("held", graph_input)
    page.say("hi")
    speaker = gate.node(graph_input)
    speaker.say("one ")
    page.until_messages(("human", "hi"), ("ai", "one "))
    assert proxy.cut_now()
    speaker.say("two ")
    page.until_messages(("human", "hi"), ("ai", "one two "))
    speaker.say("three")
    speaker.finish()
    done = page.until("!s.loading")
    assert done["messages"] == [["human", "hi"], ["ai", "one two three"]]
    assert done["error"] is None


def test_a_second_turn_follows_the_first(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held", graph_input)
    said = []
    for question, answer in (("first", "1"), ("second", "2")):
        page.say(question)
        speaker = gate.node(graph_input)
        speaker.say(answer)
        said += [("human", question), ("ai", answer)]
        page.until_messages(*said)
        speaker.finish()
        assert page.until("!s.loading")["messages"] == [list(message) for message in said]
    assert len(set(page.until("true")["ids"])) == 4


def test_two_models_that_speak_at_once_are_kept_apart(hook: Hook, gate: Gate) -> None:
    graph_input = gate.input()
    page = hook.open("held_parallel", graph_input)
    page.say("hi")
    left, right = (gate.node({"key": f"{graph_input['key']}-{side}"}) for side in ("left", "right"))
    for number in range(3):
        left.say(f"l{number} ")
        right.say(f"r{number} ")
    texts = "s.messages.filter(m => m[0] === 'ai').map(m => m[1]).sort().join('|')"
    page.until(f"{texts} === 'l0 l1 l2 |r0 r1 r2 '")
    right.finish()
    left.finish()
    done = page.until("!s.loading")
    assert sorted(done["messages"]) == [["ai", "l0 l1 l2 "], ["ai", "r0 r1 r2 "], ["human", "hi"]]
    assert len(set(done["ids"])) == 3
