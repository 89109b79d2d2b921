"""What the store prepares for schedules; `book` says when it is used."""

from __future__ import annotations

from collections.abc import Mapping
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
    changed = {name: statement.excluded[name] for name in table.c.keys() if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


STATEMENTS: Final[Mapping[str, sa.Executable]] = {
    "fire": sa.insert(firings).values(_bound(firings)),
    "fire_job": sa.insert(firing_jobs).values(_bound(firing_jobs)),
    "firing": sa.select(firings.c.number, firings.c.state, firings.c.note).where(
        firings.c.schedule == sa.bindparam("_schedule"),
        firings.c.tick == sa.bindparam("_tick"),
        firings.c.manual == sa.bindparam("_manual"),
    ),
    "at_work": sa.select(sa.func.count()).where(
        schema.AT_WORK, jobs.c.endpoint == sa.bindparam("_endpoint")
    ),
    "mark": _upsert(schedule_marks),
    "marks": sa.select(
        schedule_marks.c.name, schedule_marks.c.timing, schedule_marks.c.settled
    ),
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
    # Chores say what they did in the history, so that their jobs need not be kept as long as
    # those that made something.
    "old_ledger": sa.select(jobs.c.seq, jobs.c.id)
    .where(
        jobs.c.completed < sa.bindparam("_before"),
        jobs.c.source.in_(("folder", "schedule")),
        jobs.c.state.in_(("completed", "cancelled")),
        jobs.c.seq > sa.bindparam("_after"),
    )
    .order_by(jobs.c.seq)
    .limit(500),
    "seen": _upsert(fixity),
    "unseen": sa.delete(fixity).where(fixity.c.path == sa.bindparam("_path")),
}
