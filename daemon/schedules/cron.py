"""When something is due: five fields as in a crontab, in a time zone that changes its clocks.

APScheduler looks for the next date that fits. It is only ever asked about a calendar without
gaps: its own `from_crontab` counts weekdays from Monday, refuses 7, and wants day of month *and*
weekday to fit. So fields are read here, and given to it as plain lists of numbers.

Source: crontab(5) and cron(8) of Vixie cron as Debian ships it. When both day fields are
restricted, either may fit; a field that begins with `*` counts as not restricted. Where clocks
change, what is due at a fixed time is done once (at the end of a gap, the first time of a doubled
hour); what is due every minute or every hour follows the clock on the wall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

LOCAL: Final = "local"
"""Stands for the time zone of this machine."""
MINUTE: Final = 60.0
_DAY: Final = 86_400.0
#: How far ahead changes of clocks are looked for at once.
_HORIZON: Final = 32 * _DAY
#: Clocks are never turned back by more than this.
_LONGEST_FOLD: Final = 4 * 3600.0

_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORT_MONTHS: Final = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_PART: Final = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\w+))?")


@dataclass(frozen=True)
class _Field:
    """One column: what it is called, its range, and the names that its numbers have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def read(self, text: str) -> frozenset[int]:
        """The numbers that a field stands for.

        Raises:
            ValueError: it stands for none; says which field, what it has and what it takes.
        """
        found: set[int] = set()
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if match is None:
                raise self._wrong(part)
            star, first, last, step = match.groups()
            low = self.low if star else self._number(first, part)
            high = self.high if star else self._number(last or first, part)
            if step is not None and not star and last is None:
                raise self._wrong(part, f"; a step needs a range, like {first}-{self.high}/{step}")
            every = 1 if step is None else int(step) if step.isascii() and step.isdigit() else 0
            if every < 1:
                raise self._wrong(part, "; a step is a number from 1")
            if high < low:
                raise self._wrong(part, "; a range goes up")
            found.update(range(low, high + 1, every))
        return frozenset(found)

    def _number(self, text: str, part: str) -> int:
        if text.isascii() and text.isdigit():
            number = int(text)
        elif text.lower() in self.names:
            number = self.names.index(text.lower()) + self.low
        else:
            raise self._wrong(part)
        if not self.low <= number <= self.high:
            raise self._wrong(part)
        return number

    def _wrong(self, part: str, more: str = "") -> ValueError:
        named = f" or {self.names[0]}..{self.names[-1]}" if self.names else ""
        return ValueError(f"{self.name} = {part!r} is not in {self.low}..{self.high}{named}{more}")


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """One line of a crontab, without its command."""

    #: As it was written.
    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    #: 0 is Sunday.
    weekdays: frozenset[int]
    #: Due every minute or every hour: it follows the clock on the wall, whatever that does.
    wildcard: bool
    #: Both day fields are restricted: it is enough that one of them fits.
    either_day: bool

    @classmethod
    def read(cls, text: str) -> Cron:
        """Read `0 3 * * 1`, `*/15 * * * *`, `0 8 * * mon-fri` or `@daily`.

        Raises:
            ValueError: it is no such line, or a date that never comes.
        """
        written = text.strip()
        if written.startswith("@") and written.lower() not in _NAMED:
            raise ValueError(f"{text!r}: there is no such name; known: {', '.join(_NAMED)}")
        parts = _NAMED.get(written.lower(), written).split()
        if len(parts) != len(_FIELDS):
            raise ValueError(
                f"{text!r} has {len(parts)} fields, not the five of a crontab: "
                "minute, hour, day of month, month, weekday"
            )
        minutes, hours, days, months, weekdays = (
            field.read(part) for field, part in zip(_FIELDS, parts, strict=True)
        )
        stars = [part.startswith("*") for part in parts]
        if stars[4] and all(day > _SHORT_MONTHS.get(month, 31) for day in days for month in months):
            raise ValueError(f"{text!r} never comes: no such month has a day {min(days)}")
        return cls(
            text=text,
            minutes=minutes,
            hours=hours,
            days=days,
            months=months,
            weekdays=frozenset(day % 7 for day in weekdays),
            wildcard=stars[0] or stars[1],
            either_day=not stars[2] and not stars[4],
        )

    def after(self, moment: float, zone: ZoneInfo) -> Iterator[float]:
        """The times at which it is due after a moment (Unix seconds), in order, for ever."""
        at = moment // MINUTE * MINUTE
        if not self.wildcard and _offset(zone, at - _LONGEST_FOLD) > _offset(zone, at):
            at -= _LONGEST_FOLD  # within a doubled hour it matters what was before
        wall = at + _offset(zone, at)
        while True:
            shift, change = _offset(zone, at), _next_change(zone, at)
            for due_at in self._walls(wall, change + shift):
                if due_at - shift > moment:
                    yield due_at - shift
            wall, due = self._across(change, shift, _offset(zone, change))
            if due and change > moment:
                yield change
            at = change

    def _across(self, change: float, before: float, after: float) -> tuple[float, bool]:
        """Over a change of clocks: where the calendar goes on, and whether it is due just then.

        Where the clocks are not changed at all, old and new are the same and nothing happens.
        """
        old, new = change + before, change + after
        if self.wildcard:
            return new - MINUTE, False
        if new < old:
            return old - MINUTE, False
        # What falls into the gap is due at its end; so is what is due at the end itself.
        due = next(self._walls(old - MINUTE, new + MINUTE), None) is not None
        return new, due

    def _walls(self, after: float, until: float) -> Iterator[float]:
        """Times on the wall between two, both exclusive, as if they were UTC."""
        at = datetime.fromtimestamp(after, UTC)
        end = datetime.fromtimestamp(until, UTC)
        while True:
            found = self._trigger.get_next_fire_time(None, at + timedelta(minutes=1))
            if found is None or found >= end:
                return
            yield found.timestamp()
            at = found

    @cached_property
    def _trigger(self) -> BaseTrigger:
        from apscheduler.triggers.combining import OrTrigger

        if not self.either_day:
            return self._cron(days=self.days, weekdays=self.weekdays)
        every = frozenset(range(7))
        return OrTrigger(
            [
                self._cron(days=self.days, weekdays=every),
                self._cron(days=frozenset(range(1, 32)), weekdays=self.weekdays),
            ]
        )

    def _cron(self, *, days: frozenset[int], weekdays: frozenset[int]) -> BaseTrigger:
        from apscheduler.triggers.cron import CronTrigger

        given: dict[str, Any] = {
            "minute": self.minutes,
            "hour": self.hours,
            "day": days,
            "month": self.months,
            "day_of_week": {(day - 1) % 7 for day in weekdays},  # APScheduler's 0 is Monday
        }
        lists = {name: ",".join(map(str, sorted(numbers))) for name, numbers in given.items()}
        return CronTrigger(**lists, timezone=UTC)


def _offset(zone: ZoneInfo, moment: float) -> float:
    """Seconds that the clocks of a zone are ahead of UTC."""
    shift = datetime.fromtimestamp(moment, zone).utcoffset()
    assert shift is not None
    return shift.total_seconds()


def _next_change(zone: ZoneInfo, moment: float) -> float:
    """When the clocks of a zone are changed next, to the second; a month on if they are not."""
    shift = _offset(zone, moment)
    low, end = moment, moment + _HORIZON
    while low < end:
        high = low + _DAY
        if _offset(zone, high) != shift:
            while high - low > 1:
                middle = (low + high) // 2
                if _offset(zone, middle) == shift:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return end


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name; `local` is that of this machine.

    Raises:
        ValueError: there is none of this name.
    """
    from tzlocal import get_localzone_name

    try:
        return ZoneInfo(get_localzone_name() if name == LOCAL else name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is no time zone; names are like Europe/Berlin or UTC") from None
