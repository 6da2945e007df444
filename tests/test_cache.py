"""The cache behind langgraph_sdk.cache: fresh, stale, expired; bounded by bytes."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from server.cache import ENTRY_BYTES, Cache

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def forward(self, time: timedelta) -> None:
        self.now += time.total_seconds()


class Loader:
    """Gives 1, 2, 3, …"""

    def __init__(self) -> None:
        self.count = 0
        self.loaded = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        self.loaded.set()
        return self.count


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(clock=clock)


async def test_a_value_is_kept_for_its_time(cache: Cache, clock: Clock) -> None:
    await cache.set("k", [1, {"a": None}], HOUR)
    clock.forward(HOUR - timedelta(seconds=1))
    assert await cache.get("k") == [1, {"a": None}]
    clock.forward(timedelta(seconds=1))
    assert await cache.get("k") is None


@pytest.mark.parametrize("ttl", [None, timedelta(0), 2 * DAY])
async def test_a_value_is_kept_for_a_day_at_most_and_by_default(
    cache: Cache, clock: Clock, ttl: timedelta | None
) -> None:
    await cache.set("k", 1, ttl)
    clock.forward(DAY - timedelta(seconds=1))
    assert await cache.get("k") == 1
    clock.forward(timedelta(seconds=1))
    assert await cache.get("k") is None


async def test_what_was_read_is_a_copy(cache: Cache) -> None:
    await cache.set("k", [1])
    (await cache.get("k")).append(2)
    assert await cache.get("k") == [1]


async def test_what_is_no_json_is_refused(cache: Cache) -> None:
    with pytest.raises(TypeError):
        await cache.set("k", object())


async def test_a_negative_time_is_refused(cache: Cache) -> None:
    with pytest.raises(ValueError, match="negative"):
        await cache.set("k", 1, -HOUR)


async def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(bytes_max=2 * (ENTRY_BYTES + 10))
    await cache.set("a", 1)
    await cache.set("b", 2)
    await cache.get("a")
    await cache.set("c", 3)
    assert [await cache.get(key) for key in "abc"] == [1, None, 3]


async def test_a_value_larger_than_the_cache_is_refused() -> None:
    cache = Cache(bytes_max=ENTRY_BYTES + 10)
    with pytest.raises(ValueError, match="larger"):
        await cache.set("k", "x" * 100)


async def test_one_key_replaced_often_takes_the_place_of_one() -> None:
    cache = Cache(bytes_max=2 * (ENTRY_BYTES + 10))
    await cache.set("kept", 1)
    for number in range(100):
        await cache.set("k", number)
    assert await cache.get("kept") == 1


# ------------------------------------------------------------------------------------- swr


async def ask(cache: Cache, loader: Any, **more: Any) -> tuple[str, Any]:
    found = await cache.swr("k", loader, **{"fresh_for": HOUR, "max_age": DAY, **more})
    return found.status, found.value


async def test_a_value_is_a_miss_then_fresh_then_stale_then_expired(cache: Cache, clock: Clock) -> None:
    loader = Loader()
    assert await ask(cache, loader) == ("miss", 1)
    assert await ask(cache, loader) == ("fresh", 1)
    clock.forward(HOUR)
    loader.loaded.clear()
    assert await ask(cache, loader) == ("stale", 1)
    await loader.loaded.wait()
    assert await ask(cache, loader) == ("fresh", 2)
    clock.forward(DAY)
    assert await ask(cache, loader) == ("expired", 3)


async def test_a_stale_value_is_loaded_once_however_many_ask(cache: Cache, clock: Clock) -> None:
    loader = Loader()
    await ask(cache, loader)
    clock.forward(HOUR)
    loader.loaded.clear()
    for _ in range(5):
        assert await ask(cache, loader) == ("stale", 1)
    await loader.loaded.wait()
    assert loader.count == 2


async def test_a_refresh_that_fails_leaves_the_old_value(cache: Cache, clock: Clock) -> None:
    tried = asyncio.Event()

    async def fails() -> int:
        tried.set()
        raise ValueError

    await ask(cache, Loader())
    clock.forward(HOUR)
    await ask(cache, fails)
    await tried.wait()
    assert await ask(cache, fails) == ("stale", 1)


async def test_a_failure_to_load_what_is_missing_is_the_callers(cache: Cache) -> None:
    async def fails() -> int:
        raise ValueError("nothing there")

    with pytest.raises(ValueError, match="nothing there"):
        await ask(cache, fails)


async def test_a_value_can_be_replaced_or_loaded_again(cache: Cache) -> None:
    loader = Loader()
    found = await cache.swr("k", loader, fresh_for=HOUR, max_age=DAY)
    assert await found.mutate(10) == 10
    assert await ask(cache, loader) == ("fresh", 10)
    assert await found.mutate() == 2
    assert (found.value, await cache.get("k")) == (2, 2)


async def test_a_model_comes_back_as_a_model(cache: Cache) -> None:
    class User(BaseModel):
        name: str

    async def load() -> User:
        return User(name="Ada")

    assert await ask(cache, load, model=User) == ("miss", User(name="Ada"))
    assert await ask(cache, load, model=User) == ("fresh", User(name="Ada"))
