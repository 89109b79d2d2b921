"""The tables of the queue, and everything that differs from one database to another.

The store and the reader say what they want in SQLAlchemy Core; PRAGMAs,
locking and read-only opening are here and nowhere else. SQLite is what is
supported; the indexes are already spelled for PostgreSQL too.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import NullPool, StaticPool

#: The newest migration. A database at this revision needs no alembic.
HEAD = "0004"

#: Begins a transaction that will write.
BEGIN = "BEGIN IMMEDIATE"

metadata = sa.MetaData()

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("input_name", sa.Text, nullable=False),
    sa.Column("order", sa.Text, nullable=False),
    sa.Column("first_lane", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("next_step", sa.Integer, nullable=False),
    sa.Column("carried", sa.Text),
    sa.Column("finished", sa.Text),
    sa.Column("intent", sa.Text),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("vtime", sa.Float, nullable=False),
    sa.Column("share", sa.Text, nullable=False),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("cost", sa.Float, nullable=False),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("group_limit", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer),
    sa.Column("not_before", sa.Float),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("error_kind", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("error_field", sa.Text),
    sa.Column("error_hint", sa.Text),
    sa.Column("error_step", sa.Integer),
    sa.Column("error_op", sa.Text),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("webhook_url", sa.Text),
    sa.Column("errands", sa.Text),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("completed", sa.Float),
)

# Conditions of the partial indexes. A query uses such an index only if it repeats the condition
# literally, so both are spelled here, once.
READY = sa.text("state = 'pending' AND not_before IS NULL")
DELAYED = sa.text("state = 'pending' AND not_before IS NOT NULL")
RUNNING = sa.text("state = 'running'")
FORGETTABLE = sa.text("completed IS NOT NULL AND source IN ('rest', 'mcp', 'cli')")
KEYED = sa.text("idempotency_key IS NOT NULL")
AT_WORK = sa.text("source = 'schedule' AND state IN ('pending', 'running')")


def _partial(name: str, *columns: object, where: sa.TextClause, unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)  # type: ignore[arg-type]  # columns and expressions both, which the stub has no common name for


sa.Index("jobs_by_id", jobs.c.id, unique=True)
_partial(
    "jobs_ready",
    jobs.c.lane,
    jobs.c.group,
    jobs.c.priority.desc(),
    jobs.c.vtime,
    jobs.c.seq,
    where=READY,
)
_partial("jobs_delayed", jobs.c.not_before, where=DELAYED)
_partial("jobs_running", jobs.c.seq, where=RUNNING)
_partial("jobs_forgettable", jobs.c.completed, where=FORGETTABLE)
_partial("jobs_by_key", jobs.c.idempotency_key, where=KEYED, unique=True)
_partial("jobs_at_work", jobs.c.endpoint, where=AT_WORK)

job_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("text", sa.Text),
)
sa.Index("job_events_by_job", job_events.c.job)

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("next_at", sa.Float),
    sa.Column("ended", sa.Float),
)
"""The outbox: one row per end of a job that somebody wants to be told of, written in the same
transaction. `job` is the job's row as JSON, as it was then; `round` is the number of attempts
before the last wish to send it again."""

DUE = sa.text("next_at IS NOT NULL")
PAST = sa.text("ended IS NOT NULL")
sa.Index("webhooks_by_id", webhooks.c.id, unique=True)
sa.Index("webhooks_by_job", webhooks.c.job_id)
sa.Index("webhooks_due", webhooks.c.next_at, sqlite_where=DUE, postgresql_where=DUE)
sa.Index("webhooks_ended", webhooks.c.ended, sqlite_where=PAST, postgresql_where=PAST)

webhook_attempts = sa.Table(
    "webhook_attempts",
    metadata,
    sa.Column("webhook", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.Text),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("written", sa.Text, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
)
"""Schedules that were made over the API, as JSON; those of `schedules.yaml` stay in their file."""

schedule_marks = sa.Table(
    "schedule_marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("timing", sa.Text, nullable=False),
    sa.Column("settled", sa.Float, nullable=False),
)
"""How far each schedule is: what was due up to `settled` has a row in `firings`, or came before
the schedule was made or last changed its `timing`."""

firings = sa.Table(
    "firings",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schedule", sa.Text, nullable=False),
    sa.Column("tick", sa.Float, nullable=False),
    sa.Column("manual", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("missed", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("note", sa.Text),
)
"""One row per schedule and tick, written in the transaction that puts its jobs on the queue."""

sa.Index("firings_by_tick", firings.c.schedule, firings.c.tick, firings.c.manual, unique=True)
sa.Index("firings_by_time", firings.c.at)

firing_jobs = sa.Table(
    "firing_jobs",
    metadata,
    sa.Column("firing", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job", sa.Text, primary_key=True),
)

fixity = sa.Table(
    "fixity",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("modified", sa.Float, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("checked", sa.Float, nullable=False),
)
"""Delivered files as they were when they were first, or last legitimately, read back."""

sounds = sa.Table(
    "sounds",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
)
"""What hot folders have worked on: sound and work (`daemon.taking.twice`), and the job."""

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
"""Small numbers about the database itself: `epoch`, how often a dispatcher has started."""


def writer_engine(database: Path) -> sa.Engine:
    """The one engine that writes, with its one connection.

    One writer also keeps clear of the WAL-reset bug of SQLite before 3.51.3,
    which needs two connections that write or checkpoint at the same instant.
    """
    engine = sa.create_engine(f"sqlite:///{database}", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def configure(raw: object, _record: object) -> None:
        # The driver's own transaction control begins only before writes; ours begins before reads
        # that a write depends on.
        raw.isolation_level = None  # type: ignore[attr-defined]  # a DBAPI connection, which SQLAlchemy leaves untyped
        cursor = raw.cursor()  # type: ignore[attr-defined]  # as above
        for pragma in (
            "page_size = 8192",
            # Of a new file only; what is freed can then be given back bit by bit.
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = FULL",
            "busy_timeout = 5000",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "mmap_size = 0",
            "journal_size_limit = 67108864",
            "wal_autocheckpoint = 4000",
            "cache_size = -65536",
            "temp_store = MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(BEGIN)

    return engine


def reader_engine(database: Path) -> sa.Engine:
    """An engine that cannot write, for any process and thread."""
    name = quote(os.fspath(database.absolute()))
    engine = sa.create_engine(f"sqlite:///file:{name}?mode=ro&uri=true", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def configure(raw: object, _record: object) -> None:
        cursor = raw.cursor()  # type: ignore[attr-defined]  # a DBAPI connection, which SQLAlchemy leaves untyped
        for pragma in ("query_only = ON", "busy_timeout = 5000", "trusted_schema = OFF"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def damage(connection: sa.Connection) -> str | None:
    """What a quick check of the whole file finds wrong; None when nothing."""
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    return None if found == "ok" else str(found)


def revision(connection: sa.Connection) -> str | None:
    """The migration that the database is at; None for a new one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def disk_is_full(wrong: Exception) -> bool:
    """True when the driver's error is for want of room, so that the statement may succeed later."""
    return getattr(wrong, "sqlite_errorname", "") == "SQLITE_FULL"


def is_damage(wrong: BaseException) -> bool:
    """True when the driver's error says that the file itself is not as it was written."""
    told = getattr(wrong, "orig", None) or wrong
    name = str(getattr(told, "sqlite_errorname", None) or "")
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
