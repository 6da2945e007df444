"""A chat model that says what it was told to say: no network, no chance."""

import asyncio
import operator
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import reduce
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable


class ScriptedChatModel(BaseChatModel):
    script: list[AIMessageChunk]
    pause: float = 0.0
    explodes_after: int | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[tool.name for tool in tools])

    def _said(self) -> Iterator[ChatGenerationChunk]:
        for number, chunk in enumerate(self.script):
            if number == self.explodes_after:
                raise RuntimeError("model exploded mid-stream")
            yield ChatGenerationChunk(message=chunk.model_copy(deep=True))

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in self._said():
            time.sleep(self.pause)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._said():
            await asyncio.sleep(self.pause)
            yield chunk

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        whole = reduce(operator.add, self.script)
        answer = AIMessage(content=whole.content, tool_calls=whole.tool_calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        await asyncio.sleep(self.pause * len(self.script))
        return self._generate(messages)


def says(*tokens: str, usage: bool = False, **settings: Any) -> ScriptedChatModel:
    """A model that streams these tokens."""
    script = [AIMessageChunk(content=token) for token in tokens]
    if usage:
        count = len(tokens)
        script[-1].usage_metadata = {"input_tokens": 3, "output_tokens": count, "total_tokens": 3 + count}
        script[-1].response_metadata = {"finish_reason": "stop", "model_name": "scripted-1"}
    return ScriptedChatModel(script=script, **settings)


def text(*tokens: str, prompt: str = "x", **settings: Any) -> str:
    """Ask that model by `.invoke`, as most nodes do, and take its text."""
    return str(says(*tokens, **settings).invoke(prompt).content)
