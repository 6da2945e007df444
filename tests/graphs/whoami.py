"""A graph that tells in whose name it runs, and a factory that tells it while it is asked."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph_sdk import get_client


class State(TypedDict, total=False):
    told: dict[str, Any]


def tell(state: State, config: RunnableConfig, runtime: Runtime[Any]) -> State:
    inner = config["configurable"]
    user = inner["langgraph_auth_user"]
    info = runtime.server_info
    told: dict[str, Any] = {
        "user": None if user is None else dict(user),
        "user_id": inner["user_id"],
        "auth_user_id": inner["langgraph_auth_user_id"],
        "permissions": inner["langgraph_auth_permissions"],
        "smuggled": sorted(key for key in inner if "smuggled" in key),
        "server_info": info.user.identity if info is not None and info.user is not None else None,
    }
    if user is not None:
        told["same"] = [user.identity, user["identity"], user.get("identity"), user.display_name]
        told["authenticated"] = user.is_authenticated and user["is_authenticated"]
        told["has"] = ["email" in user, "nothing" in user, "email" in list(user.keys())]
        told["email"] = [user.get("email"), getattr(user, "email", None)]
    return {"told": told}


builder = StateGraph(State)
builder.add_node("tell", tell)
builder.add_edge(START, "tell")
builder.add_edge("tell", END)
graph = builder.compile()


def made(config: RunnableConfig) -> Any:
    """A factory, which is called for reads too."""
    user = config["configurable"].get("langgraph_auth_user")
    return builder.compile(name=f"for_{user.identity}" if user is not None else "for_nobody")


async def call_within(state: State) -> State:
    """Ask the server in whose process this runs, with no token."""
    client = get_client()
    thread = await client.threads.create(metadata={"made": "within"})
    found = await client.threads.search(ids=[thread["thread_id"]])
    return {"told": {"thread_id": thread["thread_id"], "found": len(found)}}


within = StateGraph(State).add_node("call", call_within).add_edge(START, "call").compile()
