"""Holds running jobs to what they may use up: time, processor, memory, room on the disk.

The dispatcher looks at its workers from outside, once a second, so that a job
which keeps the interpreter to itself is held as well. A worker whose job is
over its budget is ended; the spare takes its place, and the job is failed with
the figure: the same attempt would use up the same again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from daemon.faults import Fault
from daemon.held import Held
from daemon.settings import Settings
from rules.budgets import Budget, budget_of

INTERVAL: Final = 1.0
"""Seconds between two looks; what takes less is never looked at."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_DRAFT: Final = ".audiolla-"
_KIND: Final = "BudgetExceeded"


@dataclass(frozen=True)
class Usage:
    """What a process has used up until now."""

    #: Seconds on all processors, with those of its children that have ended.
    cpu: float
    #: Bytes that are resident.
    memory: int


def usage_of(pid: int) -> Usage:
    """What a process has used up.

    Raises:
        OSError: there is none.
    """
    # The name stands in brackets and may hold anything: the fields count from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    cpu = sum(int(field) for field in fields[11:15]) / _TICKS
    return Usage(cpu, int(fields[21]) * _PAGE)


def disk_of(pid: int, scratch: Path) -> int:
    """Bytes of a job's scratch folder, and of the drafts that its worker has open."""
    return sum(_sizes_below(scratch)) + sum(_open_drafts(pid))


def _sizes_below(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue


def _open_drafts(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/fd"
    try:
        handles = os.listdir(folder)
    except OSError:
        return
    seen: set[tuple[int, int]] = set()
    for handle in handles:
        try:
            target = os.readlink(f"{folder}/{handle}")
            if not os.path.basename(target).startswith(_DRAFT):
                continue
            told = os.stat(f"{folder}/{handle}")
        except OSError:
            continue
        if (told.st_dev, told.st_ino) not in seen:
            seen.add((told.st_dev, told.st_ino))
            yield told.st_blocks * 512


class Budgets:
    """The budgets of all that runs."""

    def __init__(
        self,
        settings: Settings,
        *,
        usage: Callable[[int], Usage] = usage_of,
        disk: Callable[[int, Path], int] = disk_of,
    ) -> None:
        """`usage` and `disk` look at a worker."""
        self._settings = settings
        self._common = settings.budget
        self._usage, self._disk = usage, disk
        #: Processor time of its worker when an attempt was first looked at, and its budget.
        self._begun: dict[tuple[str, int], tuple[float, Budget]] = {}

    def broken(self, held: Held, pid: int, now: float) -> Fault | None:
        """Why a job has to end, with the figure; None while it is within its budget.

        Args:
            pid: its worker.
            now: monotonic seconds.
        """
        if held.intent is not None:
            return None  # its files are getting their names: that is quick, and must be finished
        try:
            usage = self._usage(pid)
        except OSError:
            return None  # it is dying; that is told elsewhere
        key = held.id, held.attempt
        if key not in self._begun:
            self._begun[key] = usage.cpu, self._budget(held)
        before, budget = self._begun[key]
        if budget.wall is not None and now - held.begun > budget.wall:
            return _fault("wall", f"{now - held.begun:.1f} s", f"{budget.wall:g} s of time", held)
        if budget.cpu is not None and usage.cpu - before > budget.cpu:
            used = f"{usage.cpu - before:.1f} s"
            return _fault("cpu", used, f"{budget.cpu:g} s of processor time", held)
        if budget.memory is not None and usage.memory > budget.memory:
            return _fault("memory", _mib(usage.memory), f"{_mib(budget.memory)} of memory", held)
        if budget.disk is not None:
            room = self._disk(pid, self._settings.scratch / held.id)
            if room > budget.disk:
                return _fault("disk", _mib(room), f"{_mib(budget.disk)} on the disk", held)
        return None

    def keep(self, running: set[tuple[str, int]]) -> None:
        """Forget the attempts that do not run any more."""
        self._begun = {key: value for key, value in self._begun.items() if key in running}

    def _budget(self, held: Held) -> Budget:
        try:
            own = budget_of(orjson.loads(held.order).get("budget"))
        except (orjson.JSONDecodeError, AttributeError, ValidationError):
            own = None  # an order of nobody's we know; the common budget holds
        return self._common.within(own)


def _fault(figure: str, used: str, allowed: str, held: Held) -> Fault:
    return Fault(
        _KIND,
        f"the job used {used}; it may use {allowed}",
        op=held.step,
        hint=f"AUDIOLLA_JOB_MAX_{figure.upper()}, or the budget of its folder or token",
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
