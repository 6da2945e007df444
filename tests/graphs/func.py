"""The functional API: a task that asks a model."""

from langgraph.func import entrypoint, task
from scripted import text


@task
def write_joke(topic: str) -> str:
    return text("fn ", topic)


@entrypoint()
def graph(topic: str, *, previous: str | None = None) -> dict[str, str | None]:
    return {"joke": write_joke(topic).result(), "previous": previous}
