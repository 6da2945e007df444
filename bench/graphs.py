"""The bench graphs: every token says in its text which one it is and when it was emitted.

On Linux `time.monotonic_ns` reads one clock for the whole machine: a reader in another process may subtract.
This file imports nothing of the bench: any server loads it alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, StateGraph


def stamp(number: int) -> str:
    """Token text: its number and the time of its emission, found again by `client.TOKEN`."""
    return f"@{number}:{time.monotonic_ns()}@"


class StampingModel(BaseChatModel):
    """Emits `tokens` tokens, `pause_seconds` apart, on a fixed schedule that catches up when it is late."""

    tokens: int = 1
    pause_seconds: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "stamping"

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        start = time.monotonic()
        for number in range(self.tokens):
            # Even without a pause the loop gets its turn, as it does while a real model's answer is awaited.
            await asyncio.sleep(max(0.0, start + number * self.pause_seconds - time.monotonic()))
            yield self._chunk(number)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        start = time.monotonic()
        for number in range(self.tokens):
            time.sleep(max(0.0, start + number * self.pause_seconds - time.monotonic()))
            yield self._chunk(number)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = "".join(stamp(number) for number in range(self.tokens))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])

    @staticmethod
    def _chunk(number: int) -> ChatGenerationChunk:
        return ChatGenerationChunk(message=AIMessageChunk(content=stamp(number)))


@dataclass
class State:
    """The input chooses the load."""

    n: int = 1
    pause: float = 0.0
    seconds: float = 5.0
    text: str = ""


async def speak(state: State) -> dict[str, str]:
    answer = await StampingModel(tokens=state.n, pause_seconds=state.pause).ainvoke("go")
    return {"text": str(answer.content)}


async def speak_and_idle(state: State) -> dict[str, str]:
    update = await speak(state)
    await asyncio.sleep(state.seconds)
    return update


async def speak_and_block(state: State) -> dict[str, str]:
    update = await speak(state)
    time.sleep(state.seconds)  # noqa: ASYNC251  the fault under measurement
    return update


def one_node(node: Any, name: str) -> Any:
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(name=name)


stream = one_node(speak, "stream")
short = one_node(speak, "short")
idle = one_node(speak_and_idle, "idle")
block = one_node(speak_and_block, "block")
