"""When a schedule is due: the syntax, the ends of months, and what a change of the clock does.

What the clocks of the zones do in these years is in the past or decided; should a government change its mind
for the future, no test of these notices.
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from server.errors import Invalid
from server.services.schedules import YEARS_MAX, Schedule


def utc(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def ticks(text: str, zone: str | None, start: str, count: int, salt: str = "x") -> list[str]:
    """The first ticks after a moment, on the clock of the zone."""
    schedule, moment, found = Schedule(text, zone, salt), utc(start), []
    for _ in range(count):
        due = schedule.after(moment)
        assert due is not None
        assert due.tzinfo is UTC
        assert due > moment
        found.append(due.astimezone(ZoneInfo(zone or "UTC")).isoformat())
        moment = due
    return found


def first(text: str, start: str = "2026-06-01T12:00:30", zone: str | None = None) -> str:
    return ticks(text, zone, start, 1)[0].removesuffix("+00:00")


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("*/5 * * * *", "2026-06-01T12:05:00"),
        ("0 5 * * *", "2026-06-02T05:00:00"),
        ("30 9 * * MON-FRI", "2026-06-02T09:30:00"),
        ("0 0 1 JAN *", "2027-01-01T00:00:00"),
        ("0 0 * * 7", "2026-06-07T00:00:00"),
        ("0 0 L * *", "2026-06-30T00:00:00"),
        ("0 0 31 * *", "2026-07-31T00:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 * * SUN#2", "2026-06-14T00:00:00"),
        ("0 0 * * L5", "2026-06-26T00:00:00"),
        ("0 0 15W 8 *", "2026-08-14T00:00:00"),
        ("0 0 13 * FRI", "2026-06-05T00:00:00"),  # either, as in every cron
        ("@hourly", "2026-06-01T13:00:00"),
        ("@daily", "2026-06-02T00:00:00"),
        ("* * * * * */10", "2026-06-01T12:00:40"),
        ("0 12 * * * 31", "2026-06-01T12:00:31"),
        ("0 0 1 1 * 0 2030", "2030-01-01T00:00:00"),
    ],
)
def test_the_syntax_of_the_reference_is_understood(text: str, due: str) -> None:
    assert first(text) == due


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bad",
        "* * * *",
        "* * * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 0 * *",
        "*/0 * * * *",
        "-1 * * * *",
        "1- * * * *",
        "@reboot",
        "0 0 * * MON#6",
        "０ 0 * * *",
        "0\u00a00 * * *",
        "\x00 * * * *",
        "* " * 128,
    ],
)
def test_what_is_no_schedule_is_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid, match=r"^schedule: "):
        Schedule(text, None, "x")


@pytest.mark.parametrize("zone", ["Nope/X", "europe/paris", "", "UTC+05:00", "../../etc/passwd", "\x00"])
def test_what_is_no_time_zone_is_refused_by_name(zone: str) -> None:
    with pytest.raises(Invalid, match=r"^timezone: "):
        Schedule("* * * * *", zone, "x")


@pytest.mark.parametrize(
    "text",
    ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 1 1 * 0 2020", "0 0 31 * 2#1", "0 * 1 jan-dec MON-FRI#5"],
)
def test_a_day_that_never_comes_is_found_out_at_once(text: str) -> None:
    schedule = Schedule(text, "Europe/Paris", "x")
    best = min(timed(schedule) for _ in range(10))
    assert best < 0.010


def timed(schedule: Schedule) -> float:
    begin = time.thread_time()
    assert schedule.after(utc("2026-06-01T12:00:00")) is None
    return time.thread_time() - begin


def test_a_leap_day_is_waited_for_also_over_a_year_that_has_none() -> None:
    assert first("0 0 29 2 *", "2096-02-29T00:00:00") == "2104-02-29T00:00:00"
    assert YEARS_MAX > 8


def test_a_tick_that_is_now_is_over() -> None:
    assert first("0 12 * * *", "2026-06-01T12:00:00") == "2026-06-02T12:00:00"
    assert first("0 12 * * *", "2026-06-01T11:59:59.999999") == "2026-06-01T12:00:00"
    assert first("* * * * * *", "2026-06-01T12:00:00.000001") == "2026-06-01T12:00:01"


# ------------------------------------------------------------------------------------- time zones


@pytest.mark.parametrize(
    ("zone", "due"),
    [
        ("Europe/Paris", "2026-06-02T03:00:00+00:00"),
        ("Asia/Kathmandu", "2026-06-01T23:15:00+00:00"),
        ("America/St_Johns", "2026-06-02T07:30:00+00:00"),
        ("Pacific/Chatham", "2026-06-01T16:15:00+00:00"),
        ("Etc/GMT+12", "2026-06-01T17:00:00+00:00"),
        ("Pacific/Kiritimati", "2026-06-01T15:00:00+00:00"),
        ("UTC", "2026-06-02T05:00:00+00:00"),
    ],
)
def test_a_schedule_is_kept_on_the_clock_of_its_zone(zone: str, due: str) -> None:
    found = Schedule("0 5 * * *", zone, "x").after(utc("2026-06-01T12:00:00"))
    assert found == utc(due)


def test_a_time_that_the_clock_skips_comes_when_it_has_been_skipped() -> None:
    assert ticks("30 2 * * *", "Europe/Paris", "2026-03-28T00:00:00", 3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert ticks("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00", 2) == [  # midnight itself
        "2018-11-04T01:00:00-02:00",
        "2018-11-05T00:00:00-02:00",
    ]
    assert ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T12:00:00", 2) == [  # half an hour
        "2026-10-03T02:15:00+10:30",
        "2026-10-04T02:30:00+11:00",
    ]
    assert ticks("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00", 2) == [  # a whole day
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T12:00:00+14:00",
    ]


def test_several_skipped_times_come_as_one() -> None:
    assert ticks("10,20,30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00", 3) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:10:00+02:00",
        "2026-03-30T02:20:00+02:00",
    ]


def test_a_time_that_the_clock_shows_twice_comes_once() -> None:
    assert ticks("30 2 * * *", "Europe/Paris", "2026-10-24T00:00:00", 3) == [
        "2026-10-24T02:30:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]
    assert ticks("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00", 2) == [
        "2026-04-05T01:45:00+11:00",
        "2026-04-06T01:45:00+10:30",
    ]
    assert ticks("0,30 2 * * * 0,1", "Europe/Paris", "2026-10-24T12:00:00", 5)[3:] == [
        "2026-10-25T02:30:01+02:00",
        "2026-10-26T02:00:00+01:00",
    ]


def test_who_asks_while_the_clock_shows_it_the_second_time_is_told_of_the_next_day() -> None:
    second = "2026-10-25T02:10:00+01:00"
    assert ticks("30 2 * * *", "Europe/Paris", second, 1) == ["2026-10-26T02:30:00+01:00"]
    assert ticks("0 3 * * *", "Europe/Paris", second, 1) == ["2026-10-25T03:00:00+01:00"]


def test_what_comes_every_few_minutes_goes_on_through_the_doubled_hour() -> None:
    assert ticks("*/30 * * * *", "Europe/Paris", "2026-10-25T01:45:00+02:00", 6) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
        "2026-10-25T03:30:00+01:00",
    ]


def test_what_comes_every_hour_is_not_late_when_an_hour_is_skipped() -> None:
    assert ticks("0 * * * *", "Europe/Paris", "2026-03-29T00:30:00+01:00", 3) == [
        "2026-03-29T01:00:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T04:00:00+02:00",
    ]


def shown_by_the_clock(text: str, zone: str, start: datetime, hours: int) -> list[datetime]:
    """Every minute at which the clock shows a match: by looking at each."""
    minutes = (start + timedelta(minutes=n) for n in range(1, hours * 60))
    return [at for at in minutes if croniter.match(text, at.astimezone(ZoneInfo(zone)).replace(tzinfo=None))]


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Paris", "2026-03-29T01:00:00"),
        ("Europe/Paris", "2026-10-25T01:00:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00"),
        ("Africa/Casablanca", "2026-02-15T02:00:00"),
        ("Africa/Casablanca", "2026-03-22T02:00:00"),
        ("America/Havana", "2026-11-01T05:00:00"),
        ("Antarctica/Troll", "2026-10-25T01:00:00"),  # two hours
    ],
)
@pytest.mark.parametrize("text", ["*/7 * * * *", "*/30 1-3 * * *", "* 0,2 * * *", "59 * * * SUN"])
def test_with_a_star_every_match_on_the_clock_is_due_whatever_the_clock_does(
    text: str, zone: str, change: str
) -> None:
    start, hours = utc(change) - timedelta(hours=5), 10
    expected = shown_by_the_clock(text, zone, start, hours)
    schedule, found, moment = Schedule(text, zone, "x"), [], start
    while (due := schedule.after(moment)) is not None and due < start + timedelta(hours=hours):
        found.append(due)
        moment = due
    assert found == expected
    # Whoever asks in between is told the same.
    for at in (start + timedelta(minutes=13 * n, seconds=7) for n in range(hours * 60 // 13 - 5)):
        assert schedule.after(at) == next((due for due in expected if due > at), schedule.after(at))


# ------------------------------------------------------------------------------------- chosen once


def test_a_random_time_is_chosen_once_for_each_cron() -> None:
    days = ticks("R R * * *", None, "2026-06-01T12:00:00", 3, salt="one")
    assert len({day[11:] for day in days}) == 1
    assert ticks("R R * * *", None, "2026-06-01T12:00:00", 3, salt="one") == days
    minutes = {ticks("R * * * *", None, "2026-06-01T12:00:00", 1, salt=str(n))[0] for n in range(50)}
    assert len(minutes) > 10
    assert first("H H(3-4) * * *")[11:13] in ("03", "04")


def test_names_of_days_and_months_are_no_random_letters() -> None:
    assert first("0 0 * MAR THU,FRI") == "2027-03-04T00:00:00"


# ------------------------------------------------------------------------------------- distance


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("0,1 0 * * *", 60),
        ("0 * * * *", 3_600),
        ("0 9,17 * * *", 8 * 3_600),
        ("0,59 0,23 * * *", 60),  # over midnight
        ("0 9 * * MON", 86_400),
        ("* * * * * *", 1),
        ("* * * * * */15", 15),
        ("0 0 * * * 0,59", 59),
        ("* * * * * 0,59", 1),
        ("59,0 * * * * 30", 60),
    ],
)
def test_the_shortest_distance_of_two_ticks_is_known(text: str, seconds: int) -> None:
    schedule = Schedule(text, None, "x")
    assert schedule.shortest_seconds() == seconds
    moments = [utc("2026-06-01T23:00:00")]
    for _ in range(200):
        due = schedule.after(moments[-1])
        assert due is not None
        moments.append(due)
    assert min((later - earlier).total_seconds() for earlier, later in pairwise(moments[1:])) >= seconds
