"""A caller is let in as often as he may, whatever others do, and memory is bounded."""

from server.rules import limits
from server.rules.limits import RequestLimits, Turnstile


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(turnstile: Turnstile, who: str, times: int) -> int:
    """How many of so many requests, one after the other, are let in."""
    count = 0
    for _ in range(times):
        if turnstile.enter(who) is None:
            turnstile.leave(who)
            count += 1
    return count


def test_a_burst_is_taken_and_then_the_rate() -> None:
    clock = Clock()
    turnstile = Turnstile(RequestLimits(per_second=10, burst=5), clock)
    assert taken(turnstile, "ann", 20) == 5
    clock.now += 0.1
    assert taken(turnstile, "ann", 20) == 1
    clock.now += 100
    assert taken(turnstile, "ann", 20) == 5


def test_over_time_no_more_than_the_rate_is_taken() -> None:
    clock = Clock()
    turnstile = Turnstile(RequestLimits(per_second=3, burst=1), clock)
    count = 0
    for _ in range(10_000):  # ten seconds
        clock.now += 0.001
        count += taken(turnstile, "ann", 1)
    assert 29 <= count <= 31


def test_who_waits_as_long_as_he_is_told_is_let_in() -> None:
    clock = Clock()
    turnstile = Turnstile(RequestLimits(per_second=0.2, burst=1), clock)
    assert taken(turnstile, "ann", 1) == 1
    refusal = turnstile.enter("ann")
    assert refusal is not None
    assert (refusal.limit, refusal.seconds) == ("rate", 5)
    clock.now += refusal.seconds
    assert taken(turnstile, "ann", 1) == 1


def test_one_caller_does_not_use_up_what_another_may() -> None:
    turnstile = Turnstile(RequestLimits(per_second=1, burst=3, at_once=3), Clock())
    assert taken(turnstile, "ann", 10) == 3
    assert taken(turnstile, "bob", 10) == 3


def test_so_many_are_inside_at_once_and_who_leaves_makes_room() -> None:
    turnstile = Turnstile(RequestLimits(at_once=2))
    assert [turnstile.enter("ann") is None for _ in range(3)] == [True, True, False]
    turnstile.leave("ann")
    assert turnstile.enter("ann") is None
    refusal = turnstile.enter("ann")
    assert refusal is not None
    assert refusal.limit == "at_once"


def test_a_million_callers_take_no_more_memory_than_the_table() -> None:
    clock = Clock()
    turnstile = Turnstile(RequestLimits(per_second=1, at_once=1), clock)
    for number in range(3 * limits.CALLERS_MAX):
        clock.now += 0.001
        assert turnstile.enter(str(number)) is None
        turnstile.leave(str(number))
    assert len(turnstile._empty_at) == limits.CALLERS_MAX
    assert not turnstile._inside
