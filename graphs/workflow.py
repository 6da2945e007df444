"""The functional API: an entrypoint and its tasks, without nodes and edges."""

from typing import TypedDict

from langgraph.func import entrypoint, task

from graphs.models import chat_model


class Request(TypedDict):
    topic: str


class Result(TypedDict):
    joke: str
    explanation: str


model = chat_model()


@task
def write(topic: str) -> str:
    return model.invoke(f"Tell me a joke about {topic}").text


@task
def explain(joke: str) -> str:
    return model.invoke(f"Explain in one sentence why this is funny: {joke}").text


@entrypoint()
def workflow(request: Request) -> Result:
    joke = write(request["topic"]).result()
    return {"joke": joke, "explanation": explain(joke).result()}
