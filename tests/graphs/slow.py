"""Tokens with a pause between them, then a second node. `blocky` pauses in a sync node."""

import asyncio
import time
from typing import TypedDict

from langgraph.graph import START, StateGraph
from scripted import says


class State(TypedDict, total=False):
    n: int
    pause: float
    out: str
    done: bool


async def talk(state: State):
    tokens = [f"w{number} " for number in range(state.get("n", 5))]
    answer = await says(*tokens, pause=state.get("pause", 0.0)).ainvoke("x")
    return {"out": answer.content}


async def end(state: State):
    await asyncio.sleep(state.get("pause", 0.0))
    return {"done": True}


def first(state: State):
    time.sleep(state.get("pause", 0.0))
    return {"out": "first"}


def second(state: State):
    return {"done": True}


graph = StateGraph(State).add_sequence([talk, end]).add_edge(START, "talk").compile()
blocky = StateGraph(State).add_sequence([first, second]).add_edge(START, "first").compile()
