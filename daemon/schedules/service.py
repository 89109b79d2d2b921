"""The API's view of the clock: `control_api.ports.Schedules` over timetable, ticker and book."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from control_api.errors import WrongState
from control_api.ports import Firing, ScheduleState
from daemon.client import Client, QueueUnavailable
from daemon.schedules.batch import Batches
from daemon.schedules.book import BookReader
from daemon.schedules.chores import BUILT_IN
from daemon.schedules.load import refusal
from daemon.schedules.model import Schedule
from daemon.schedules.ticker import Folders, Ticker
from daemon.schedules.timetable import NAME, Timetable
from daemon.settings import Settings
from handlers.errors import StorageFailed
from rules.written import RulesBroken


class ScheduleService:
    """One daemon's clock, for the threads of the API."""

    def __init__(
        self, settings: Settings, client: Client, *, folders: Folders | None = None
    ) -> None:
        self._client = client
        self._book = BookReader(settings.database)
        self._timetable = Timetable(settings, self._book)
        self._batches = Batches(
            settings.files,
            settings.results,
            self._timetable.around,
            self._book,
            max_bytes=settings.max_upload_bytes,
            max_attempts=settings.job_max_attempts,
        )
        self.ticker = Ticker(
            self._timetable,
            self._batches,
            client,
            folders=folders,
            last_fired=self._book.last_fired,
        )

    # -- looking -----------------------------------------------------------------------------
    def all(self) -> list[ScheduleState]:
        """Those in force, by name."""
        now = time.time()
        return [_state(one, now) for one in self._timetable.current().schedules.values()]

    def problems(self) -> Sequence[str]:
        """What is wrong with those that are not in force."""
        return self._timetable.current().problems

    def upcoming(self, name: str, count: int) -> list[float] | None:
        """Its next ticks."""
        found = self._find(name)
        return None if found is None else found.upcoming(time.time(), count)

    def plan(self, name: str) -> list[dict[str, Any]] | None:
        """What it would do now."""
        found = self._find(name)
        if found is None:
            return None
        with _refusing():
            return self._batches.plan(found)

    def firings(self, name: str | None, limit: int) -> list[Firing]:
        """The history."""
        return [
            Firing(
                one.schedule,
                one.tick,
                one.manual,
                one.state,
                one.missed,
                one.at,
                one.note,
                one.jobs,
            )
            for one in self._book.firings(name, limit)
        ]

    # -- changing ----------------------------------------------------------------------------
    def put(self, name: str, written: Mapping[str, Any], *, replace: bool) -> ScheduleState:
        """Check it whole, and keep it."""
        with _refusing():
            schedule = self._timetable.check(dict(written))
            known = self._find(name)
            if known is not None and known.origin == "file":
                raise WrongState(f"schedule {name!r} is written in {NAME}; change it there")
            if known is not None and known.origin == "api" and not replace:
                raise WrongState(f"there is a schedule {name!r}; PUT replaces it")
            self._client.put_schedule(name, orjson.dumps(schedule.written).decode())
        self._changed()
        return _state(schedule, time.time())

    def delete(self, name: str) -> bool:
        """Forget it; one of the program with the same name is in force again."""
        with _refusing():
            if self._client.drop_schedule(name):
                self._changed()
                return True
        known = self._find(name)
        if known is not None and known.origin == "file":
            raise WrongState(f"schedule {name!r} is written in {NAME}; change it there")
        if name in BUILT_IN:
            raise WrongState(
                f"schedule {name!r} comes with the program",
                hint=f'PUT {{"enabled": false}} to /v1/schedules/{name} switches it off',
            )
        return False

    def run(self, name: str) -> Firing | None:
        """Fire it now."""
        found = self._find(name)
        if found is None:
            return None
        with _refusing():
            fired = self.ticker.run_now(found)
        if fired.state == "skipped":
            raise WrongState(f"schedule {name!r} was not run: {fired.note}")
        jobs = {job["id"]: "pending" for job in fired.jobs}
        return Firing(name, fired.tick, True, fired.state, 0, fired.tick, fired.note, jobs)

    def _find(self, name: str) -> Schedule | None:
        return self._timetable.current().schedules.get(name)

    def _changed(self) -> None:
        self._timetable.refresh()
        self.ticker.wake()

    def close(self) -> None:
        """Close the database."""
        self._book.close()


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except RulesBroken as broken:
        raise refusal(broken) from None
    except QueueUnavailable as wrong:
        raise StorageFailed(str(wrong)) from wrong


def _state(one: Schedule, now: float) -> ScheduleState:
    return ScheduleState(
        name=one.name,
        origin=one.origin,
        enabled=one.text.enabled,
        cron=one.text.cron,
        timezone=one.zone.key,
        runs=one.text.kind,
        written=one.written,
        next_at=one.upcoming(now, 1)[0] if one.text.enabled else None,
    )
