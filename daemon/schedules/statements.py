"""What the store prepares for schedules; `book` says when it is used."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from daemon import schema
from daemon.schema import firing_jobs, firings, fixity, jobs, schedule_marks, schedules


def _bound(table: sa.Table) -> dict[str, sa.BindParameter[object]]:
    return {column.name: sa.bindparam(f"_{column.name}") for column in table.c}


def _upsert(table: sa.Table) -> sa.Executable:
    # The one statement here that is not plain SQL; PostgreSQL spells it the same way.
    from sqlalchemy.dialects.sqlite import insert

    key = table.primary_key.columns.keys()
    statement = insert(table).values(_bound(table))
    names = [column.name for column in table.c if column.name not in key]
    changed = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def _past_jobs(*sources: str, of_chores: bool = False) -> sa.Select[tuple[int, str]]:
    """Jobs that went well and are long over. Those that failed stay until somebody has seen them.

    By position, a few thousand rows at a time: there is no index for what is asked once a day.
    """
    looked_at = (
        sa.select(jobs.c.seq)
        .where(jobs.c.seq > sa.bindparam("_after"))
        .order_by(jobs.c.seq)
        .limit(5000)
    )
    fits = sa.and_(
        jobs.c.completed < sa.bindparam("_before"),
        jobs.c.source.in_([sa.literal_column(f"'{source}'") for source in sources]),
        jobs.c.state.in_([sa.literal_column(f"'{s}'") for s in ("completed", "cancelled")]),
        *([jobs.c.group == sa.literal_column("'housekeeping'")] if of_chores else []),
    )
    return (
        sa.select(jobs.c.seq, sa.case((fits, jobs.c.id), else_=None))
        .where(jobs.c.seq.in_(looked_at))
        .order_by(jobs.c.seq)
    )


STATEMENTS: Final[dict[str, sa.Executable]] = {
    "fire": sa.insert(firings).values(_bound(firings)),
    "fire_job": sa.insert(firing_jobs).values(_bound(firing_jobs)),
    "firing": sa.select(firings.c.number, firings.c.state, firings.c.note).where(
        firings.c.schedule == sa.bindparam("_schedule"),
        firings.c.tick == sa.bindparam("_tick"),
        firings.c.manual == sa.bindparam("_manual"),
    ),
    "jobs_of_firing": sa.select(firing_jobs.c.job).where(
        firing_jobs.c.firing == sa.bindparam("_number")
    ),
    "at_work": sa.select(sa.func.count()).where(
        schema.AT_WORK, jobs.c.endpoint == sa.bindparam("_endpoint")
    ),
    "mark": _upsert(schedule_marks),
    "marks": sa.select(schedule_marks.c.name, schedule_marks.c.timing, schedule_marks.c.settled),
    "unmark": sa.delete(schedule_marks).where(schedule_marks.c.name == sa.bindparam("_name")),
    "put_schedule": _upsert(schedules),
    "a_schedule": sa.select(schedules.c.written).where(schedules.c.name == sa.bindparam("_name")),
    "drop_schedule": sa.delete(schedules).where(schedules.c.name == sa.bindparam("_name")),
    "old_firings": sa.select(firings.c.number)
    .where(firings.c.at < sa.bindparam("_before"))
    .order_by(firings.c.at)
    .limit(500),
    "forget_firing": sa.delete(firings).where(firings.c.number == sa.bindparam("_number")),
    "forget_firing_jobs": sa.delete(firing_jobs).where(
        firing_jobs.c.firing == sa.bindparam("_number")
    ),
    "old_chores": _past_jobs("schedule", of_chores=True),
    "old_jobs": _past_jobs("folder", "schedule"),
    "seen": _upsert(fixity),
    "unseen": sa.delete(fixity).where(fixity.c.path == sa.bindparam("_path")),
}
