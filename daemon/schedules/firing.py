"""A tick of a schedule on its way into the book, and what is answered; plain data for the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

FiringState = Literal["fired", "skipped", "missed", "failed"]
"""`fired`: its jobs are on the queue. `skipped`: the one before is still at work. `missed`: nobody
was there in time, and the schedule says not to make up for it. `failed`: no jobs could be made."""
FIRING_STATES: Final[tuple[FiringState, ...]] = get_args(FiringState)


def endpoint_of(schedule: str) -> str:
    """The endpoint of the jobs of a schedule."""
    return f"schedule/{schedule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFiring:
    """One tick of a schedule, as who fires it describes it."""

    schedule: str
    #: When it was due, in Unix seconds; when somebody wanted it, if `manual`.
    tick: float
    state: FiringState
    manual: bool = False
    #: Ticks before it that it stands for.
    missed: int = 0
    #: Why, in words.
    note: str | None = None
    #: How far the schedule was when this was thought out; nothing is asked of a manual one.
    since: float = 0.0
    #: Put nothing on the queue while a job of the schedule waits or runs.
    alone: bool = True
    #: `jobs.NewJob` as plain data.
    jobs: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """The answer to a firing."""

    #: `stale`: somebody else went on meanwhile; look again how far the schedule is.
    state: FiringState | Literal["stale"]
    #: False when this tick was written down before.
    created: bool = False
    note: str | None = None
    #: The jobs that it put on the queue; others had been done before.
    jobs: Sequence[str] = ()
