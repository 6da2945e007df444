"""What `streaming.signals.Signals` promises: hints that arrive, are remembered, and never block."""

import asyncio
import threading

import pytest

from server.streaming.signals import Signals

LONG = 10.0
SHORT = 0.02


@pytest.fixture
def signals(any_signals: Signals) -> Signals:
    return any_signals


async def rings(signals: Signals, name: str, seconds: float) -> bool:
    """Whether the bell rang before the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    await signals.wait(name, seconds)
    return loop.time() < deadline


async def test_a_waiter_is_woken(signals: Signals) -> None:
    waiting = asyncio.ensure_future(rings(signals, "runs", LONG))
    await asyncio.sleep(0)
    signals.notify("runs")
    assert await waiting


async def test_a_waiter_is_woken_from_another_thread(signals: Signals) -> None:
    waiting = asyncio.ensure_future(rings(signals, "runs", LONG))
    await asyncio.sleep(0)
    threading.Thread(target=signals.notify, args=("runs",)).start()
    assert await waiting


async def test_everyone_who_waits_is_woken(signals: Signals) -> None:
    waiting = asyncio.gather(*(rings(signals, "runs", LONG) for _ in range(5)))
    await asyncio.sleep(0)
    signals.notify("runs")
    assert await waiting == [True] * 5


async def test_a_ring_is_remembered_until_somebody_waits(signals: Signals) -> None:
    signals.notify("runs")
    assert await rings(signals, "runs", LONG)


async def test_many_rings_are_remembered_as_one(signals: Signals) -> None:
    for _ in range(5):
        signals.notify("runs")
    assert await rings(signals, "runs", LONG)
    assert not await rings(signals, "runs", SHORT)


async def test_without_a_ring_the_wait_ends_at_its_deadline(signals: Signals) -> None:
    assert not await rings(signals, "runs", SHORT)


async def test_a_bell_does_not_ring_another(signals: Signals) -> None:
    signals.notify("stop")
    assert not await rings(signals, "runs", SHORT)


async def test_a_deadline_that_has_passed_returns_at_once(signals: Signals) -> None:
    assert not await rings(signals, "runs", 0)


async def test_a_waiter_that_was_cancelled_leaves_the_bell_usable(signals: Signals) -> None:
    waiting = asyncio.ensure_future(signals.wait("runs", LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    signals.notify("runs")
    assert await rings(signals, "runs", LONG)


async def test_rings_from_many_threads_lose_no_last_one(signals: Signals) -> None:
    """Whoever looks at the rows after every ring, and rings after every change, misses no change."""
    changes: list[int] = []
    seen = 0

    def change(number: int) -> None:
        changes.append(number)
        signals.notify("runs")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    while seen < 20:
        assert await rings(signals, "runs", LONG)
        seen = len(changes)
    for thread in threads:
        thread.join()


async def test_what_is_offered_rings(signals: Signals) -> None:
    signals.busy("runs", 0)
    signals.offer("runs")
    assert await rings(signals, "runs", LONG)
