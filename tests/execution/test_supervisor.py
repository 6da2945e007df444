"""A task of the server that fails begins again."""

import asyncio

import pytest

from server.execution import supervisor
from server.execution.supervisor import keep_going


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "AGAIN_SECONDS", 0.0)


async def test_a_task_that_fails_begins_again_until_it_returns() -> None:
    tries = []

    async def work() -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError("the disk is full")

    await asyncio.wait_for(keep_going("work", work), 5)
    assert tries == [0, 1, 2]


async def test_a_task_that_is_cancelled_ends() -> None:
    task = asyncio.ensure_future(keep_going("work", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
