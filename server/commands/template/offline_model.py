"""A chat model that needs no key and no network: it says what it heard, one word at a time."""

import re
import time
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

PAUSE_SECONDS = 0.05


class OfflineModel(BaseChatModel):
    """Delete this file once agent.py names a real model."""

    @property
    def _llm_type(self) -> str:
        return "offline"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._stream(messages))

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        text = f"You said: {messages[-1].text} I am the offline model; put a real one into agent.py."
        for word in re.findall(r"\s*\S+", text):
            time.sleep(PAUSE_SECONDS)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
