"""A chat model without a network: it answers from templates, one word at a time."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

JOKES = (
    "Why is {topic} never late? Somebody streams it, one word at a time.",
    "I asked the model for {topic}. It said: one token at a time, please.",
    "What is {topic} without an internet connection? A local speciality.",
)
EXPLAIN = "It is funny because nobody expected it, least of all a model without a network."
UNKNOWN = "I am the offline model and know only jokes. Ask me for a joke about something, or set MODEL."


def pause_from_environment() -> float:
    """Seconds between two words: OFFLINE_MODEL_PAUSE, or long enough to see the words arrive."""
    return float(os.environ.get("OFFLINE_MODEL_PAUSE", "0.05"))


class OfflineChat(BaseChatModel):
    """Streams like a real provider, so that a first start shows tokens and needs no key."""

    model: str = "offline"
    pause_seconds: float = Field(default_factory=pause_from_environment)

    @property
    def _llm_type(self) -> str:
        return "offline"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in answer(messages, kwargs.get("tools")):
            time.sleep(self.pause_seconds)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in answer(messages, kwargs.get("tools")):
            await asyncio.sleep(self.pause_seconds)
            yield chunk


def answer(messages: list[BaseMessage], tools: list[dict[str, Any]] | None) -> Iterator[ChatGenerationChunk]:
    """The chunks of one answer: a call of the first tool if one is bound, else words."""
    last = messages[-1]
    if tools and isinstance(last, HumanMessage):
        yield from call_of(tools[0]["function"], last.text)
        return
    text = f"The tool says: {last.text}" if isinstance(last, ToolMessage) else reply_to(last.text)
    for word in re.findall(r"\s*\S+", text):
        yield ChatGenerationChunk(message=AIMessageChunk(content=word))


def call_of(function: dict[str, Any], question: str) -> Iterator[ChatGenerationChunk]:
    """A tool call in pieces, as providers send it: first the name, then the arguments as a growing text."""
    argument = next(iter(function["parameters"]["properties"]), "input")
    topic = topic_of(question).replace("\\", "").replace('"', "'")
    pieces = [f'{{"{argument}": "', *re.findall(r"\s*\S+", topic), '"}']
    yield part_of_call(name=function["name"], args="", id=f"call_{uuid4().hex}")
    for piece in pieces:
        yield part_of_call(name=None, args=piece, id=None)


def part_of_call(**part: str | None) -> ChatGenerationChunk:
    return ChatGenerationChunk(
        message=AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(index=0, **part)])
    )


def reply_to(text: str) -> str:
    if re.search(r"\bexplain\b", text, re.IGNORECASE):
        return EXPLAIN
    if "joke" not in text.lower():
        return UNKNOWN
    topic = topic_of(text)
    # Chosen by the topic: the same question has the same answer in every test.
    return JOKES[sum(topic.encode()) % len(JOKES)].format(topic=topic)


def topic_of(text: str) -> str:
    """What follows the last "about" in a question, up to the end of the phrase; else the whole question."""
    topic = re.split(r"\babout\s+", text, flags=re.IGNORECASE)[-1]
    return re.split(r"[,.?!\n]", topic.strip())[0] or "nothing"
