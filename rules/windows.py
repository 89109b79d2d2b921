"""Times of day and days of the week, as people write them.

    22:00-06:00            each night, over midnight
    sat, sun               whole days
    mon-fri 18:00-23:00    evenings of working days
    [mon-fri 20:00-06:00, "sat, sun"]

Times are those of the machine's clock on the wall. A window that reaches over
midnight belongs to the day on which it begins. At a change of daylight saving
the wall clock counts: an hour that is shown twice is inside twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_MIDNIGHT = time()


@dataclass(frozen=True)
class Window:
    """One stretch of time on some days of the week (0 is Monday)."""

    days: frozenset[int]
    begin: time = _MIDNIGHT
    #: Not inside any more; the same as `begin` for whole days.
    end: time = _MIDNIGHT

    def __contains__(self, moment: datetime) -> bool:
        at, day = moment.time(), moment.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= at < self.end
        before = (day - 1) % 7
        return (day in self.days and at >= self.begin) or (before in self.days and at < self.end)

    def __str__(self) -> str:
        """As it can be written in a rule."""
        days = "" if len(self.days) == 7 else ", ".join(_DAYS[day] for day in sorted(self.days))
        clock = "" if self.begin == self.end else f"{self.begin:%H:%M}-{self.end:%H:%M}"
        return " ".join(part for part in (days, clock) if part) or "always"


@dataclass(frozen=True)
class Windows:
    """Several windows; a moment is inside if it is inside one of them."""

    windows: tuple[Window, ...]

    def __contains__(self, moment: datetime) -> bool:
        return any(moment in window for window in self.windows)

    def __str__(self) -> str:
        """As it can be written in a rule."""
        return " or ".join(map(str, self.windows))

    def opens(self, after: datetime) -> datetime:
        """The first moment, from `after` on, that is inside (in minutes of the wall clock)."""
        if after in self:
            return after
        return min(begin for begin in self._begins(after) if begin > after)

    def _begins(self, near: datetime) -> Iterator[datetime]:
        today = near.replace(hour=0, minute=0, second=0, microsecond=0)
        for window in self.windows:
            for ahead in range(9):
                day = today + timedelta(days=ahead)
                if day.weekday() in window.days:
                    yield day.replace(hour=window.begin.hour, minute=window.begin.minute)


def read_windows(value: Any) -> Windows:
    """Windows from text, or from a list of texts.

    Raises:
        ValueError: it is none; says what would be.
    """
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise ValueError("an empty list is never: leave it away for always")
    return Windows(tuple(_window(text) for text in texts))


def _window(text: Any) -> Window:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'{text!r} is no time: write "22:00-06:00", "sat, sun" or both')
    clock = _CLOCK.search(text)
    names = text if clock is None else text[: clock.start()] + text[clock.end() :]
    days = _days(names, text)
    if clock is None:
        return Window(days)
    hours = [int(clock[n]) for n in (1, 3)]
    minutes = [int(clock[n]) for n in (2, 4)]
    if hours[1] == 24 and minutes[1] == 0:
        hours[1] = 0
    if max(hours) > 23 or max(minutes) > 59:
        raise ValueError(f"{text!r}: hours go from 00:00 to 24:00")
    return Window(days, time(hours[0], minutes[0]), time(hours[1], minutes[1]))


def _days(names: str, text: str) -> frozenset[int]:
    parts = [part for part in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", names.strip())) if part]
    found: set[int] = set()
    for part in parts:
        ends = [_day(name, text) for name in part.split("-")]
        if len(ends) > 2:
            raise ValueError(f"{text!r}: {part!r} are no days")
        first, last = ends[0], ends[-1]
        found.update((first + n) % 7 for n in range((last - first) % 7 + 1))
    return frozenset(found or range(7))


def _day(name: str, text: str) -> int:
    short = name.lower()[:3]
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    if short not in _DAYS or not full[_DAYS.index(short)].startswith(name.lower()):
        raise ValueError(
            f"{text!r}: {name!r} is no day (mon, tue, ...) and no time like 22:00-06:00"
        )
    return _DAYS.index(short)


WindowsText = Annotated[
    Windows,
    PlainValidator(
        lambda v: v if isinstance(v, Windows) else read_windows(v),
        json_schema_input_type=str | list[str],
    ),
    PlainSerializer(lambda v: [str(w) for w in v.windows], return_type=list[str]),
]
"""Windows in a model; JSON has them as a list of texts."""
