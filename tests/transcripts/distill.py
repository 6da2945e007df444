"""Recorded transcripts → small fixtures: `python tests/transcripts/distill.py <folder of NN-*.txt>`.

A fixture holds, for each thread of a recording, the run requests and their answers. Chance is taken out:

- every UUID and every interrupt id becomes `<n>`: it must stand for the same id wherever it appears;
- times become `<time>`, versions `<any>`;
- `"~": true` in an object means that it may have more keys: the recording was shortened there, or the
  server's own metadata was taken out. The server's keys in `configurable` are dropped: ours leaks none.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# recording → labels of the requests to leave out: they show a defect of the reference, or cannot be repeated
RECORDINGS: dict[str, tuple[str, ...]] = {
    "01-basic-stream-values": (),
    **{
        f"02-mode-{mode}-{graph}": ()
        for graph in ("joke", "chat")
        for mode in (
            "values",
            "updates",
            "messages",
            "messages-tuple",
            "custom",
            "debug",
            "tasks",
            "checkpoints",
            "events",
        )
    },
    "03-multi-mode-order": (),
    "03-multi-mode-order-chat": (),
    "04-custom": (),
    "05-tools": (),
    "05-tools-events": (),
    "06-subgraph-off": (),
    "06-subgraph-on": (),
    "06-subgraph-debug-off": (),
    "06-subgraph-debug-on": (),
    "07-functional": (),
    "08-fanout": (),
    "11-interrupt-modes": (),
    "11-interrupt-resume": (),
    "12-interrupt-parallel": (),
    # ours refuses a null resume and an unknown key, fails where there is nowhere to go, goes on where it can
    "12-interrupt-misc": (
        "resume null",
        "bogus command key",
        "goto unknown node",
        "[thread empty] resume",
        "[thread empty] update",
    ),
    "14-error-midstream": (),
    "26-messages-filtering": (),
    "29-static-interrupts": (),
    "35-nested-interrupt": (),
    # ours allows `block`; `base` hung the reference, it named `nostr` wrongly; the others are chance
    "36-error-kinds": (
        "block",
        "base",
        "cancelled",
        "httpx",
        "nostr",
        "parallel: one fails",
        "node swallows CancelledError",
    ),
    "36-error-kinds-2": (),
}
PARALLEL = {"08-fanout", "12-interrupt-parallel"}  # tasks of one step: their order among each other is chance

PAIR = re.compile(
    r"^=== \[\d+\] REQUEST (.*?) ?===\n(.*?)^--- \[\d+\] RESPONSE ---\n(.*?)^--- end:", re.M | re.S
)
CHUNK = re.compile(r"^~~ \+.*\n", re.M)
RUN = re.compile(r"^POST (?:/threads/([^/ ]+))?/runs/(stream|wait) ")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b(?!0{32})[0-9a-f]{32}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00")
SERVER_KEYS = {
    "created_by", "graph_id", "assistant_id", "run_attempt", "langgraph_version", "langgraph_api_version",
    "langgraph_plan", "langgraph_host", "langgraph_api_url",
}  # fmt: skip
CHECKPOINT_KEYS = {"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"}


def main(folder: Path) -> None:
    for name, left_out in RECORDINGS.items():
        cases = _cases((folder / f"{name}.txt").read_text(), left_out, parallel=name in PARALLEL)
        (HERE / f"{name}.json").write_text(_dump({"recording": name, "cases": cases}))


def _cases(text: str, left_out: tuple[str, ...], parallel: bool) -> list[dict[str, Any]]:
    cases: dict[str, dict[str, Any]] = {}
    for number, (label, request, response) in enumerate(PAIR.findall(text)):
        run = RUN.match(request)
        status = int(response.split(" ", 2)[1])
        if not run or status != 200 or any(label.endswith(end) or label == end for end in left_out):
            continue
        body = json.loads(request.split("\n\n", 1)[1])
        key = run[1] or f"stateless {number}"
        case = cases.setdefault(key, {"name": "", "thread": run[1], "parallel": parallel, "steps": []})
        step: dict[str, Any] = {"label": label, "path": run[2], "body": body}
        payload = response.split("\n\n", 1)[1]
        if run[2] == "stream":
            payload, *rest = payload.split("\n... (cut)")
            step |= {"cut": True} if rest else {}
            step["events"] = _events(payload.rsplit("\n\n", 1)[0] if rest else payload)
        else:
            result = json.loads(CHUNK.sub("", payload).strip())
            lost = isinstance(result, dict) and list(result) == ["__interrupt__"]  # ours has the values too
            step["result"] = {"~": True, **result} if lost else result
        case["steps"].append(step)
    for case in cases.values():
        case["name"] = _name(case["steps"])
        ids = _Ids()
        case["prepared"] = _prepared(case["steps"][0]["label"])
        case["steps"] = [_normal(step, ids) for step in case["steps"]]
        case["thread"] = case["thread"] and ids(case["thread"])
    return list(cases.values())


def _events(payload: str) -> list[list[Any]]:
    events = []
    for frame in CHUNK.sub("", payload).split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.split("\n") if line and not line.startswith(":"))
        if lines:
            data = json.loads(lines["data"])
            events.append([lines["event"], _without_tool_ids(data) if lines["event"] == "events" else data])
    return events


def _without_tool_ids(value: Any) -> Any:
    """A callback may see a tool's message before or after it gets its id: that is chance."""
    if isinstance(value, list):
        return [_without_tool_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    own = {"id": "<any>"} if value.get("type") == "tool" else {}
    return {key: _without_tool_ids(item) for key, item in value.items()} | own


def _name(steps: list[dict[str, Any]]) -> str:
    body = steps[0]["body"]
    modes = body.get("stream_mode", "default")
    words = [body["assistant_id"], "+".join(modes) if isinstance(modes, list) else modes]
    words += ["subgraphs"] if body.get("stream_subgraphs") else []
    words += [steps[0]["label"]] if steps[0]["label"] else []
    return " ".join(word or "none" for word in words)


def _prepared(label: str) -> str:
    """What happened on the thread before the first recorded request: the recorder says so in the label."""
    match = re.match(r"\[thread (\w+)\]", label)
    return match[1] if match else "empty"


class _Ids:
    """UUIDs and interrupt ids, numbered as they appear."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        return ID.sub(lambda m: f"<{self._known.setdefault(m[0], len(self._known) + 1)}>", text)


def _normal(value: Any, ids: _Ids, key: str = "") -> Any:
    if isinstance(value, dict):
        return _normal_object(value, ids, key)
    if isinstance(value, list):
        return [_normal(item, ids) for item in value]
    if isinstance(value, str):
        return "<time>" if TIME.fullmatch(value) else "<any>" if value == "~cut~" else ids(value)
    return value


def _normal_object(value: dict[str, Any], ids: _Ids, key: str) -> dict[str, Any]:
    more = "~" in value
    if key == "configurable" and "checkpoint_id" in value:
        value = {name: item for name, item in value.items() if name in CHECKPOINT_KEYS}
        more = True
    if key == "metadata" or "langgraph_node" in value or "langgraph_version" in value:
        more = more or "langgraph_version" in value
        value = {name: item for name, item in value.items() if name not in SERVER_KEYS}
    value = {name: item for name, item in value.items() if name != "~"}
    value = {name: "<any>" if name == "lc_versions" else item for name, item in value.items()}
    out = {ids(name): _normal(item, ids, name) for name, item in value.items()}
    return out | {"~": True} if more else out


def _dump(fixture: dict[str, Any]) -> str:
    """JSON with one event a line, so that a difference is read at a glance."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    out = [f'{{"recording":{line(fixture["recording"])},"cases":[\n']
    for i, case in enumerate(fixture["cases"]):
        head = {key: value for key, value in case.items() if key != "steps"}
        out.append(("," if i else "") + line(head)[:-1] + ',"steps":[\n')
        for j, step in enumerate(case["steps"]):
            events = step.get("events")
            head = {key: value for key, value in step.items() if key != "events"}
            out.append(" " + ("," if j else "") + line(head)[:-1])
            if events is not None:
                out.append(',"events":[\n  ' + ",\n  ".join(line(event) for event in events) + "]")
            out.append("}\n")
        out.append("]}\n")
    return "".join(out) + "]}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
