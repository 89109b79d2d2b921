"""Reads schedules, from a file or from a request: each is checked whole before it is in force."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from daemon.schedules.chores import built_in, task_of
from daemon.schedules.cron import Cron, zone_of
from daemon.schedules.model import Origin, Schedule, ScheduleText
from handlers.declare import field_path
from handlers.errors import AudiollaError, BadParameter
from rules.load import Surroundings, check_rules
from rules.model import FolderRules
from rules.presets import Preset
from rules.written import Place, Problem, RulesBroken, read_yaml

OUT: Final = "scheduled"
"""Folder of the staging area for what schedules make that name none."""
_MOST: Final = 1000


@dataclass(frozen=True)
class Around:
    """What schedules may name."""

    #: Root of the staging area.
    staging: Path
    #: Finds a preset by its name.
    preset: Callable[[str], Preset | None] = lambda _: None


def load_schedules(text: str | bytes, file: Path, around: Around) -> dict[str, Schedule]:
    """Check a schedules file; its schedules by name.

    Raises:
        RulesBroken: with every fault that was found.
    """
    data, lines = read_yaml(text, file)
    if data is None:
        return {}
    listed = data.get("schedules") if isinstance(data, dict) else None
    if not isinstance(listed, list) or set(data) != {"schedules"}:
        raise RulesBroken([Problem(file, "has no `schedules:` list at its top, and nothing else")])
    if len(listed) > _MOST:
        raise RulesBroken([Problem(file, f"has {len(listed)} schedules; {_MOST} are the most")])
    found: dict[str, Schedule] = {}
    problems: list[Problem] = []
    for number, written in enumerate(listed):
        here: dict[Place, int] = {
            place[2:]: line for place, line in lines.items() if place[:2] == ("schedules", number)
        }
        try:
            schedule = check_schedule(written, "file", around, file=file, lines=here)
        except RulesBroken as broken:
            problems += broken.problems
            continue
        if schedule.name in found:
            said = f"another schedule is called {schedule.name!r}, too"
            problems.append(Problem(file, said, schedule.name, line=here.get(())))
        found[schedule.name] = schedule
    if problems:
        raise RulesBroken(problems)
    return found


def check_schedule(
    written: Any,
    origin: Origin,
    around: Around,
    *,
    file: Path = Path("schedule"),
    lines: Mapping[Place, int] | None = None,
) -> Schedule:
    """Check one schedule. One that comes with the program gives what is not written.

    Args:
        written: as it was written.
        origin: where. Only who may write files here may name places outside of the staging area.
        file, lines: for messages.

    Raises:
        RulesBroken: with every fault that was found.
    """
    lines = lines or {}
    if not isinstance(written, dict):
        raise RulesBroken([Problem(file, "a schedule is a mapping", line=lines.get(()))])
    name = written.get("name")
    shown = name if isinstance(name, str) else None
    problems: list[Problem] = []

    def fault(said: str, place: Place, field: str | None = None) -> None:
        known = (place[:n] for n in range(len(place), -1, -1))
        line = next((lines[one] for one in known if one in lines), None)
        problems.append(Problem(file, said, shown, field=field, line=line))

    whole = _completed(written)
    try:
        text = ScheduleText.model_validate(whole)
    except ValidationError as wrong:
        for error in wrong.errors():
            said = error["msg"].removeprefix("Value error, ")
            said = {"extra_forbidden": "there is no such setting", "missing": "is required"}.get(
                error["type"], said
            )
            fault(said, tuple(error["loc"]), field_path(error["loc"]) or None)
        raise RulesBroken(problems) from None
    cron = zone = None
    try:
        cron = Cron.read(text.cron)
    except ValueError as wrong:
        fault(str(wrong), ("cron",), "cron")
    try:
        zone = zone_of(text.timezone)
    except ValueError as wrong:
        fault(str(wrong), ("timezone",), "timezone")
    try:
        kind = text.kind
        if kind == "chore":
            task_of(text.chore or "", text.params)
        elif origin == "api" and any(glob.startswith("/") for glob in text.files or ()):
            fault("files are those of the staging area: leave the first / out", ("files",), "files")
        elif kind != "folder":
            chain_of(text, origin, around, file=file, lines=lines)
    except ValueError as wrong:
        fault(str(wrong), ())
    except BadParameter as wrong:
        fault(wrong.detail, (), wrong.field)
    except RulesBroken as broken:
        problems += broken.problems
    if problems or cron is None or zone is None:
        raise RulesBroken(problems)
    return Schedule(text, cron, zone, origin, dict(written))


def _completed(written: Mapping[str, Any]) -> dict[str, Any]:
    """With what a schedule of this name has that comes with the program, unless it runs another."""
    name = written.get("name")
    base = built_in(name) if isinstance(name, str) else {}
    if {"folder", "files", "steps"} & set(written) or written.get("chore", base.get("chore")) != (
        base.get("chore")
    ):
        return dict(written)
    return {**base, **written}


def chain_of(
    text: ScheduleText,
    origin: Origin,
    around: Around,
    *,
    file: Path = Path("schedule"),
    lines: Mapping[Place, int] | None = None,
) -> FolderRules:
    """The steps and output of a schedule as the one rule of a folder: the staging area.

    Raises:
        RulesBroken: they cannot run.
    """
    output = {} if text.output is None else text.output.model_dump(exclude_none=True)
    where = output.get("folder")
    if origin == "api" and where is not None and _leaves(where):
        said = f"{where!r} is not a folder of the staging area"
        raise RulesBroken([Problem(file, said, text.name, field="output.folder")])
    if where is None:
        output["folder"] = f"{OUT}/{text.name}"
    rule = {"name": text.name, "steps": list(text.steps), "output": output}
    data = {"rules": [rule], "stages": {name: f".{OUT}/{name}" for name in _STAGES}}
    places: dict[Place, int] = {("rules", 0, *place): line for place, line in (lines or {}).items()}
    # Who writes the file may name sounds of this machine; who asks over the API may not even
    # learn which there are.
    staging = Path(os.path.normpath(around.staging))

    def is_file(path: Path) -> bool:
        return (origin != "api" or path.is_relative_to(staging)) and path.is_file()

    base = staging / "-" if origin == "api" else file
    surroundings = Surroundings(
        folder=staging,
        staging=staging,
        preset=around.preset,
        drops=text.files is not None,
        is_file=is_file,
    )
    try:
        return check_rules(data, base, surroundings, places)
    except RulesBroken as broken:
        raise RulesBroken([replace(problem, file=file) for problem in broken.problems]) from None


_STAGES: Final[Sequence[str]] = ("processing", "done", "failed", "out")


def _leaves(folder: str) -> bool:
    return Path(folder).is_absolute() or ".." in Path(folder).parts


def refusal(broken: RulesBroken) -> BadParameter:
    """The faults of a schedule that came over the API, as the error that it is answered with."""
    first = broken.problems[0]
    said = "; ".join(str(p).partition(": ")[2] for p in broken.problems)
    return BadParameter(said, field=first.field)


def unusable(wrong: Exception) -> str:
    """Why no jobs could be made, in words."""
    if isinstance(wrong, RulesBroken):
        return "; ".join(str(problem).partition(": ")[2] for problem in wrong.problems)
    return wrong.detail if isinstance(wrong, AudiollaError) else str(wrong)
