"""What is written down of schedules: which there are, how far each is, what each of them did.

The writing side (`Book`) belongs to the dispatcher. A firing and its jobs are one transaction:
neither exists without the other, whoever dies when. The row is unique, and it is only written
by who knows how far the schedule is, so that of several who fire the same tick one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from daemon import schema
from daemon.clock import Clock
from daemon.jobs import NewJob, Submitted
from daemon.schedules.firing import Fired, FiringState, NewFiring, endpoint_of
from daemon.schema import firing_jobs, firings, fixity, jobs, schedules

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.store import Store

#: A mark this far in the future was made under a clock that was wrong.
_WRONG_CLOCK: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One line of the history."""

    number: int
    schedule: str
    tick: float
    manual: bool
    state: FiringState
    missed: int
    #: Unix seconds at which it was written down.
    at: float
    note: str | None
    #: Its jobs and their states; those that were forgotten since are `gone`.
    jobs: Mapping[str, str] = field(default_factory=dict)


class Book:
    """The writing side. What it changes is true for others when the turn is committed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        submit: Callable[[Sequence[NewJob]], list[Submitted]],
    ) -> None:
        """Write into a store.

        Args:
            submit: adds jobs to the queue, in the same turn.
        """
        self._store = store
        self._clock = clock
        self._submit = submit

    # -- firing --------------------------------------------------------------------------------
    def fire(self, new: NewFiring) -> Fired:
        """Write a tick down and put its jobs on the queue; a second time, say what became of it."""
        known = self._store.look_up(
            "firing", _schedule=new.schedule, _tick=new.tick, _manual=new.manual
        )
        marks = self._marks()
        if known:
            ((number, state, note),) = known
            timing, settled = marks.get(new.schedule, ("", new.tick))
            if not new.manual and settled < new.tick:
                self._mark(new.schedule, timing, new.tick)  # the clock was set back
            rows = self._store.look_up("jobs_of_firing", _number=number)
            return Fired(state=state, note=note, jobs=[job for (job,) in rows])
        if not new.manual and marks.get(new.schedule, ("", None))[1] != new.since:
            return Fired(state="stale")
        state, note, wanted = new.state, new.note, [NewJob(**job) for job in new.jobs]
        if wanted and new.alone and (busy := self._at_work(new.schedule)):
            state, wanted = "skipped", []
            note = f"{busy} of its jobs {'is' if busy == 1 else 'are'} still at work"
        number = self._store.next_firing()
        self._store.change(
            "fire",
            {
                "_number": number,
                "_schedule": new.schedule,
                "_tick": new.tick,
                "_manual": new.manual,
                "_state": state,
                "_missed": new.missed,
                "_at": self._clock.now(),
                "_note": note,
            },
        )
        created = [one.id for one in self._submit(wanted) if one.created] if wanted else []
        for job in created:
            self._store.change("fire_job", {"_firing": number, "_job": job})
        if not new.manual:
            timing, _ = marks[new.schedule]
            self._mark(new.schedule, timing, new.tick)
        return Fired(state=state, created=True, note=note, jobs=created)

    def _at_work(self, schedule: str) -> int:
        count: int = self._store.look_up("at_work", _endpoint=endpoint_of(schedule))[0][0]
        return count

    # -- how far they are ----------------------------------------------------------------------
    def settle(self, timings: Mapping[str, str]) -> dict[str, float]:
        """How far each schedule is. One that is new, or is due at other times, begins now.

        Args:
            timings: by name, what its times follow from.
        """
        now = self._clock.now()
        marks = self._marks()
        for name, timing in timings.items():
            before, settled = marks.get(name, ("", 0.0))
            if before != timing or settled > now + _WRONG_CLOCK:
                self._mark(name, timing, now)
                marks[name] = timing, now
        return {name: marks[name][1] for name in timings}

    def forget_marks(self, names: Sequence[str]) -> None:
        """These schedules are no more; should they come again, they begin anew."""
        for name in names:
            self._store.change("unmark", {"_name": name})

    def _marks(self) -> dict[str, tuple[str, float]]:
        return {name: (timing, at) for name, timing, at in self._store.look_up("marks")}

    def _mark(self, name: str, timing: str, settled: float) -> None:
        # Written at once: the same row may change twice in a turn.
        self._store.change("mark", {"_name": name, "_timing": timing, "_settled": settled})
        self._store.look_up("marks")

    # -- those made over the API -----------------------------------------------------------------
    def put(self, name: str, written: str) -> None:
        """Keep a schedule (JSON), in place of one of this name."""
        row = {"_name": name, "_written": written, "_changed": self._clock.now()}
        self._store.change("put_schedule", row)

    def drop(self, name: str) -> bool:
        """Forget a schedule; False when there is none."""
        known = bool(self._store.look_up("a_schedule", _name=name))
        if known:
            self._store.change("drop_schedule", {"_name": name})
        return known

    # -- upkeep ----------------------------------------------------------------------------------
    def forget_firings(self, seconds: float) -> int:
        """Forget the history that is older than this, some hundreds at a time; how many."""
        old = self._store.look_up("old_firings", _before=self._clock.now() - seconds)
        for (number,) in old:
            self._store.change("forget_firing_jobs", {"_number": number})
            self._store.change("forget_firing", {"_number": number})
        return len(old)

    def seen(self, rows: Sequence[Mapping[str, Any]], gone: Sequence[str]) -> None:
        """Remember what delivered files are like, and forget some."""
        for row in rows:
            self._store.change("seen", {f"_{name}": value for name, value in row.items()})
        for path in gone:
            self._store.change("unseen", {"_path": path})


class BookReader:
    """The reading side: any process, any thread, never a write."""

    def __init__(self, database: Path) -> None:
        self._engine = schema.reader_engine(database)

    def schedules(self) -> dict[str, dict[str, Any]]:
        """Those made over the API, as they were written, by name."""
        query = sa.select(schedules.c.name, schedules.c.written).order_by(schedules.c.name)
        with self._engine.connect() as connection:
            return {row.name: orjson.loads(row.written) for row in connection.execute(query)}

    def changed(self) -> tuple[int, float]:
        """Differs whenever one was made, changed or deleted."""
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(schedules.c.changed), 0.0))
        with self._engine.connect() as connection:
            count, at = connection.execute(query).one()
        return count, at

    def firings(self, schedule: str | None, limit: int) -> list[Firing]:
        """The newest, oldest first, with their jobs."""
        query = sa.select(firings).order_by(firings.c.number.desc()).limit(limit)
        if schedule is not None:
            query = query.where(firings.c.schedule == schedule)
        of_jobs = (
            sa.select(firing_jobs.c.firing, firing_jobs.c.job, jobs.c.state)
            .join(jobs, jobs.c.id == firing_jobs.c.job, isouter=True)
            .order_by(firing_jobs.c.job)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            states: dict[int, dict[str, str]] = {row.number: {} for row in rows}
            numbers = list(states)
            for start in range(0, len(numbers), 500):
                some = firing_jobs.c.firing.in_(numbers[start : start + 500])
                for firing, job, state in connection.execute(of_jobs.where(some)):
                    states[firing][job] = state or "gone"
        return [
            Firing(**{**row._mapping, "manual": bool(row.manual)}, jobs=states[row.number])
            for row in reversed(rows)
        ]

    def last_fired(self) -> dict[str, float]:
        """When each schedule was last fired, in Unix seconds."""
        query = (
            sa.select(firings.c.schedule, sa.func.max(firings.c.at))
            .where(firings.c.state == "fired")
            .group_by(firings.c.schedule)
        )
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Those of these idempotency keys that the queue has a job for."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for start in range(0, len(keys), 500):
                some = jobs.c.idempotency_key.in_(keys[start : start + 500])
                query = sa.select(jobs.c.idempotency_key).where(schema.KEYED, some)
                found.update(connection.scalars(query))
        return found

    def fixity(self, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of these files, by path."""
        found: dict[str, dict[str, Any]] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(paths), 500):
                some = fixity.c.path.in_(paths[start : start + 500])
                for row in connection.execute(sa.select(fixity).where(some)):
                    found[row.path] = dict(row._mapping)
        return found

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
