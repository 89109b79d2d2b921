"""From a schedule that is due to the jobs that do its work."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from daemon.jobs import NewJob, estimated_cost, new_id
from daemon.mounts import steady_inode
from daemon.schedules.chores import task_of
from daemon.schedules.firing import endpoint_of
from daemon.schedules.load import Around, chain_of
from daemon.schedules.model import Schedule
from daemon.staging import Staging
from handlers.errors import AudiollaError
from rules.match import FileFacts, matches_glob
from rules.model import FolderRules
from rules.orders import path_to_text
from rules.plan import plan, printable

MOST_FILES: Final = 10_000
"""Files of one firing: all of them are one transaction, and others wait for it."""
_HOUSEKEEPING: Final = "housekeeping"


class Keys(Protocol):
    """Knows what has been done: `book.BookReader`."""

    def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Those of these idempotency keys that the queue has a job for."""


@dataclass(frozen=True)
class Candidate:
    """A file that a schedule would take."""

    #: Path below the staging area, or below the folder that the pattern names.
    rel: str
    size: int
    #: Another one as soon as any byte may be another.
    tag: str
    #: Where it lies; None for a staged one.
    path: Path | None = None


@dataclass(frozen=True)
class Batch:
    """What one firing puts on the queue."""

    jobs: list[NewJob] = field(default_factory=list)
    #: What is to be said of it.
    note: str | None = None


class Batches:
    """Makes them. May be asked from any thread."""

    def __init__(
        self,
        staging: Path,
        results: Path,
        around: Around,
        keys: Keys,
        *,
        max_bytes: int,
        max_attempts: int,
        new_job_id: Callable[[], str] = new_id,
    ) -> None:
        """Make batches.

        Args:
            staging: root of the staging area.
            results: where a job's second names of staged files lie, in a folder of its own.
            around: what schedules may name.
            keys: what has been done.
            max_bytes: cap on one staged file.
            max_attempts: tries of a job whose fault may pass.
            new_job_id: chooses job ids.
        """
        self._staging = Staging(staging, max_bytes)
        self._results = results
        self._around = around
        self._keys = keys
        self._max_attempts = max_attempts
        self._new_id = new_job_id

    def build(self, schedule: Schedule) -> Batch:
        """The jobs of one firing. Those that are not put on the queue must be `discard`ed.

        Raises:
            RulesBroken, AudiollaError: its steps, or what they name, cannot be used any more.
            OSError: the disk does not answer; try again later.
        """
        text = schedule.text
        if text.chore is not None:
            return Batch([self._chore(schedule)])
        if text.folder is not None:
            return Batch()
        rules = chain_of(text, schedule.origin, self._around)
        if text.files is None:
            nowhere = Path(text.name)
            job = self._new_id()
            return Batch([self._job(schedule, rules, FileFacts(text.name, 0), nowhere, job)])
        return self._files(schedule, rules)

    def discard(self, jobs: Sequence[str]) -> None:
        """Remove what was kept for jobs that never were."""
        for job in jobs:
            shutil.rmtree(self._results / job, ignore_errors=True)

    def plan(self, schedule: Schedule) -> list[dict[str, Any]]:
        """What a firing would do now, for each file; nothing is written.

        Raises:
            RulesBroken, AudiollaError: as `build`.
        """
        text = schedule.text
        if text.chore is not None:
            task = task_of(text.chore, text.params)
            return [{"chore": task.name, "params": task.params.model_dump(mode="json")}]
        if text.folder is not None:
            return [{"folder": text.folder}]
        rules = chain_of(text, schedule.origin, self._around)
        (rule,) = rules.rules
        steps = [{"op": step.op, "params": step.params} for step in rule.steps]
        if text.files is None:
            return [{"steps": steps}]
        fresh, _ = self._fresh(schedule, rules)
        return [{"file": printable(one.rel), "steps": steps} for one in fresh]

    # -- kinds of work ---------------------------------------------------------------------------
    def _chore(self, schedule: Schedule) -> NewJob:
        task = task_of(schedule.text.chore or "", schedule.text.params)
        return NewJob(
            id=self._new_id(),
            order=task.order(),
            source="schedule",
            endpoint=endpoint_of(schedule.name),
            input_name=task.name,
            lane="net",
            priority=schedule.text.priority,
            share=_HOUSEKEEPING,
            group=_HOUSEKEEPING,
            group_limit=1,
            max_attempts=self._max_attempts,
        )

    def _files(self, schedule: Schedule, rules: FolderRules) -> Batch:
        fresh, keys = self._fresh(schedule, rules)
        jobs: list[NewJob] = []
        gone = 0
        try:
            for one in fresh[:MOST_FILES]:
                job = self._new_id()
                try:
                    at, size = self._at(one, job)
                except AudiollaError:
                    gone += 1  # deleted or replaced by something else since we looked
                    self.discard([job])
                    continue
                facts = FileFacts(one.rel, size)
                new = self._job(schedule, rules, facts, at, job, key=keys.get(one.rel))
                jobs.append(new)
        except BaseException:
            self.discard([new.id for new in jobs])
            raise
        notes = [f"{len(fresh)} files fit, {MOST_FILES} at once"] if len(fresh) > MOST_FILES else []
        notes += [f"{gone} of the files went away"] if gone else []
        notes += ["no new file fits"] if not fresh else []
        return Batch(jobs, "; ".join(notes) or None)

    def _fresh(
        self, schedule: Schedule, rules: FolderRules
    ) -> tuple[list[Candidate], dict[str, str]]:
        """The files that fit and were not worked on before, and the key of each by its path."""
        found = list(self._fitting(schedule, rules))
        if schedule.text.again:
            return found, {}
        (rule,) = rules.rules
        # Another chain, or another place for what comes out, is another piece of work.
        output = rule.output
        work = [
            [step.model_dump(mode="json") for step in rule.steps],
            path_to_text(output.folder),
            output.name,
            repr(output.encoding),
        ]
        what = hashlib.blake2b(orjson.dumps(work), digest_size=12).hexdigest()
        keys = {
            one.rel: f"schedule:{schedule.name}:{what}:{one.tag}:{path_to_text(one.rel)}"
            for one in found
        }
        known = self._keys.known_keys(list(keys.values()))
        return [one for one in found if keys[one.rel] not in known], keys

    def _fitting(self, schedule: Schedule, rules: FolderRules) -> Iterator[Candidate]:
        text = schedule.text
        reserved = tuple(os.fspath(path) + "/" for path in rules.reserved)
        staged = [glob for glob in text.files or () if not glob.startswith("/")]
        for one in self._staging.list() if staged else ():
            # What came out of it before is no input, nor is a name that no path can have.
            inside = f"{rules.root}/{one.path}"
            if inside.startswith(reserved) or "\ufffd" in one.path:
                continue
            if one.size and _fits(one.path, staged, text.exclude or ()):
                yield Candidate(one.path, one.size, one.tag)
        for glob in text.files or ():
            if glob.startswith("/"):
                yield from _of_machine(glob, text.exclude or (), reserved)

    def _at(self, one: Candidate, job: str) -> tuple[Path, int]:
        """Where the job finds it: a staged file under a second name, which nobody else changes."""
        if one.path is not None:
            return one.path, one.size
        return self._staging.snapshot(one.rel, self._results / job / "inputs")

    def _job(
        self,
        schedule: Schedule,
        rules: FolderRules,
        file: FileFacts,
        at: Path,
        job: str,
        *,
        key: str | None = None,
    ) -> NewJob:
        planned = plan(rules, file, at)
        return NewJob(
            id=job,
            order=planned.order.model_dump_json(exclude_defaults=True),
            source="schedule",
            endpoint=endpoint_of(schedule.name),
            input_name=printable(file.rel),
            lane=planned.lane,
            priority=schedule.text.priority,
            share=endpoint_of(schedule.name),
            cost=estimated_cost(file.size),
            max_attempts=self._max_attempts,
            idempotency_key=key,
        )


def plain(jobs: Sequence[NewJob]) -> list[dict[str, Any]]:
    """Jobs as the wire takes them."""
    return [asdict(job) for job in jobs]


def _fits(path: str, globs: Sequence[str], exclude: Sequence[str]) -> bool:
    return any(matches_glob(g, path) for g in globs) and not any(
        matches_glob(g, path) for g in exclude
    )


def _of_machine(
    glob: str, exclude: Sequence[str], reserved: tuple[str, ...]
) -> Iterator[Candidate]:
    """Plain files outside of the staging area, sorted; no link is followed."""
    parts = Path(glob).parts
    wild = (n for n, part in enumerate(parts) if set(part) & set("*?["))
    fixed = min(next(wild, len(parts)), len(parts) - 1)
    base, pattern = Path(*parts[:fixed]), "/".join(parts[fixed:])
    deep = "**" in pattern
    for folder, names, files in os.walk(base):
        below = Path(folder).relative_to(base)
        names[:] = sorted(n for n in names if not n.startswith("."))
        if not deep and len(below.parts) + 1 >= len(parts) - fixed:
            names.clear()
        for name in sorted(files):
            path = Path(folder, name)
            rel = (below / name).as_posix()
            # The pattern names the whole path, also where it is a bare name.
            if name.startswith(".") or not matches_glob(f"./{pattern}", f"./{rel}"):
                continue
            if any(matches_glob(g, rel) for g in exclude):
                continue
            if os.fspath(path).startswith(reserved):
                continue
            facts = path.lstat()
            if not stat.S_ISREG(facts.st_mode) or not facts.st_size:
                continue
            tag = f"{steady_inode(facts):x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
            yield Candidate(rel, facts.st_size, tag, path)
