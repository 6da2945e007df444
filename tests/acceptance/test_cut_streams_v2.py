"""Connections of protocol v2 that break off: its clients replay, know events by their ids, hear each once.

Fifty threads at once through a proxy, their streams cut after random bytes. The Python client takes a clean
end for the end of everything, which is why the server never makes one (contract/protocol-v2.md 4); the
JavaScript client comes back after it.
"""

import asyncio
import json
import random
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest
from fix_cutter import Cut, Cutter, How, MakeCutter
from fix_gate import Gate
from fix_server import Server, eventually
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from .test_js_sdk import node

THREADS = 50
WORDS = [f"w{number} " for number in range(12)]
BYTES = 250 * len(WORDS)  # an event is larger: every cut comes before the models are let go


@dataclass(frozen=True)
class Held:
    """Models that the test holds, behind a proxy that cuts streams."""

    gate: Gate
    proxy: Cutter
    inputs: list[dict[str, Any]]

    @classmethod
    def behind(cls, proxy: Cutter, gate: Gate, how: How) -> "Held":
        chance = random.Random(how)
        proxy.plan(*(Cut(chance.randrange(BYTES), how) for _ in range(THREADS)))
        question = {"messages": [{"role": "user", "content": "hi"}]}
        return cls(gate, proxy, [gate.input(**question) for _ in range(THREADS)])

    def speak(self) -> None:
        """Let the models say all they have to say; let them go when all the cuts are made."""
        speakers = [self.gate.node(graph_input) for graph_input in self.inputs]
        for speaker in speakers:
            for word in WORDS:
                speaker.say(word)
        assert eventually(lambda: self.proxy.made == THREADS, 30), f"{self.proxy.made} cuts"
        for speaker in speakers:
            speaker.finish()


async def pieces(message: Any) -> list[str]:
    return [piece async for piece in message.text]


async def test_the_python_client_goes_on_after_a_cut(
    server: Server, gate: Gate, proxy_to: MakeCutter
) -> None:
    held = Held.behind(proxy_to(server.port, only=b'"messages"'), gate, "reset")
    # Two, for the connections of one do not suffice for two streams and a request of each thread.
    async with (
        get_client(url=held.proxy.url, api_key=None) as one,
        get_client(url=held.proxy.url, api_key=None) as other,
    ):

        async def follow(client: LangGraphClient, graph_input: dict[str, Any]) -> tuple[list[str], Any]:
            async with client.threads.stream(assistant_id="held") as thread:
                await thread.run.start(input=graph_input)
                # As tasks: the SDK goes on reading only while somebody asks for the next message.
                saying = [asyncio.ensure_future(pieces(message)) async for message in thread.messages]
                return await saying[0], await thread.output

        following = [asyncio.create_task(follow(*each)) for each in zip(cycle([one, other]), held.inputs)]
        await asyncio.to_thread(held.speak)
        async with asyncio.timeout(30):
            heard = await asyncio.gather(*following)
    for said, output in heard:
        assert said == WORDS
        assert output["messages"][-1]["content"] == "".join(WORDS)


@pytest.mark.parametrize("how", ["reset", "end", "whole"])
def test_the_javascript_client_goes_on_after_a_cut(
    server: Server, gate: Gate, proxy_to: MakeCutter, how: How
) -> None:
    held = Held.behind(proxy_to(server.port, only=b'"messages"'), gate, how)
    with node("crowd_v2.mjs", held.proxy.url, "held") as process:
        assert process.stdin
        assert process.stdout
        print(
            json.dumps([{"input": graph_input} for graph_input in held.inputs]),
            file=process.stdin,
            flush=True,
        )
        held.speak()
        said: list[list[str]] = [[] for _ in range(THREADS)]
        outputs: dict[int, Any] = {}
        while len(outputs) < THREADS:
            heard = json.loads(process.stdout.readline())
            assert "error" not in heard, heard
            if "text" in heard:
                said[heard["stream"]].append(heard["text"])
            else:
                outputs[heard["stream"]] = heard["output"]
        process.kill()
    assert said == [WORDS] * THREADS
    assert {output["messages"][-1]["kwargs"]["content"] for output in outputs.values()} == {"".join(WORDS)}
