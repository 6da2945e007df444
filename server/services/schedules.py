"""When a cron is due: a schedule on the clock of a time zone -> moments (contract/resources.md 7).

croniter knows the syntax, and finds the next match on a clock that is never changed. What a change of the
clock does is decided here, as Debian's cron does it:

- Fixed times come once a day. One that is skipped comes when the clock has skipped it, one that the clock
  shows twice comes the first time.
- With `*` in the minute or the hour a schedule is kept by what the clock shows: what is skipped does not
  come, what is shown twice comes twice.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, CroniterError, croniter

from ..errors import Invalid

# The longest that a schedule may pause: beyond a 29 February's eight years. It bounds the search, too.
YEARS_MAX = 10
DAY_SECONDS = 86_400
_MOMENT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_RANDOM = re.compile(r"(?<!\S)r(?=[(/\s]|$)", re.IGNORECASE)
_HASHED = re.compile(r"(?<!\S)h(?=[(/\s]|$)", re.IGNORECASE)
_EXAMPLE = "minute, hour, day of the month, month, day of the week, as in '*/5 * * * *'; seconds may follow"


class Schedule:
    """A schedule in a time zone; UTC if none is named. Raises Invalid, which names the field.

    `R` and `H` stand for a value that is chosen once for each `salt`, and stays.
    """

    def __init__(self, text: str, timezone: str | None, salt: str) -> None:
        if timezone is not None and timezone not in _timezones():
            raise Invalid(f"timezone: '{timezone}' is no name of the IANA's, such as 'Europe/Paris'")
        self._zone = ZoneInfo(timezone) if timezone else UTC
        self._text = _RANDOM.sub("h", text)
        self._salt = salt if _HASHED.search(self._text) else None  # with one, @daily would be hashed too
        try:
            found = self._croniter(datetime.min)
        except CroniterError as error:
            raise Invalid(f"schedule: '{text}' is not in the form {_EXAMPLE} ({error})") from None
        self._fields: Sequence[Sequence[int | str]] = found.expanded
        self._fixed = not any(part.startswith("*") for part in found.expressions[:2])

    def after(self, moment: datetime) -> datetime | None:
        """The first moment after this one at which the schedule is due, in UTC; None if there is none."""
        local = moment.astimezone(self._zone)
        wall = local.replace(tzinfo=None, fold=0)
        found = self._fixed_after(wall, local.fold) if self._fixed else self._shown_after(wall, local.fold)
        return found and found.astimezone(UTC)

    def shortest_seconds(self) -> int:
        """The least distance of two ticks on one day or on two that follow each other."""
        seconds = self._fields[5] if len(self._fields) > 5 else [0]
        shortest, first, last = DAY_SECONDS, 0, 0  # of what was looked at: the minute, the hour, the day
        for part, size, unit in ((seconds, 60, 1), (self._fields[0], 60, 60), (self._fields[1], 24, 3600)):
            values = sorted(value for value in part if isinstance(value, int)) or range(size)
            gaps = [(later - earlier) * unit + first - last for earlier, later in pairwise(values)]
            shortest = min(shortest, *gaps, DAY_SECONDS)
            first, last = first + values[0] * unit, last + values[-1] * unit
        return min(shortest, DAY_SECONDS + first - last)

    def _fixed_after(self, wall: datetime, fold: int) -> datetime | None:
        if fold:  # its times came when the clock showed them first
            wall = self._end_of_change(wall) - _MOMENT
        found = self._match_after(wall)
        if found is not None and self._change(found) > 0:
            found = self._end_of_change(found)
        return found and self._at(found)

    def _shown_after(self, wall: datetime, fold: int) -> datetime | None:
        found = self._match_after(wall)
        while found is not None and self._change(found) > 0:
            found = self._match_after(self._end_of_change(found) - _MOMENT)
        if self._change(wall) >= 0:  # neither shown twice now, nor ...
            return found and self._at(found)
        end = self._end_of_change(wall)
        if found is not None and found < end:
            return self._at(found, fold)
        again = None if fold else self._match_after(self._start_of_change(wall) - _MOMENT)
        if again is not None and again < end:
            return self._at(again, 1)
        return found and self._at(found)

    def _match_after(self, wall: datetime) -> datetime | None:
        """The next match on a clock that is never changed."""
        try:
            found: datetime = self._croniter(wall).get_next(datetime)
        except CroniterBadDateError:
            return None
        return found

    def _croniter(self, wall: datetime) -> croniter:
        return croniter(self._text, wall, hash_id=self._salt, max_years_between_matches=YEARS_MAX)

    def _at(self, wall: datetime, fold: int = 0) -> datetime:
        return wall.replace(tzinfo=self._zone, fold=fold)

    def _change(self, wall: datetime) -> float:
        """By how many seconds the clock is put on where it skips this time, or back (below 0) where it
        shows it twice; 0 for all other times (PEP 495)."""
        before, after = self._at(wall, 0).utcoffset(), self._at(wall, 1).utcoffset()
        assert before is not None
        assert after is not None
        return (after - before).total_seconds()

    def _end_of_change(self, wall: datetime) -> datetime:
        """The first minute that the clock neither skips nor shows twice."""
        wall = wall.replace(second=0, microsecond=0)
        while self._change(wall):
            wall += _MINUTE
        return wall

    def _start_of_change(self, wall: datetime) -> datetime:
        wall = wall.replace(second=0, microsecond=0)
        while self._change(wall - _MINUTE):
            wall -= _MINUTE
        return wall


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())
