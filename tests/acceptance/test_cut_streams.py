"""Connections that break off, or end as if all had been said: the official clients hear each event once.

Fifty streams at once through a proxy, each cut after a random byte while its run is held: after a clean end
the SDKs ask for the run, and if it is over they take what they have heard for the whole of it. Nor do they
forgive a clean end within an event, which they hand out as far as it came.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from fix_cutter import Cut, Cutter, How, MakeCutter
from fix_gate import Gate
from fix_server import Server, eventually
from langgraph_sdk import get_client, get_sync_client

from .test_js_sdk import node

STREAMS = 50
FIRST_EVENT = 250  # bytes, its id among them
WORDS = [f"w{number} " for number in range(12)]
MODES = ["messages-tuple", "values", "updates"]
Part = tuple[str, Any, str | None]


@dataclass(frozen=True)
class Held:
    """Runs that the test holds, to be streamed through a proxy that cuts each once."""

    server: Server
    gate: Gate
    proxy: Cutter
    inputs: list[dict[str, Any]]
    threads: list[str]

    def speak(self) -> None:
        """Let the models say all they have to say; let them go when every client has come back."""
        speakers = [self.gate.node(graph_input) for graph_input in self.inputs]
        for speaker in speakers:
            for word in WORDS:
                speaker.say(word)
        assert eventually(lambda: self.proxy.streams == 2 * STREAMS, 30), f"{self.proxy.streams} streams"
        for speaker in speakers:
            speaker.finish()

    def emitted(self, thread: str) -> list[Part]:
        """What the run of a thread really emitted."""
        (run,) = self.server.get(f"/threads/{thread}/runs")
        frames = self.server.join(f"/threads/{thread}/runs/{run['run_id']}/stream", "-1").rest()
        return [(frame.event, frame.data, frame.id) for frame in frames]


@pytest.fixture(params=["reset", "whole"])
def held(request: pytest.FixtureRequest, server: Server, gate: Gate, proxy_to: MakeCutter) -> Held:
    how: How = request.param
    proxy, chance = proxy_to(server.port), random.Random(f"{request.node.name}")
    size = 900 * len(WORDS)  # a token is larger: every cut comes before the models are let go
    # Who has not heard the id of an event cannot say where to go on: `Location` leads to what comes from now.
    proxy.plan(*(Cut(chance.randrange(FIRST_EVENT, size), how) for _ in range(STREAMS)))
    inputs = [gate.input() for _ in range(STREAMS)]
    return Held(server, gate, proxy, inputs, [server.new_thread() for _ in range(STREAMS)])


def check(held: Held, heard: list[list[Part]]) -> None:
    assert held.proxy.made == STREAMS
    for thread, parts in zip(held.threads, heard, strict=True):
        assert parts == held.emitted(thread)
        words = [data[0]["content"] for event, data, _ in parts if event == "messages"]
        assert words[: len(WORDS)] == WORDS


async def test_the_python_client_goes_on_after_a_cut(held: Held) -> None:
    async with get_client(url=held.proxy.url, api_key=None) as client:

        async def follow(thread: str, graph_input: dict[str, Any]) -> list[Part]:
            parts = client.runs.stream(thread, "gate", input=graph_input, stream_mode=MODES)  # type: ignore
            return [(part.event, part.data, part.id) async for part in parts]

        following = [
            asyncio.create_task(follow(*each)) for each in zip(held.threads, held.inputs, strict=True)
        ]
        await asyncio.to_thread(held.speak)
        heard = await asyncio.gather(*following)
    check(held, heard)


def test_the_synchronous_python_client_goes_on_after_a_cut(held: Held) -> None:
    with get_sync_client(url=held.proxy.url, api_key=None) as client, ThreadPoolExecutor(STREAMS) as pool:

        def follow(thread: str, graph_input: dict[str, Any]) -> list[Part]:
            parts = client.runs.stream(thread, "gate", input=graph_input, stream_mode=MODES)  # type: ignore
            return [(part.event, part.data, part.id) for part in parts]

        following = [pool.submit(follow, *each) for each in zip(held.threads, held.inputs, strict=True)]
        held.speak()
        check(held, [each.result() for each in following])


def test_the_javascript_client_goes_on_after_a_cut(held: Held) -> None:
    with node("crowd.mjs", held.proxy.url, "gate") as process:
        assert process.stdin
        assert process.stdout
        asked = [
            {"thread": thread, "payload": {"input": graph_input, "streamMode": MODES}}
            for thread, graph_input in zip(held.threads, held.inputs, strict=True)
        ]
        print(json.dumps(asked), file=process.stdin, flush=True)
        held.speak()
        check(held, heard(process.stdout))
        process.kill()


def heard(lines: Iterator[str]) -> list[list[Part]]:
    """What the streams of crowd.mjs heard, until all are done."""
    found: list[list[Part]] = [[] for _ in range(STREAMS)]
    done = 0
    while done < STREAMS:
        said = json.loads(next(lines))
        assert "error" not in said, said
        done += "done" in said
        if part := said.get("part"):
            found[said["stream"]].append((part["event"], part["data"], part["id"]))
    return found
