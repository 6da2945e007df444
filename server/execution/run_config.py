"""From a run's row to the arguments of its graph: input or command, config, context."""

import importlib.metadata
from typing import Any

from .. import __version__
from ..graph.commands import command
from ..models import Json, Run
from ..rules.users import User

LANGGRAPH_VERSION = importlib.metadata.version("langgraph")


def graph_input(run: Run) -> Any:
    """What the graph is started with: the command that was sent, else the input (contract/runs.md 4, 11)."""
    fields = run.kwargs.get("command")
    return command(fields) if fields else run.kwargs.get("input")


def runnable_config(run: Run, url: str) -> Json:
    """The config the graph runs with (contract/runs.md 3, 4, 6.1: the metadata keys come in this order)."""
    config: Json = dict(run.kwargs["config"])
    config["configurable"] = {**config.get("configurable", {}), **_checkpoint(run)}
    if (known := user_of(run)) is not None:
        config["configurable"]["langgraph_auth_user"] = known
    config["metadata"] = {
        **config.get("metadata", {}),
        "run_attempt": run.attempt,
        "langgraph_version": LANGGRAPH_VERSION,
        "langgraph_api_version": __version__,
        "langgraph_plan": "open-source",
        "langgraph_host": "self-hosted",
        "langgraph_api_url": url,
        "run_id": run.run_id,
        "thread_id": run.thread_id,
    }
    config["run_id"] = run.run_id
    return config


def ids(run: Run) -> dict[str, str | None]:
    """What every line of the log says of a run, also those of its graph's own code."""
    asked = run.kwargs["config"].get("configurable", {})
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "graph_id": run.graph_id,
        "request_id": asked.get("langgraph_request_id"),
        "identity": run.identity,
    }


def user_of(run: Run) -> User | None:
    """In whose name it runs, as graphs know a user (contract/resources.md 10.1)."""
    found = run.kwargs["config"].get("configurable", {}).get("langgraph_auth_user")
    return User({"identity": run.identity, **found}) if found else None


def _checkpoint(run: Run) -> Json:
    """The checkpoint to fork from."""
    checkpoint = run.kwargs.get("checkpoint") or {}
    allowed = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
    return {key: checkpoint[key] for key in allowed if checkpoint.get(key) is not None}
