"""What several processes promise each other by signals: what is offered is heard once, by the least busy."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from fix_broker import Process, Start
from fix_redis import Redis

LONG, SHORT = 10.0, 0.02


async def ready(process: Process) -> dict[str, float]:
    """Who takes runs, and how much each has, by the channel that it hears."""
    keys = process.link.keys
    [found] = await process.link.ask(("ZRANGE", keys.ready("runs"), 0, -1, "WITHSCORES"))
    return {member.decode(): float(load) for member, load in zip(found[::2], found[1::2], strict=True)}


async def until_ready(process: Process, loads: list[int]) -> None:
    async with asyncio.timeout(LONG):
        while sorted((await ready(process)).values()) != loads:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def offered(processes: list[Process], count: int) -> list[int]:
    """How many of so many things that are offered each of the processes hears of."""
    heard: Counter[int] = Counter()
    async with asyncio.timeout(LONG):
        while heard.total() < count:
            for index, process in enumerate(processes):
                heard[index] += await process.signals.wait("runs", SHORT)
    return [heard[index] for index in range(len(processes))]


async def test_each_thing_goes_to_the_least_busy_process(start_process: Start, redis: Redis) -> None:
    idle, busy, full, offering = [await start_process(redis, "shares") for _ in range(4)]
    for process, load in ((idle, 0), (busy, 2), (full, None)):
        process.signals.busy("runs", load)
    await until_ready(offering, [0, 2])
    offering.signals.offer("runs", 2)
    offering.signals.offer("runs", 3)
    hearing = [idle, busy, full, offering]
    heard = await offered(hearing, 5)
    assert heard in ([4, 1, 0, 0], [3, 2, 0, 0])  # 0 1 2|2 3: where both have as much, either gets it
    await until_ready(offering, sorted([heard[0], 2 + heard[1]]))


async def test_nothing_goes_to_a_process_that_is_gone_or_takes_no_more(
    start_process: Start, redis: Redis
) -> None:
    killed, leaving, left = [await start_process(redis, "gone") for _ in range(3)]
    for process, load in ((killed, 0), (leaving, 1), (left, 9)):
        process.signals.busy("runs", load)
    await until_ready(left, [0, 1, 9])
    leaving.signals.busy("runs", None)
    await until_ready(left, [0, 9])
    await killed.stop()
    left.signals.offer("runs", 2)
    assert await offered([leaving, left], 2) == [0, 2]
    await until_ready(left, [11])


async def test_where_nobody_takes_anything_nothing_is_kept(start_process: Start, redis: Redis) -> None:
    process, other = [await start_process(redis, "nobody") for _ in range(2)]
    process.signals.offer("runs", 3)
    process.signals.busy("stop", 0)
    process.signals.offer("stop")
    assert await process.signals.wait("stop", LONG) == 1
    other.signals.busy("runs", 0)
    await until_ready(other, [0])
    assert await other.signals.wait("runs", SHORT) == 0


@pytest.fixture
def own_redis(tmp_path: Path) -> Redis:
    return Redis(tmp_path)


async def test_who_offers_while_redis_is_away_looks_itself(start_process: Start, own_redis: Redis) -> None:
    process = await start_process(own_redis)
    own_redis.kill()
    while not process.link.away:  # noqa: ASYNC110
        await asyncio.sleep(SHORT)
    loop = asyncio.get_running_loop()
    began = loop.time()
    process.signals.offer("runs")
    assert await process.signals.wait("runs", LONG) == 0
    assert loop.time() - began < LONG
