"""Does what is due: a thread that sleeps until the next tick of any schedule."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from daemon.client import QueueUnavailable
from daemon.clock import Clock, SystemClock
from daemon.schedules.batch import Batch, Batches, plain
from daemon.schedules.firing import Fired, NewFiring
from daemon.schedules.load import unusable
from daemon.schedules.model import Due, Schedule
from daemon.schedules.timetable import Timetable
from handlers.errors import AudiollaError, BadParameter
from rules.written import RulesBroken

log = logging.getLogger(__name__)

#: Seconds between two looks at the file, and the longest sleep: the wall clock may jump.
_LOOK = 2.0
#: Seconds until what the disk or the queue refused is tried again.
_AGAIN = 5.0


class Writer(Protocol):
    """Where it is written down: `daemon.client.Client`."""

    def fire(self, firing: NewFiring) -> Fired:
        """Write a tick down and put its jobs on the queue, or neither."""

    def settle(self, timings: Mapping[str, str]) -> dict[str, float]:
        """How far each schedule is."""

    def forget_marks(self, names: list[str]) -> None:
        """These schedules are no more."""


class Folders(Protocol):
    """The hot folders: `daemon.folders.FolderManager`."""

    def names(self) -> list[str]:
        """Those that there are."""

    def let_go(self, name: str, until: float) -> None:
        """Let go what a folder holds back that came before a moment."""


class Ticker:
    """The thread. Tests call `turn` themselves instead."""

    def __init__(
        self,
        timetable: Timetable,
        batches: Batches,
        writer: Writer,
        *,
        folders: Folders | None = None,
        last_fired: Callable[[], Mapping[str, float]] = dict,
        clock: Clock | None = None,
    ) -> None:
        """Nothing is done yet.

        Args:
            last_fired: when each schedule was last fired.
        """
        self._timetable = timetable
        self._batches = batches
        self._writer = writer
        self._folders = folders
        self._last_fired = last_fired
        self._clock = clock or SystemClock()
        self._settled: dict[str, float] = {}
        self._timings: dict[str, str] = {}
        #: When each is looked at next, in Unix seconds.
        self._next: dict[str, float] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._trouble = ""

    # -- life ------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin. What was fired just before the last end is let go once more."""
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fire nothing more; returns when what is being fired has been."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Schedules have changed."""
        self._wake.set()

    def _run(self) -> None:
        self._resume()
        while not self._stopping:
            self._wake.clear()
            try:
                due = self.turn()
            except Exception:
                # A fault in one turn must not stop the clock for good.
                log.exception("a turn of the clock broke off; going on in %g seconds", _AGAIN)
                due = self._clock.now() + _AGAIN
            self._wake.wait(min(max(due - self._clock.now(), 0.0), _LOOK))

    def _resume(self) -> None:
        """A folder is told to let go after its tick is written down: tell it again."""
        if self._folders is None:
            return
        fired = self._last_fired()
        for name, schedule in self._timetable.current().schedules.items():
            if schedule.text.folder is not None and name in fired:
                self._folders.let_go(schedule.text.folder, fired[name])

    # -- one turn --------------------------------------------------------------------------------
    def turn(self) -> float:
        """Do all that is due; the time (Unix seconds) at which there may be more."""
        schedules = self._timetable.current().schedules
        try:
            self._take_notice(schedules)
            for schedule in schedules.values():
                while self._next.get(schedule.name, float("inf")) <= self._clock.now():
                    if not self._one(schedule):
                        break
        except (OSError, QueueUnavailable) as wrong:
            if str(wrong) != self._trouble:
                log.warning("the clock waits: %s", wrong)
            self._trouble = str(wrong)
            return self._clock.now() + _AGAIN
        self._trouble = ""
        return min(self._next.values(), default=self._clock.now() + _LOOK)

    def _take_notice(self, schedules: Mapping[str, Schedule]) -> None:
        """Learn how far those are that are new or have changed, and forget those that are gone."""
        timings = {name: schedule.timing for name, schedule in schedules.items()}
        gone = [name for name in self._timings if name not in timings]
        if gone:
            self._writer.forget_marks(gone)
        fresh = {n: t for n, t in timings.items() if self._timings.get(n) != t}
        if fresh:
            self._settled.update(self._writer.settle(fresh))
        for name in gone:
            del self._timings[name], self._settled[name], self._next[name]
        for name in fresh:
            self._plan(schedules[name])
        self._timings.update(fresh)

    def _plan(self, schedule: Schedule) -> None:
        enabled = schedule.text.enabled
        name = schedule.name
        self._next[name] = schedule.next(self._settled[name]) if enabled else float("inf")

    def _one(self, schedule: Schedule) -> bool:
        """Deal with the next thing that is due; False when there is nothing more."""
        name = schedule.name
        settled = self._settled[name]
        now = self._clock.now()
        due = schedule.due(settled, now)
        if due is None:
            self._plan(schedule)
            return False
        fired = self._fire(schedule, due, settled)
        if fired.created:
            self._settled[name] = due.tick
        else:  # somebody else was here first, and may have gone on since
            self._settled.update(self._writer.settle({name: schedule.timing}))
        self._plan(schedule)
        return True

    def _fire(self, schedule: Schedule, due: Due, settled: float) -> Fired:
        firing = NewFiring(
            schedule=schedule.name,
            tick=due.tick,
            state="missed" if due.missed else "fired",
            missed=due.missed_before,
            since=settled,
            alone=schedule.text.overlap == "skip",
        )
        return self._say(firing, schedule) if due.missed else self._do(schedule, firing)

    def _do(self, schedule: Schedule, firing: NewFiring) -> Fired:
        try:
            self._check_folder(schedule)
            batch = self._batches.build(schedule)
        except (RulesBroken, AudiollaError) as wrong:
            return self._say(replace(firing, state="failed", note=unusable(wrong)), schedule)
        return self._put(schedule, replace(firing, jobs=plain(batch.jobs), note=batch.note), batch)

    def _put(self, schedule: Schedule, firing: NewFiring, batch: Batch) -> Fired:
        # Where no answer comes, what was kept for the jobs must stay: they may be on the queue.
        fired = self._say(firing, schedule)
        created = set(fired.jobs)
        self._batches.discard([job.id for job in batch.jobs if job.id not in created])
        if fired.state == "fired" and schedule.text.folder is not None:
            assert self._folders is not None
            self._folders.let_go(schedule.text.folder, self._clock.now())
        return fired

    def _say(self, firing: NewFiring, schedule: Schedule) -> Fired:
        fired = self._writer.fire(firing)
        if fired.created:
            told = log.warning if fired.state in ("failed", "missed") else log.info
            note = f": {fired.note}" if fired.note else ""
            jobs = f", {len(fired.jobs)} jobs" if fired.jobs else ""
            told("schedule %s: %s%s%s", schedule.name, fired.state, jobs, note)
        return fired

    def _check_folder(self, schedule: Schedule) -> None:
        wanted = schedule.text.folder
        if wanted is None:
            return
        names = [] if self._folders is None else self._folders.names()
        if wanted not in names:
            known = ", ".join(names) or "none"
            raise BadParameter(f"no hot folder {wanted!r}; there are: {known}", field="folder")

    # -- by hand ---------------------------------------------------------------------------------
    def run_now(self, schedule: Schedule) -> NewFiring:
        """Fire a schedule at once, whatever its times; what was written down.

        Raises:
            RulesBroken, AudiollaError: no jobs could be made; nothing is written down.
        """
        self._check_folder(schedule)
        batch = self._batches.build(schedule)
        firing = NewFiring(
            schedule=schedule.name,
            tick=self._clock.now(),
            state="fired",
            manual=True,
            note=batch.note,
            alone=schedule.text.overlap == "skip",
            jobs=plain(batch.jobs),
        )
        fired = self._put(schedule, firing, batch)
        assert fired.state != "stale"
        jobs = [job for job in firing.jobs if job["id"] in set(fired.jobs)]
        return replace(firing, state=fired.state, note=fired.note, jobs=jobs)
