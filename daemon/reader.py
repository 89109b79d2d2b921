"""Looks into the queue without disturbing it: any process, any thread, never a write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from daemon import schema
from daemon.jobs import STATES, Job, JobEvent, State
from daemon.schema import job_events, jobs


def job_of(row: Mapping[Any, Any]) -> Job:
    """A row of the table, by column name, as a `Job`."""
    values = dict(row)
    del values["epoch"]
    values["cancel_requested"] = bool(values["cancel_requested"])
    for name in ("intent", "result"):
        if values[name] is not None:
            values[name] = orjson.loads(values[name])
    values["finished"] = orjson.loads(values["finished"] or "[]")
    return Job(**values)


class JobReader:
    """Reads the queue's database, which somebody else writes."""

    def __init__(self, database: Path) -> None:
        self._engine = schema.reader_engine(database)

    def job(self, job: str) -> Job | None:
        """The job of this id."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).first()
        return None if row is None else job_of(row._mapping)

    def has_key(self, idempotency_key: str) -> bool:
        """True when some job has this idempotency key."""
        query = sa.select(jobs.c.seq).where(schema.KEYED, jobs.c.idempotency_key == idempotency_key)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def jobs(
        self,
        status: State | None = None,
        limit: int | None = None,
        after: int = 0,
        *,
        newest_first: bool = False,
    ) -> list[Job]:
        """Jobs in the order of submission.

        Args:
            status: only those in this state.
            limit: at most so many.
            after: only those with a `seq` beyond this one; before it when the newest come first.
            newest_first: turn the order round.
        """
        query = sa.select(jobs)
        if status is not None:
            query = query.where(jobs.c.state == status)
        if newest_first:
            query = query.order_by(jobs.c.seq.desc())
            query = query.where(jobs.c.seq < after) if after else query
        else:
            query = query.where(jobs.c.seq > after).order_by(jobs.c.seq)
        with self._engine.connect() as connection:
            return [job_of(row._mapping) for row in connection.execute(query.limit(limit))]

    def events(self, job: str | None, after: int = 0, limit: int | None = None) -> list[JobEvent]:
        """The log of a job, or of all, from behind the event with number `after`."""
        query = (
            sa.select(job_events, jobs.c.id)
            .join(jobs, jobs.c.seq == job_events.c.job)
            .where(job_events.c.number > after)
            .order_by(job_events.c.number)
            .limit(limit)
        )
        if job is not None:
            query = query.where(jobs.c.id == job)
        with self._engine.connect() as connection:
            rows = connection.execute(query)
            return [
                JobEvent(
                    id=row.id,
                    number=row.number,
                    at=row.at,
                    state=row.state,
                    attempt=row.attempt,
                    worker=row.worker,
                    text=row.text,
                )
                for row in rows
            ]

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._engine.connect() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def oldest_pending(self) -> float | None:
        """When the oldest of the jobs that wait was submitted, in Unix seconds."""
        query = sa.select(sa.func.min(jobs.c.created)).where(jobs.c.state == "pending")
        with self._engine.connect() as connection:
            found: float | None = connection.execute(query).scalar()
        return found

    def known(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of those of these ids that exist."""
        found: dict[str, State] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(ids), 500):
                some = jobs.c.id.in_(ids[start : start + 500])
                rows = connection.execute(sa.select(jobs.c.id, jobs.c.state).where(some))
                found.update((row.id, row.state) for row in rows)
        return found

    def several(self, ids: Sequence[str]) -> dict[str, Job]:
        """Those of these jobs that exist, by id."""
        found: dict[str, Job] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(ids), 500):
                some = jobs.c.id.in_(ids[start : start + 500])
                rows = connection.execute(sa.select(jobs).where(some))
                found.update((row.id, job_of(row._mapping)) for row in rows)
        return found

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
