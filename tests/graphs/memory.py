"""Remembers facts about users in the store: one node writes, a synchronous one looks for them."""

from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore


class State(TypedDict, total=False):
    user: str
    fact: str
    query: str
    filter: dict[str, Any]
    found: list[Any]


async def remember(state: State, *, store: BaseStore) -> None:
    if "fact" in state:
        await store.aput(("facts", state["user"]), state["fact"], {"text": state["fact"]})


def recall(state: State, *, store: BaseStore) -> State:
    found = store.search(("facts", state["user"]), query=state.get("query"), filter=state.get("filter"))
    return {"found": [[item.key, item.value, item.score] for item in found]}


graph = StateGraph(State).add_sequence([remember, recall]).add_edge(START, "remember").compile()
