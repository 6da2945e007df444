"""Two hundred runs, made from a seed: both protocols show the same texts, calls, state and end of each."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import wire
from fix_gate import Gate
from fix_server import Server
from fix_v2 import Event, begin, endings, of, replay, texts, until, watching

SEED = int(os.environ["FAULT_SEED"])
HUMAN = {"role": "user", "content": "hi", "id": "mine"}
RUNS = 100  # of each engine
WORDS = ["alpha ", "beta ", "", "gämma ", "δ ", "😀 ", "two\nlines ", '"quoted" ']
WAYS: list[dict[str, Any]] = [
    {"stream_mode": ["messages-tuple", "values"], "stream_subgraphs": True},
    {"stream_mode": ["messages", "values"], "stream_subgraphs": True},
    {"stream_mode": ["messages-tuple", "values", "updates", "custom"]},
    {"stream_mode": "values"},
]


def pieces(chance: random.Random) -> list[Any]:
    """What a model streams: texts, blocks of text, or nothing at all."""
    texts = chance.choices(WORDS, k=chance.randrange(1, 6))
    if chance.random() < 0.25:
        return [[{"type": "text", "text": text, "index": 0}] for text in texts]
    return list(texts) if chance.random() < 0.9 else [""]


def calls(chance: random.Random) -> list[Any]:
    """Calls of tools in pieces, one or two at once, after some words or none."""
    said: list[Any] = [chance.choice(WORDS)]
    for index in range(chance.randrange(1, 3)):
        key = f"call-{chance.randrange(10**9)}"
        said.append({"calls": [{"name": "research", "args": "", "id": key, "index": index}]})
        said += [{"calls": [{"args": args, "index": index}]} for args in ('{"q": ', '"ice"}')]
    return said


def step(chance: random.Random, last: bool) -> dict[str, Any]:
    kinds = ["say", "say", "call", "sub", "pair", "mutter", "return", "return dict", "write"]
    kind = chance.choice([*kinds, "ask", "fail", "explode"] if last else kinds)
    silent = chance.random() < 0.2
    match kind:
        case "call":
            return {"do": chance.choice(["say", "sub"]), "pieces": calls(chance), "silent": silent}
        case "explode":
            return {"do": "say", "pieces": ["a ", "b ", "c "], "fails": chance.randrange(3)}
        case "return" | "return dict" | "fail":
            return {"do": kind, "text": chance.choice(WORDS), "id": f"r-{chance.randrange(10**9)}"}
        case "write":
            return {"do": kind, "value": chance.choice(WORDS)}
        case "ask":
            return {"do": kind, "question": chance.choice(WORDS)}
    return {"do": kind, "pieces": pieces(chance), "silent": silent}


@dataclass
class Seen:
    """What somebody saw of a run: what was said and called, by ids of messages; the state; the end."""

    texts: dict[str, str] = field(default_factory=dict)
    calls: dict[str, list[Any]] = field(default_factory=dict)
    values: Any = None
    ended: str = ""


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block if isinstance(block, str) else block.get("text", "") for block in content)


def seen_by_v1(frames: list[wire.Frame], status: str, thread_status: str) -> Seen:
    """As a client of the older protocol puts it together: from tokens, or from messages that grow."""
    seen, ended = Seen(), {"success": "completed", "error": "failed", "interrupted": "interrupted"}[status]
    seen.ended = "interrupted" if thread_status == "interrupted" else ended
    arguments: dict[tuple[str, int], list[str]] = {}
    for frame in frames:
        name, data = frame.event.partition("|")[0], frame.data
        if name == "error":
            assert seen.ended == "failed"
        elif name == "values" and frame.event == "values":
            seen.values = {key: value for key, value in data.items() if key != "__interrupt__"}
        elif name in ("messages", "messages/partial", "messages/complete"):
            message = data[0]
            key = message["id"]
            if message["type"] not in ("ai", "AIMessageChunk"):
                continue
            if name == "messages" and message["type"] == "AIMessageChunk":
                seen.texts[key] = seen.texts.get(key, "") + text_of(message["content"])
                for call in message["tool_call_chunks"]:
                    told = arguments.setdefault((key, call["index"]), ["", "", ""])
                    for at, part in enumerate(("id", "name", "args")):
                        told[at] += call[part] or ""
            elif name != "messages" or key not in seen.texts:
                seen.texts[key] = text_of(message["content"])
                seen.calls[key] = [(c["id"], c["name"], c["args"]) for c in message["tool_calls"]]
    for (key, _), (call_id, tool, args) in sorted(arguments.items()):
        seen.calls.setdefault(key, []).append((call_id, tool, json.loads(args)))
    seen.calls = {key: told for key, told in seen.calls.items() if told}
    return seen


def seen_by_v2(events: list[Event]) -> Seen:
    """As a client of protocol v2 does: blocks, and what they came to."""
    seen = Seen(texts(events))
    for data in of(events, "messages"):
        if data["event"] == "content-block-finish" and data["content"]["type"] == "tool_call":
            call = data["content"]
            seen.calls.setdefault(data["id"], []).append((call["id"], call["name"], call["args"]))
        elif data["event"] == "content-block-finish" and data["content"]["type"] == "text":
            assert data["content"]["text"] in seen.texts[data["id"]]
    seen.values = of(events, "values", [])[-1]
    [seen.ended] = endings(events)
    return seen


def check(server: Server, number: int) -> None:
    """Let one run be, begun in one way or the other, and compare."""
    chance = random.Random(f"{SEED} {number}")
    count = chance.randrange(1, 5)
    steps = [step(chance, last=index == count - 1) for index in range(count)]
    graph_input = {"messages": [HUMAN], "steps": steps}
    way, thread = chance.choice([*WAYS, None, None]), server.new_thread()
    if way is None:
        begin(server, thread, "puppet", graph_input)
    else:
        server.stream("puppet", graph_input, thread, **way).body()
    compare(server, thread, f"FAULT_SEED={SEED}, run {number}, {way}: {json.dumps(steps)}")


def compare(server: Server, thread: str, about: str) -> Seen:
    """What both protocols show of the one run of a thread, which is over."""
    newer = seen_by_v2(replay(server, thread))
    [found] = server.get(f"/threads/{thread}/runs")
    frames = server.join(f"/threads/{thread}/runs/{found['run_id']}/stream", "-1").rest()
    state = server.get(f"/threads/{thread}")
    older = seen_by_v1(frames, found["status"], state["status"])
    assert older.values == newer.values == state["values"], about
    assert older.ended == newer.ended, about
    if found["kwargs"]["subgraphs"]:
        assert (older.texts, older.calls) == (newer.texts, newer.calls), about
    for key, text in older.texts.items():  # without subgraphs it sees less, and nothing else
        assert (text, older.calls.get(key)) == (newer.texts[key], newer.calls.get(key)), about
    for message in state["values"]["messages"]:
        if message["type"] == "ai" and message["id"] in newer.texts:
            told = [(call["id"], call["name"], call["args"]) for call in message["tool_calls"]]
            assert text_of(message["content"]) == newer.texts[message["id"]], about
            assert told == newer.calls.get(message["id"], []), about
    return newer


def test_both_views_of_many_runs_agree_on_what_was_said_and_done(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: check(server, number), range(RUNS)))


@pytest.mark.parametrize("way", [None, *WAYS[:3]], ids=str)
def test_both_views_of_a_cancelled_run_agree(server: Server, gate: Gate, way: Any) -> None:
    thread, graph_input = server.new_thread(), gate.input(messages=[HUMAN])
    if way is None:
        begin(server, thread, "held_outer", graph_input)
    else:
        server.post(f"/threads/{thread}/runs", {"assistant_id": "held_outer", "input": graph_input, **way})
    node = gate.node(graph_input)
    with watching(server, thread, ["messages"]) as events:
        node.say("half")
        until(events, lambda event: event["params"]["data"]["event"] == "content-block-delta")
    [found] = server.get(f"/threads/{thread}/runs")
    server.request("POST", f"/threads/{thread}/runs/{found['run_id']}/cancel?wait=1").body()
    seen = compare(server, thread, str(way))
    assert (list(seen.texts.values()), seen.ended) == (["half"], "interrupted")
