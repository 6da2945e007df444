"""Graphs to look at: schemas of all kinds, and factories that do well and badly."""

import operator
import socket
from dataclasses import dataclass
from typing import Annotated, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk.runtime import ServerRuntime


class Item(TypedDict):
    price: int


class Question(TypedDict):
    """What is asked."""

    topic: str


class State(Question, total=False):
    items: Annotated[list[Item], operator.add]
    line: socket.socket


class Settings(TypedDict, total=False):
    model: str


@dataclass
class Undescribable:
    line: socket.socket


def count(state):
    return {"items": [{"price": 1}]}


def _graph(context_schema=None, node="count"):
    builder = StateGraph(State, input_schema=Question, context_schema=context_schema)
    return builder.add_node(node, count).add_edge(START, node).compile()


counter = _graph(Settings)
odd = _graph(Undescribable)


def factory(config: RunnableConfig, runtime: ServerRuntime):
    """A graph whose node is named by the assistant, and says who was asked and what for."""
    configurable = config["configurable"]
    forged = configurable.get("langgraph_auth_user", "nobody")
    settings = Settings if configurable.get("settings") else None
    return _graph(settings, node=f"{configurable.get('node', 'plain')} {runtime.access_context} {forged}")


def not_a_graph():
    return 5


def raises():
    raise ValueError("the key is missing")


def exits():
    raise SystemExit(3)
