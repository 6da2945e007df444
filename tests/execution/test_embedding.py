"""Embeddings answer to every thread, off the loop that asks, and only with vectors that fit."""

import asyncio
import threading
from typing import Any

import pytest
from langgraph.store.base import ensure_embeddings

from server.execution import embedding
from server.execution.embedding import THREADS, LaneEmbedding
from server.storage import vectors

SECONDS = 10
ONE = vectors.pack([1.0])
places: list[object] = []


def made(function: Any, dims: int = 1) -> LaneEmbedding:
    return LaneEmbedding(ensure_embeddings(function), dims)


def place() -> object:
    """The thread and, if there is one, the loop."""
    try:
        return threading.get_ident(), asyncio.get_running_loop()
    except RuntimeError:
        return threading.get_ident(), None


def synchronous(texts: list[str]) -> list[list[float]]:
    places.append(place())
    return [[2.0] for _ in texts]


async def asynchronous(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return synchronous(texts)


@pytest.mark.parametrize("function", [synchronous, asynchronous])
async def test_texts_are_embedded_off_the_callers_thread(function: Any) -> None:
    lane = made(function)
    places.clear()
    assert await asyncio.wrap_future(lane.documents(["a", "b"])) == [ONE, ONE]
    assert await asyncio.wrap_future(lane.query("a")) == ONE
    assert len(places) == 2
    assert place() not in places


def test_a_thread_that_blocks_may_ask() -> None:
    lane = made(asynchronous)
    assert lane.documents(["a"]).result(SECONDS) == [lane.query("b").result(SECONDS)] == [ONE]


async def test_all_loops_share_one_so_that_clients_inside_may_be_kept() -> None:
    lane = made(asynchronous)
    places.clear()

    async def ask() -> None:
        await asyncio.wrap_future(lane.query("a"))

    await ask()
    await asyncio.to_thread(lambda: asyncio.run(ask()))
    assert len(places) == 2
    assert len(set(places)) == 1


def test_synchronous_functions_run_beside_each_other() -> None:
    together = threading.Barrier(THREADS)

    def meet(texts: list[str]) -> list[list[float]]:
        together.wait(SECONDS)
        return [[1.0] for _ in texts]

    lane = made(meet)
    assert [asked.result(SECONDS) for asked in [lane.query("a") for _ in range(THREADS)]] == [ONE] * THREADS


@pytest.mark.parametrize("failure", [ValueError("odd"), SystemExit(3)], ids=repr)
def test_what_embeddings_raise_reaches_who_asked_and_the_next_are_answered(failure: BaseException) -> None:
    async def fails(texts: list[str]) -> list[list[float]]:
        if texts == ["bad"]:
            raise failure
        return [[1.0] for _ in texts]

    lane = made(fails)
    with pytest.raises(type(failure)):
        lane.documents(["bad"]).result(SECONDS)
    assert lane.documents(["good"]).result(SECONDS) == [ONE]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1.0, 2.0]], "store.index.dims is 1, but the embeddings make vectors of 2 numbers"),
        ([], "the embeddings made 0 vectors of 1 texts"),
        ([[1.0], [2.0]], "the embeddings made 2 vectors of 1 texts"),
        ([["x"]], "could not convert"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(lambda texts: answer).documents(["a"]).result(SECONDS)


def test_embeddings_that_never_answer_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(texts: list[str]) -> list[list[float]]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(embedding, "ANSWER_SECONDS", 0.01)
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 seconds"):
        made(never).query("a").result(SECONDS)


def test_a_timeout_of_the_embeddings_own_stays_theirs() -> None:
    async def late(texts: list[str]) -> list[list[float]]:
        raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs"):
        made(late).query("a").result(SECONDS)
