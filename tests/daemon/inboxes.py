"""Hot folders to test with: a real disk, a clock that is moved by hand, a queue in memory."""

import os
import struct
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from daemon.client import News, QueueUnavailable
from daemon.clock import ManualClock
from daemon.folders import FolderManager
from daemon.jobs import ENDED, Job, NewJob, Submitted, check_move
from daemon.settings import Settings
from rules.orders import Order


def wav(frames: int = 100) -> bytes:
    """A whole mono 16-bit WAV file."""
    data = bytes(2 * frames)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 48000, 96000, 2, 16)
    chunk = struct.pack("<4sI", b"data", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(form) + len(chunk)) + b"WAVE" + form + chunk


@dataclass
class FakeQueue:
    """Keeps jobs in a dictionary. Tests decide how each ends."""

    jobs: dict[str, Job] = field(default_factory=dict)
    submissions: list[int] = field(default_factory=list)
    #: Raised by the next submissions instead of taking the jobs, one after the other.
    faults: list[Exception] = field(default_factory=list)
    #: Take the jobs, but lose the answer.
    lose_answer: bool = False

    def submit(self, jobs: list[NewJob]) -> list[Submitted]:
        if self.faults:
            raise self.faults.pop(0)
        self.submissions.append(len(jobs))
        answers = []
        for new in jobs:
            created = new.id not in self.jobs
            if created:
                # Invariant of the hot folder: the file is in processing before its job can run.
                assert self.file_of(new.order).exists()
                self.jobs[new.id] = _job(new, len(self.jobs))
            answers.append(Submitted(new.id, created, self.jobs[new.id].state))
        if self.lose_answer:
            self.lose_answer = False
            raise QueueUnavailable("the connection broke")
        return answers

    def retry(self, job: str) -> None:
        check_move(job, self.jobs[job].state, "pending")
        self.jobs[job] = replace(self.jobs[job], state="pending", error_kind=None, error=None)

    def release(self, jobs: list[str]) -> int:
        held = [job for job in jobs if self.jobs[job].not_before is not None]
        for job in held:
            self.jobs[job] = replace(self.jobs[job], not_before=None)
        return len(held)

    def job(self, job: str) -> Job | None:
        return self.jobs.get(job)

    def known(self, ids: list[str]) -> dict[str, str]:
        return {job: self.jobs[job].state for job in ids if job in self.jobs}

    def several(self, ids: list[str]) -> dict[str, Job]:
        return {job: self.jobs[job] for job in ids if job in self.jobs}

    @staticmethod
    def file_of(order: str) -> Path:
        read = Order.model_validate_json(order)
        if read.sound is not None:
            return read.sound.path
        # The first step takes a list: the dropped file is one of it.
        (listed,) = read.steps[0].items.values()
        return listed[0].sound.path

    def end(self, job: str, state: str = "completed", **facts: object) -> None:
        self.jobs[job] = replace(self.jobs[job], state=state, attempt=1, **facts)


def _job(new: NewJob, seq: int) -> Job:
    blank = {f.name: None for f in fields(Job)}
    given = {f.name: getattr(new, f.name) for f in fields(NewJob) if f.name in blank}
    given = blank | given | {"seq": seq, "created": float(seq)}
    return Job(**(given | {"state": "pending", "finished": [], "attempt": 0}))


class Studio:
    """One hot folder below a data directory, with its manager."""

    def __init__(
        self,
        tmp_path: Path,
        rules: str = "rules: [{name: all}]",
        *,
        listen: bool = False,
        name: str = "podcast",
    ) -> None:
        self.settings = Settings(data_dir=tmp_path / "data")
        self.root = self.settings.folders / name
        self.root.mkdir(parents=True)
        (self.root / "rules.yaml").write_text(rules)
        self.queue = FakeQueue()
        self.clock = ManualClock()
        # Directory times are the kernel's: the clock of a test must not be behind them.
        self.clock.advance(2_000_000_000.0 - self.clock.now())
        self.listen = listen
        self.manager = self.restart()

    def restart(self) -> FolderManager:
        """A new manager over the same disk, as after a crash."""
        if hasattr(self, "manager"):
            self.manager.stop()
        self._number = getattr(self, "_number", 0)
        self.manager = FolderManager(
            self.settings,
            self.queue,
            self.queue,
            clock=self.clock,
            new_job_id=self._new_id,
            listen=self.listen,
        )
        return self.manager

    def _new_id(self) -> str:
        self._number += 1
        return f"job-{self._number:05}"

    def drop(self, rel: str, data: bytes | None = None) -> Path:
        """A finished file appears in the inbox, by rename."""
        path = self.root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self.settings.data_dir / "incoming"
        part.write_bytes(wav() if data is None else data)
        os.rename(part, path)
        return path

    def pass_time(self, seconds: float, steps: int = 1) -> None:
        """Let time pass and give the manager its turn after each step of it."""
        for _ in range(steps):
            self.clock.advance(seconds / steps)
            self.settle()

    def settle(self) -> None:
        """Give the manager turns until it has nothing more to do at this moment."""
        while self.manager.turn() <= self.clock.monotonic():
            pass

    def finish(self, state: str = "completed", **facts: object) -> None:
        """End all jobs that have not ended, and tell the manager."""
        for job in [j for j in self.queue.jobs.values() if j.state not in ENDED]:
            self.queue.end(job.id, state, **facts)
            self.manager.heard(News(state=state, id=job.id))
        self.manager.turn()

    def files(self, below: str = "") -> list[str]:
        """Every file in the folder (or a stage of it), without the rule file and empty folders."""
        base = os.fspath(self.root / below)
        return sorted(
            os.path.relpath(os.path.join(folder, name), base)
            for folder, _, names in os.walk(base)
            for name in names
            if name != "rules.yaml"
        )

    @property
    def names(self) -> list[str]:
        """What the queue's jobs are about."""
        return sorted(job.input_name for job in self.queue.jobs.values())
