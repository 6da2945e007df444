"""Commands: one JSON object in, one out; a refusal is an answer too (contract/protocol-v2.md 2)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from ...api.requests import validate
from ...api.responses import status_of
from ...api.schemas.runs import RunCreate
from ...clock import now
from ...errors import (
    Contradiction,
    GraphwireError,
    Invalid,
    NoSuchInterrupt,
    NotFound,
    NotWaiting,
)
from ...models import Caller, HistoryRequest, Json, Place, RunRequest, StateRequest, ThreadStatus
from ...services import Services
from ...streaming.broker import BEGINNING
from ...streaming.encode import decode
from .events import last_sequence

_log = structlog.get_logger(__name__)

MALFORMED = "Protocol commands must include an integer id and string method."
ANSWERS_MAX = 1_000
CHECKPOINTS, CHECKPOINTS_MAX = 10, 100
# What clients of the older protocol see of a run of this one.
MODES = ["values", "updates", "messages-tuple", "custom"]
_SUMMARY = ("checkpoint_id", "created_at", "metadata")
_SERVERS_OWN = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")
_TREE = {ThreadStatus.busy: "running", ThreadStatus.idle: "completed", ThreadStatus.error: "failed"}


class Refused(Exception):
    """A command that is answered with an error: its code and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def refusal(command_id: Any, code: str, message: str) -> Json:
    """The answer to a command that is refused; `command_id` is None where there was none to be read."""
    return {"type": "error", "id": command_id, "error": code, "message": message}


def success(command_id: int, result: Json, seq: int) -> Json:
    """The answer to a command that was carried out; `seq`: all before it is older than the command."""
    return {"type": "success", "id": command_id, "result": result, "meta": {"applied_through_seq": seq}}


def is_command(value: Any) -> bool:
    """Whether a value has the form of a command."""
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        return False
    return _is_id(value.get("id"))


def malformed(value: Any) -> Json:
    """The answer to what is no command: with its id if it has anything like one."""
    given = value.get("id") if isinstance(value, dict) else None
    return refusal(given if _is_id(given) or isinstance(given, str) else None, "invalid_argument", MALFORMED)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands of one caller on one thread. Those about subscriptions are the socket's (socket.py)."""

    services: Services
    caller: Caller
    thread_id: str
    headers: Json = field(default_factory=dict)  # that the call brings to its runs

    async def answer(self, command: Json, others: "Mapping[str, Method] | None" = None) -> Json:
        """The answer to a command, also where it is refused. `others`: methods of whoever asks."""
        command_id, method, params = command["id"], command["method"], command.get("params")
        try:
            found = {**self._methods(), **(others or {})}.get(method)
            if found is None:
                raise Refused("unknown_command", f"Unknown protocol command: {method[:100]}")
            if not isinstance(params, dict | None):
                raise Refused("invalid_argument", "params must be an object.")
            seq = await self._sequence()
            return success(command_id, await found(params or {}), seq)
        except Refused as refused:
            return refusal(command_id, refused.code, str(refused))
        except GraphwireError as failure:
            return refusal(command_id, _code(failure), failure.message)
        except Exception as failure:
            _log.error("command failed", method=method, exc_info=failure)
            return refusal(command_id, "unknown_error", "Internal Server Error")

    async def _sequence(self) -> int:
        """What has happened by now; of somebody else's thread nothing, as of one that is not there."""
        try:
            return last_sequence(await self.services.readers.watch_events(self.caller, self.thread_id))
        except NotFound:
            return last_sequence(BEGINNING)

    def _methods(self) -> "dict[str, Method]":
        return {
            "run.start": self._start,
            "input.respond": self._respond,
            "input.inject": _not_supported,
            "agent.getTree": self._tree,
            "state.get": self._state,
            "state.listCheckpoints": self._checkpoints,
            "state.fork": self._fork,
            "subscription.subscribe": _no_effect,
            "subscription.unsubscribe": _unknown_subscription,
            "subscription.reconnect": _not_supported,
        }

    async def _start(self, params: Json) -> Json:
        if not params.get("assistant_id"):
            raise Refused("invalid_argument", "run.start requires an assistant_id.")
        asked = replace(_run_request(params), headers=self.headers)
        run = await self.services.answers.start(self.caller, self.thread_id, asked)
        return {"run_id": run.run_id}

    async def _respond(self, params: Json) -> Json:
        answers = _answers(params)
        thread = await self._thread()
        assistant = thread.get("assistant_id") or thread.get("graph_id")
        if assistant is None:
            raise NotWaiting
        command = {key: params[key] for key in ("update", "goto") if params.get(key) is not None}
        request = _run_request({**params, "assistant_id": assistant}, command)
        request = replace(request, headers=self.headers)
        run = await self.services.answers.respond(self.caller, self.thread_id, answers, request)
        return {"run_id": run.run_id}

    async def _thread(self) -> Json:
        try:
            return (await self.services.threads.get(self.caller, self.thread_id)).metadata
        except NotFound:
            raise NotWaiting from None

    async def _tree(self, params: Json) -> Json:
        try:
            thread = await self.services.threads.get(self.caller, self.thread_id)
        except NotFound:
            raise Refused("no_such_run", "Nothing has run on this thread.") from None
        graph = thread.metadata.get("graph_id")
        status = _TREE.get(thread.status, str(thread.status))
        return {"tree": {"namespace": [], "status": status, "graph_name": graph}}

    async def _state(self, params: Json) -> Json:
        place = Place(_namespace(params))
        try:
            found = await self.services.state.get(self.caller, self.thread_id, StateRequest(place))
        except NotFound as missing:
            raise Refused("no_such_namespace", missing.message) from None
        state = decode(found)
        values, keys = state["values"], params.get("keys")
        if isinstance(keys, list) and isinstance(values, dict):
            values = {key: values[key] for key in keys if isinstance(key, str) and key in values}
        at = state.get("checkpoint_id")
        return {"values": values, **({"checkpoint": {"id": at, "ns": place.namespace}} if at else {})}

    async def _checkpoints(self, params: Json) -> Json:
        limit, before = params.get("limit", CHECKPOINTS), params.get("before")
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= CHECKPOINTS_MAX:
            raise Refused("invalid_argument", f"limit must be from 1 to {CHECKPOINTS_MAX}.")
        if not isinstance(before, str | None):
            raise Refused("invalid_argument", "before must be the id of a checkpoint.")
        asked = HistoryRequest(limit, Place(_namespace(params)), before, select=_SUMMARY)
        found = decode(await self.services.state.history(self.caller, self.thread_id, asked))
        return {"checkpoints": [_summary(state) for state in found]}

    async def _fork(self, params: Json) -> Json:
        checkpoint_id = params.get("checkpoint_id")
        if not isinstance(checkpoint_id, str):
            raise Refused("invalid_argument", "state.fork requires a checkpoint_id.")
        thread = await self._thread()
        try:
            at = StateRequest(Place(checkpoint_id=checkpoint_id))
            await self.services.state.get(self.caller, self.thread_id, at)
        except NotFound as missing:
            raise Refused("no_such_checkpoint", missing.message) from None
        assistant = thread.get("assistant_id") or thread.get("graph_id")
        config = dict(_object(params.get("config")))
        config["configurable"] = {
            **_object(config.get("configurable")),
            "checkpoint_id": checkpoint_id,
        }
        request = _run_request({**params, "assistant_id": assistant, "config": config})
        run = await self.services.answers.start(self.caller, self.thread_id, request)
        return {"run_id": run.run_id, "thread_id": self.thread_id}


Method = Callable[[Json], Awaitable[Json]]


async def _not_supported(params: Json) -> Json:
    raise Refused("not_supported", "This server does not support this command.")


async def _no_effect(params: Json) -> Json:
    """Over HTTP there is nothing that could be subscribed: the stream has its subscription with it."""
    return {"subscription_id": "http", "replayed_events": 0}


async def _unknown_subscription(params: Json) -> Json:
    raise Refused("no_such_subscription", f"Unknown subscription: {str(params.get('subscription_id'))[:100]}")


def _run_request(params: Json, command: Json | None = None) -> RunRequest:
    """The run that a command asks for. Raises Invalid, which names the field."""
    config = dict(_object(params.get("config")))
    configurable = dict(_object(config.pop("configurable", None)))
    checkpoint = {key: configurable.get(key) for key in _SERVERS_OWN[1:] if configurable.get(key)}
    settings = {key: value for key, value in configurable.items() if key not in _SERVERS_OWN}
    strategy = params.get("multitask_strategy") or params.get("multitaskStrategy")
    body = {
        "assistant_id": params.get("assistant_id"),
        "input": params.get("input"),
        "command": command or None,
        "config": {**config, **({"configurable": settings} if settings else {})},
        "context": params.get("context"),
        "metadata": params.get("metadata"),
        "checkpoint": checkpoint or None,
        "interrupt_before": params.get("interrupt_before") or params.get("interruptBefore"),
        "interrupt_after": params.get("interrupt_after") or params.get("interruptAfter"),
        "durability": params.get("durability"),
        "webhook": params.get("webhook"),
        "multitask_strategy": strategy,
        "stream_mode": MODES,
        "stream_subgraphs": True,
        "stream_resumable": True,
        "if_not_exists": "create",
    }
    return replace(validate(RunCreate, body).to_request(), arrived_at=now())


def _answers(params: Json) -> Json:
    """{id of an interrupt: its answer} of a command, which gives one or several."""
    given = params["responses"] if params.get("responses") is not None else [params]
    if not isinstance(given, list) or not 1 <= len(given) <= ANSWERS_MAX:
        raise Refused("invalid_argument", f"responses must be an array of 1 to {ANSWERS_MAX} objects.")
    found: Json = {}
    for item in given:
        key = item.get("interrupt_id") if isinstance(item, dict) else None
        if not isinstance(key, str) or not key:
            raise Refused("invalid_argument", "input.respond requires an interrupt_id.")
        if key in found:
            raise Refused("invalid_argument", f"interrupt_id: {key[:100]} is answered twice.")
        found[key] = item.get("response")
    return found


def _namespace(params: Json) -> str:
    found = params.get("namespace") or []
    if not isinstance(found, list) or not all(isinstance(segment, str) for segment in found):
        raise Refused("invalid_argument", "namespace must be an array of strings.")
    return "|".join(found)


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _summary(state: Json) -> Json:
    metadata = state.get("metadata") or {}
    return {
        "id": state.get("checkpoint_id"),
        "timestamp": state.get("created_at"),
        "step": metadata.get("step"),
        "metadata": metadata,
    }


def _code(failure: GraphwireError) -> str:
    if isinstance(failure, NoSuchInterrupt):
        return "no_such_interrupt"
    if isinstance(failure, NotWaiting):
        return "no_such_run"
    if isinstance(failure, NotFound | Invalid | Contradiction):
        return "invalid_argument"
    return "permission_denied" if status_of(failure) in (401, 403) else "unknown_error"
