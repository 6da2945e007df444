"""The user's `authenticate`, which may be slow, block, never return or raise anything."""

import asyncio
import threading
import time
from typing import Any

import pytest

from server.auth import authenticator
from server.auth.authenticator import UserCode
from server.errors import AccessFailed, Overloaded, Unauthorized

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "SECONDS_MAX", 0.1)


async def test_who_never_answers_holds_up_nobody_for_long(impatient: None) -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(Overloaded, match="takes too long"):
        await UserCode(hang, NOTHING).authenticate({})


async def test_code_that_blocks_is_off_the_loop_and_given_up_in_time(impatient: None) -> None:
    released = threading.Event()
    code = UserCode(lambda: released.wait(10) and "late", NOTHING)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    with pytest.raises(Overloaded):
        await code.authenticate({})
    ticking.cancel()
    released.set()
    assert ticks > 10


async def test_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "WAITING_MAX", 2)
    free = asyncio.Event()

    async def wait() -> str:
        await free.wait()
        return "ann"

    code = UserCode(wait, NOTHING)
    waiting = [asyncio.create_task(code.authenticate({})) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="Too many"):
        await code.authenticate({})
    free.set()
    assert [found.user.identity for found in await asyncio.gather(*waiting)] == ["ann", "ann"]
    assert (await code.authenticate({})).user.identity == "ann"


class Asked:
    async def __call__(self, authorization: Any) -> str:
        return str(authorization)


async def test_an_object_that_is_called_is_a_handler_too() -> None:
    assert (await UserCode(Asked(), NOTHING).authenticate({"authorization": "ann"})).user.identity == "ann"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (AssertionError("why"), Unauthorized),
        (RuntimeError("secret"), AccessFailed),
        (SystemExit(1), AccessFailed),
        (KeyboardInterrupt(), AccessFailed),
        (TimeoutError(), AccessFailed),
    ],
)
async def test_what_it_raises_lets_nobody_in_and_says_nothing(
    raised: BaseException, expected: type[Exception]
) -> None:
    async def fail() -> str:
        raise raised

    with pytest.raises(expected) as refused:
        await UserCode(fail, NOTHING).authenticate({})
    assert "secret" not in str(refused.value)
    assert "why" not in str(refused.value)


async def test_a_client_that_leaves_takes_its_question_along() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    asking = asyncio.create_task(UserCode(hang, NOTHING).authenticate({}))
    await asyncio.sleep(0)
    asking.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert time.monotonic() - began < 1
