"""A schedule: what may be written, and which of its ticks are due.

# schedules.yaml, in the data directory
schedules:
  - name: Weekly masters
    cron: "0 3 * * mon"                    # minute, hour, day of month, month, weekday
    timezone: Europe/Berlin                # default: this machine's
    files: "mixes/*.wav"                   # of the staging area
    steps: [{preset: master-for-spotify}]  # as in a rule
    output: {folder: masters, format: flac}
  - name: Take in at night
    cron: "30 22 * * *"
    folder: podcast                        # a hot folder: what it holds back is let go
  - {name: fixity, enabled: false}         # one that comes with the program, switched off
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from daemon.schedules.cron import LOCAL, Cron
from rules.match import Globs, Text, read_amount
from rules.model import OutputText

Origin = Literal["built-in", "file", "api"]

_UNITS: Final = {
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 7 * 86_400.0,
}
Span = Annotated[float, BeforeValidator(lambda value: read_amount(value, _UNITS))]
"""A time as a number of seconds or as text with units, up to `30d` and `2w`."""

#: A name is a segment of a route.
Name = Annotated[str, StringConstraints(pattern=r"^[^\s/\\\x00-\x1f][^/\\\x00-\x1f\x7f]{0,99}$")]

#: Ticks that are looked at one by one when the daemon was away for long.
_MOST_MISSED: Final = 1000
_HOUR: Final = 3600.0


class ScheduleText(BaseModel):
    """One schedule as it is written. Exactly one of `folder`, `files`, `chore` or bare `steps`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: Name
    cron: Text = Field(description="Five fields as in a crontab, or @daily and its like.")
    timezone: Text = Field(LOCAL, description="IANA name of the time zone; default the machine's.")
    enabled: bool = True
    misfire: Literal["run_once", "skip"] = Field(
        "run_once",
        description="What is done about ticks that nobody was there for: all of them together "
        "once, or nothing.",
    )
    grace: Span = Field(
        300.0, ge=1, description="A tick that is late by no more than this was not missed."
    )
    jitter: Span = Field(
        0.0,
        ge=0,
        le=24 * _HOUR,
        description="Begin up to this much later; each tick always the same.",
    )
    overlap: Literal["skip", "queue"] = Field(
        "skip", description="While jobs of the tick before wait or run: leave this one out, or not."
    )
    priority: int = Field(0, ge=-1000, le=1000, description="Higher runs before other jobs.")
    folder: Text | None = Field(
        None, description="A hot folder: what it holds back is let go, and it is looked through."
    )
    files: Globs | None = Field(None, description="Patterns of staged files; one must fit.")
    exclude: Globs | None = Field(None, description="Patterns of which none may fit.")
    again: bool = Field(
        False, description="Take files that this schedule has worked on before and did not change."
    )
    steps: list[Any] = Field([], max_length=64, description="Operations in order, as in a rule.")
    output: OutputText | None = Field(
        None, description="As in a rule; folders count from the staging area."
    )
    chore: Text | None = Field(None, description="A piece of housekeeping.")
    params: dict[str, Any] = Field({}, description="Its parameters.")

    @property
    def kind(self) -> Literal["folder", "files", "chore", "steps"]:
        """What it runs.

        Raises:
            ValueError: nothing, or several things at once.
        """
        named = [k for k in ("folder", "files", "chore") if getattr(self, k) is not None]
        kinds = named or (["steps"] if self.steps else [])
        if len(kinds) != 1:
            found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
            raise ValueError(f"runs one of folder, files, chore or steps; {found}")
        kind: Any = kinds[0]
        for field, of in _BELONGS.items():
            if field in self.model_fields_set and kind not in of:
                raise ValueError(f"{field} is for {' or '.join(of)}, not for a {kind}")
        return kind  # type: ignore[no-any-return]  # one of the names in the list above


_BELONGS: Final[Mapping[str, tuple[str, ...]]] = {
    "steps": ("files", "steps"),
    "output": ("files", "steps"),
    "exclude": ("files",),
    "again": ("files",),
    "params": ("chore",),
    "priority": ("files", "steps", "chore"),
}


@dataclass(frozen=True)
class Schedule:
    """A schedule, checked."""

    text: ScheduleText
    cron: Cron
    zone: ZoneInfo
    origin: Origin
    #: As it was written, defaults left out.
    written: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return self.text.name

    @property
    def timing(self) -> str:
        """What its times follow from: when this changes, it begins anew."""
        return f"{' '.join(self.text.cron.split())}|{self.zone.key}|{self.text.enabled}"

    def jitter(self, tick: float) -> float:
        """Seconds by which a tick is put off: the same in every process, after every restart."""
        if not self.text.jitter:
            return 0.0
        digest = hashlib.blake2b(f"{self.name}\0{tick:.0f}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) / 2**64 * self.text.jitter

    def upcoming(self, after: float, count: int) -> list[float]:
        """Its next ticks, without jitter."""
        return list(islice(self.cron.after(after, self.zone), count))

    def next(self, settled: float) -> float:
        """When something is to be done next: the first tick that is not settled, put off."""
        tick = next(self.cron.after(settled, self.zone))
        return tick + self.jitter(tick)

    def due(self, settled: float, now: float) -> Due | None:
        """The next thing to do, of all that is due by now; ask again when it is done.

        Args:
            settled: how far it is: every tick up to here has been dealt with.
            now: Unix seconds.
        """
        if not self.text.enabled:
            return None
        late: list[float] = []
        on_time: float | None = None
        for tick in self._since(settled, now):
            begins = tick + self.jitter(tick)
            if begins > now:
                break
            if now - begins <= self.text.grace:
                on_time = tick
                break
            late.append(tick)
        if not late:
            return None if on_time is None else Due(on_time, 0, missed=False)
        if self.text.misfire == "skip":
            return Due(late[-1], len(late) - 1, missed=True)
        # One that is on time makes up for those before it as well.
        return (
            Due(late[-1], len(late) - 1, missed=False)
            if on_time is None
            else Due(on_time, len(late), missed=False)
        )

    def _since(self, settled: float, now: float) -> list[float]:
        """The ticks from `settled` to now; of very many, the newest."""
        found = self._between(settled, now)
        if len(found) < _MOST_MISSED:
            return found
        back = _HOUR
        while not (newest := self._between(max(now - back, found[-1]), now)):
            if now - back <= found[-1]:
                return found
            back *= 8
        while more := self._between(newest[-1], now):
            newest += more
        return [*found, *newest]

    def _between(self, after: float, until: float) -> list[float]:
        found: list[float] = []
        for tick in islice(self.cron.after(after, self.zone), _MOST_MISSED):
            if tick > until:
                break
            found.append(tick)
        return found


@dataclass(frozen=True)
class Due:
    """One thing to do."""

    tick: float
    #: Ticks before it that it stands for.
    missed_before: int
    #: Only write down that nobody was there.
    missed: bool
