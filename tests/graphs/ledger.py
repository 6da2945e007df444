"""Steps that keep a book of themselves (fix_ledger.py): which run, attempt and process did what when."""

import asyncio
import json
import operator
import os
import time
from typing import Annotated, Literal, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command


class State(TypedDict, total=False):
    ledger: str
    steps: int
    pause: float
    next: int  # an input begins with step 0
    done: Annotated[dict[str, int], operator.or_]  # run -> how many of its steps are done


def enter(path: str, config: RunnableConfig, step: int, what: str) -> None:
    """One line, written at once: the system keeps it whoever dies next."""
    fields = {
        "what": what,
        "run": config["configurable"]["run_id"],
        "thread": config["configurable"]["thread_id"],
        "attempt": config["metadata"]["run_attempt"],
        "step": step,
        "pid": os.getpid(),
        "at": time.monotonic(),  # the same clock in every process of a machine
    }
    ledger = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(ledger, f"{json.dumps(fields)}\n".encode())
    finally:
        os.close(ledger)


async def step(state: State, config: RunnableConfig) -> Command[Literal["step", "__end__"]]:
    run = config["configurable"]["run_id"]
    number = state["next"]
    enter(state["ledger"], config, number, "begin")
    try:
        await asyncio.sleep(state.get("pause", 0))
    except asyncio.CancelledError:
        enter(state["ledger"], config, number, "cancelled")
        raise
    enter(state["ledger"], config, number, "end")
    last = number + 1 >= state.get("steps", 1)
    return Command(update={"next": number + 1, "done": {run: number + 1}}, goto="__end__" if last else "step")


graph = StateGraph(State).add_node(step).add_edge(START, "step").compile()
