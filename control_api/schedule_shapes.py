"""What `/v1/schedules` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class ScheduleBody(TypedDict):
    """A schedule. It runs one of folder, files (with steps), steps alone, or a chore."""

    cron: Annotated[str, Field(description="Five fields as in a crontab, or @daily and its like.")]
    timezone: NotRequired[Annotated[str, Field(description="IANA name; default the machine's.")]]
    enabled: NotRequired[bool]
    misfire: NotRequired[
        Annotated[
            Literal["run_once", "skip"],
            Field(description="What nobody was there for: all of it together once, or nothing."),
        ]
    ]
    grace: NotRequired[
        Annotated[float | str, Field(description="A tick this late was not missed; `10m`.")]
    ]
    jitter: NotRequired[
        Annotated[float | str, Field(description="Begin up to this much later; `5m`.")]
    ]
    overlap: NotRequired[
        Annotated[
            Literal["skip", "queue"],
            Field(description="While its jobs are at work."),
        ]
    ]
    priority: NotRequired[Annotated[int, Field(ge=-1000, le=1000)]]
    folder: NotRequired[Annotated[str, Field(description="A hot folder: let go what it holds.")]]
    files: NotRequired[
        Annotated[str | list[str], Field(description="Patterns of staged files; one must fit.")]
    ]
    exclude: NotRequired[
        Annotated[str | list[str], Field(description="Patterns of which none may fit.")]
    ]
    again: NotRequired[
        Annotated[bool, Field(description="Take files that it has worked on before.")]
    ]
    steps: NotRequired[
        Annotated[list[Any], Field(description="Operations in order, as in a rule.")]
    ]
    output: NotRequired[
        Annotated[dict[str, Any], Field(description="As in a rule; below the staging area.")]
    ]
    chore: NotRequired[Annotated[str, Field(description="A piece of housekeeping.")]]
    params: NotRequired[Annotated[dict[str, Any], Field(description="Of the chore.")]]


class NewSchedule(ScheduleBody):
    """A schedule with its name."""

    name: Annotated[str, Field(min_length=1, max_length=100)]


class ScheduleObject(TypedDict):
    """A schedule in force."""

    name: str
    origin: Annotated[Literal["built-in", "file", "api"], Field(description="Where it is written.")]
    enabled: bool
    cron: str
    timezone: str
    runs: Literal["folder", "files", "chore", "steps"]
    next_at: Annotated[float | None, Field(description="Unix seconds, without jitter.")]
    written: Annotated[dict[str, Any], Field(description="As it was written.")]


class ScheduleList(TypedDict):
    """All schedules, by name."""

    object: Literal["list"]
    data: list[ScheduleObject]
    problems: Annotated[
        list[str], Field(description="What is wrong with those that are not in force.")
    ]


class DeletedSchedule(TypedDict):
    """A schedule that was forgotten."""

    deleted: str


class Upcoming(TypedDict):
    """When a schedule is due next."""

    name: str
    timezone: str
    next: Annotated[list[float], Field(description="Unix seconds, without jitter.")]
    local: Annotated[list[str], Field(description="The same on the clocks of its zone.")]


class ScheduledWork(TypedDict):
    """What a schedule would do now."""

    name: str
    work: list[dict[str, Any]]


class FiringObject(TypedDict):
    """What a schedule did at one tick."""

    schedule: str
    tick: Annotated[float, Field(description="When it was due, in Unix seconds.")]
    manual: bool
    state: Literal["fired", "skipped", "missed", "failed"]
    missed: Annotated[int, Field(description="Ticks before it that it stands for.")]
    at: float
    note: str | None
    jobs: Annotated[dict[str, str], Field(description="Its jobs and their states.")]


class FiringList(TypedDict):
    """The history, oldest first."""

    object: Literal["list"]
    data: list[FiringObject]
