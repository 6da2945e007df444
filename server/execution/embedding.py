"""Where texts become vectors: a lane of their own, because embeddings are user code and may block."""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings

from ..storage import vectors
from .lanes import Lane

T = TypeVar("T")

ANSWER_SECONDS = 60.0  # how long making vectors may take
THREADS = 8  # for embeddings that are synchronous; not those of nodes, which may wait for them


class LaneEmbedding:
    """Embeddings for every thread and loop: clients inside them belong to one loop, this one."""

    def __init__(self, embeddings: Embeddings, dims: int) -> None:
        self._embeddings = embeddings
        self._dims = dims
        self._lane = Lane("embeddings", ThreadPoolExecutor(THREADS, "embed"))

    def documents(self, texts: Sequence[str]) -> "Future[list[bytes | None]]":
        """A packed vector for each text. Raises what the embeddings raise, ValueError for other vectors."""
        return self._lane.submit(self._documents([*texts])).done

    def query(self, text: str) -> "Future[bytes | None]":
        """The vector to look for. Raises the same."""
        return self._lane.submit(self._query(text)).done

    async def _documents(self, texts: list[str]) -> list[bytes | None]:
        found = await _in_time(self._embeddings.aembed_documents(texts))
        made = [self._packed(vector) for vector in found]
        if len(made) != len(texts):
            raise ValueError(f"the embeddings made {len(made)} vectors of {len(texts)} texts")
        return made

    async def _query(self, text: str) -> bytes | None:
        return self._packed(await _in_time(self._embeddings.aembed_query(text)))

    def _packed(self, vector: Any) -> bytes | None:
        numbers = [float(number) for number in vector]
        if len(numbers) != self._dims:
            raise ValueError(
                f"store.index.dims is {self._dims}, but the embeddings make vectors of {len(numbers)} numbers"
            )
        return vectors.pack(numbers)


async def _in_time(work: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS) as limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"the embeddings did not answer within {ANSWER_SECONDS:g} seconds") from None
        raise
