"""Emits the given texts as tokens of a model, as custom events and as state.

Texts are JSON literals, so that even a lone surrogate, which no request may carry, can be asked for.
`times` repeats each text.
"""

import json
from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from scripted import says


class State(TypedDict, total=False):
    texts: list[str]
    times: int
    pause: float
    out: str


async def speak(state: State):
    tokens = [json.loads(text) * state.get("times", 1) for text in state["texts"]]
    write = get_stream_writer()
    for token in tokens:
        write(token)
    answer = await says(*tokens, pause=state.get("pause", 0.0)).ainvoke("x")
    return {"out": answer.content}


graph = StateGraph(State).add_node(speak).add_edge(START, "speak").compile()
