"""What files tell of jobs when the database does not: the journal, manifests, drafts.

A file in `processing/<job id>/` of which the queue knows nothing is put on
the queue under that id. That is right for one that was never worked on, and
wrong for one whose result was delivered in the moment before the record of it
was lost. What was delivered has left traces, and this module finds them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from daemon.delivering.journal import Entry, entries_with
from daemon.delivering.manifest import MARK
from daemon.rulefiles import find_rule_files, read_rules
from daemon.settings import Settings
from rules.model import FolderRules
from rules.orders import path_from_text
from rules.written import RulesBroken

_MOST_BYTES = 8 * 2**20  # of a manifest


@dataclass
class Story:
    """One job of a hot folder, as the journal has it."""

    job: str
    takes: list[Entry] = field(default_factory=list)
    #: The last one that tells what came of the job.
    put: Entry | None = None

    @property
    def ended(self) -> Literal["completed", "failed", "cancelled"] | None:
        """How it ended; None where the journal knows of no end."""
        if self.put is None:
            return None
        state = self.put.get("state")
        if state in ("failed", "cancelled") or "reason" in self.put:
            return "cancelled" if state == "cancelled" else "failed"
        return "completed"


def stories(journal: Path) -> dict[str, Story]:
    """Every job that the journal tells of, in the order in which they came."""
    found: dict[str, Story] = {}
    for entry in entries_with(journal, [b'"take"', b'"put"']):
        job = entry.get("job")
        if not isinstance(job, str) or not job:
            continue
        if entry.get("do") == "take":
            story = found.setdefault(job, Story(job))
            story.takes.append(entry)
        elif entry.get("do") == "put" and not entry.get("further"):
            found.setdefault(job, Story(job)).put = entry
    return found


@dataclass(frozen=True)
class Home:
    """A directory of `processing`: the files of one job that is not put away."""

    job: str
    path: Path
    rules: FolderRules


@dataclass(frozen=True)
class Trace:
    """What a job's own files say of its delivery."""

    #: `delivered`: all is in place. `unclear`: some of it is, or might be.
    verdict: Literal["delivered", "unclear"]
    why: str
    manifest: Path | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def hot_folders(settings: Settings) -> Iterator[FolderRules]:
    """The folders whose rules can be read."""
    for file in find_rule_files(settings):
        try:
            yield read_rules(file, settings)
        except RulesBroken:
            continue  # it takes nothing, and puts nothing on the queue again


def homes(settings: Settings) -> Iterator[Home]:
    """Everything that lies in `processing`, of all folders."""
    for rules in hot_folders(settings):
        try:
            with os.scandir(rules.stages.processing) as entries:
                names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except OSError:
            continue
        for name in names:
            yield Home(name, rules.stages.processing / name, rules)


class Traces:
    """Looks for what jobs have delivered. Each folder's manifests are read once."""

    def __init__(self) -> None:
        self._manifests: dict[Path, dict[str, tuple[Path, dict[str, Any]]]] = {}

    def of(self, home: Home) -> Trace | None:
        """What was delivered of a job; None when nothing was."""
        stages = home.rules.stages
        known = self._manifests.get(stages.manifests)
        if known is None:
            known = _manifests(stages.manifests)
            self._manifests[stages.manifests] = known
        drafts = list(_drafts(home))
        if home.job in known:
            path, told = known[home.job]
            missing = _missing(told)
            if missing and drafts:
                return Trace("unclear", f"it died while it delivered: {drafts[0]}", path, told)
            # Whoever took a result away had it: the job was done all the same.
            gone = f"; not there any more: {', '.join(missing)}" if missing else ""
            return Trace("delivered", f"its manifest is {path}{gone}", path, told)
        for draft in drafts:
            # All drafts are whole before the first gets its name, the manifest's, too.
            meant = _manifest_in(draft)
            if meant is not None and len(_missing(meant)) < len(meant.get("outputs", [])):
                return Trace("unclear", f"it died while it delivered: {draft}", None, meant)
        if not all(rule.records.manifest for rule in home.rules.rules):
            return Trace("unclear", "its folder has rules without manifests")
        return None


def _missing(told: Mapping[str, Any]) -> list[str]:
    """Outputs that do not lie where a manifest has them."""
    paths = [output["path"] for output in told.get("outputs", [])]
    return [path for path in paths if not os.path.lexists(path_from_text(path))]


def _manifest_in(file: Path) -> dict[str, Any] | None:
    try:
        if file.lstat().st_size > _MOST_BYTES:
            return None
        data = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if isinstance(data, dict) and MARK in data and isinstance(data.get("job"), str):
        return data
    return None


def _manifests(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not name.endswith(".json") or name.startswith("."):
                continue
            told = _manifest_in(path)
            if told is not None:
                found[told["job"]] = path, told
    return found


def _drafts(home: Home) -> Iterator[Path]:
    """Files of this job that have not got their names: it died while it delivered."""
    stages = home.rules.stages
    folders = {stages.out, stages.manifests, stages.reports}
    folders |= {output.folder for rule in home.rules.rules for output in rule.outputs}
    start = f".audiolla-{home.job}-"
    for folder in sorted(folders):
        for place, _, names in os.walk(folder):
            yield from (Path(place, name) for name in names if name.startswith(start))
