"""The joke graph with the real langchain-openai client and an OpenAI-compatible server on loopback."""

import pytest
import wire
from fix_openai import Conversation
from fix_server import REPO, RunningServer, Server, run_of

WORDS = ["Two", " scoops", " walk", " into", " a", " bar", "."]


@pytest.fixture
def stream(server: Server, topic: str, model: Conversation) -> wire.Response:
    return server.stream("agent", {"topic": topic}, stream_mode="messages-tuple")


def next_word(stream: wire.Response) -> str:
    while not (content := stream.next("messages").data[0]["content"]):
        pass
    return str(content)


def test_each_word_of_the_model_arrives_before_the_next_is_spoken(
    stream: wire.Response, model: Conversation
) -> None:
    for word in WORDS:
        model.say(word)
        assert next_word(stream) == word
    model.finish()
    assert all(frame.data[0]["content"] == "" for frame in stream.rest())
    assert stream.ended_by == "last chunk"


def test_the_model_is_asked_to_stream_though_the_node_calls_invoke(
    stream: wire.Response, model: Conversation
) -> None:
    asked = model.asked()
    model.finish()
    assert asked["stream"] is True
    assert asked["model"] == "gpt-4o-mini"
    stream.rest()


def test_metadata_names_the_node_and_the_model_call(
    stream: wire.Response, model: Conversation, topic: str
) -> None:
    model.say("Ha")
    metadata = stream.next("messages").data[1]
    model.finish()
    stream.rest()
    assert metadata["langgraph_node"] == "call_model"
    assert metadata["ls_provider"] == "openai"
    assert metadata["ls_model_name"] == "gpt-4o-mini"


def test_the_tokens_add_up_to_the_joke_in_the_state(
    server: Server, stream: wire.Response, model: Conversation, topic: str
) -> None:
    for word in WORDS:
        model.say(word)
    model.finish()
    tokens = [frame.data[0]["content"] for frame in stream.rest() if frame.event == "messages"]
    thread = run_of(stream).split("/")[2]
    assert "".join(tokens) == "".join(WORDS) == server.get(f"/threads/{thread}/state")["values"]["joke"]


def test_all_chunks_of_one_answer_carry_one_message_id(stream: wire.Response, model: Conversation) -> None:
    for word in WORDS:
        model.say(word)
    model.finish()
    ids = {frame.data[0]["id"] for frame in stream.rest() if frame.event == "messages"}
    assert len(ids) == 1


def test_without_a_messages_mode_the_final_state_still_holds_the_joke(
    server: Server, topic: str, model: Conversation
) -> None:
    model.say("Ha!")
    model.finish()
    assert server.wait("agent", {"topic": topic}) == {"topic": topic, "joke": "Ha!"}


def test_an_error_of_the_model_ends_the_run_and_names_itself(server: Server) -> None:
    stream = server.stream("agent", {"topic": "what nobody talks about"}, stream_mode="messages-tuple")
    last = stream.rest()[-1]
    assert last.event == "error"
    assert last.data["error"] in (
        "BadRequestError",
        "OpenAIInvalidRequestError",
    )  # the client's word for a 400
    assert server.get(run_of(stream))["status"] == "error"


def test_the_sample_graphs_tell_the_joke_with_openai_too(
    start_server: RunningServer, openai_environment: dict[str, str], topic: str, model: Conversation
) -> None:
    sample = start_server(REPO / "langgraph.json", **openai_environment, MODEL="openai:gpt-4o-mini")
    stream = sample.stream("agent", {"topic": topic}, stream_mode="messages-tuple")
    model.say("Ha!")
    assert next_word(stream) == "Ha!"
    model.finish()
    stream.rest()
