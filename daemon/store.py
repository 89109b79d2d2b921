"""Every statement that changes the queue. Owned by one process, with one connection.

What happens in one turn of the dispatcher is one transaction: changes are
collected, written together, and durable when `commit` returns. Nothing may
be told to anybody before that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from daemon import schema
from daemon.faults import DamagedDatabase
from daemon.held import READY_COLUMNS, Held
from daemon.jobs import Job, State
from daemon.migrate import bring_up
from daemon.prepared import Prepared
from daemon.reader import job_of
from daemon.schedules.statements import STATEMENTS as SCHEDULE_STATEMENTS
from daemon.schema import facts, firings, job_events, jobs, sounds, webhook_attempts, webhooks

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
_CHECK_UP_TO_BYTES = 256 * 2**20


class Duplicate(Exception):
    """An id or idempotency key is known already; nothing of the submission was stored."""


def _update(state: State | None, *columns: str, **constants: Any) -> sa.Update:
    """An update of the job `_seq`: `columns` from the row, `constants` always the same."""
    values: dict[str, Any] = {name: sa.bindparam(f"_{name}") for name in columns}
    if state is not None:
        values["state"] = sa.literal_column(f"'{state}'")
    values.update({name: sa.literal_column(str(value)) for name, value in constants.items()})
    return sa.update(jobs).where(jobs.c.seq == sa.bindparam("_seq")).values(values)


def _update_webhook(*columns: str, **constants: str) -> sa.Update:
    """An update of the webhook `_number`, as `_update` is of a job."""
    values: dict[str, Any] = {name: sa.bindparam(f"_{name}") for name in columns}
    values.update({name: sa.literal_column(value) for name, value in constants.items()})
    return sa.update(webhooks).where(webhooks.c.number == sa.bindparam("_number")).values(values)


_INSERTED = (
    *("seq", "id", "source", "endpoint", "input_name", "order", "first_lane", "lane"),
    *("priority", "vtime", "share", "weight", "cost", "group", "group_limit", "max_attempts"),
    *("not_before", "idempotency_key", "webhook_url", "errands", "created"),
)
_NO_ERROR = dict.fromkeys(
    ("error_kind", "error", "error_field", "error_hint", "error_step", "error_op"), "NULL"
)

#: Every statement of a turn. Values that are not listed are bound from the row, as `_<column>`.
_STATEMENTS: dict[str, sa.Executable] = {
    "insert": sa.insert(jobs).values(
        {name: sa.bindparam(f"_{name}") for name in _INSERTED}
        | {"state": sa.literal_column("'pending'")}
        | {
            name: sa.literal_column("0")
            for name in (
                "next_step",
                "attempt",
                "retries",
                "deaths",
                "progress",
                "cancel_requested",
            )
        }
    ),
    "claim": _update("running", "attempt", "epoch", "started", progress=0.0, step="NULL"),
    "complete": _update(
        "completed",
        "completed",
        "started",
        "result",
        progress=1.0,
        epoch="NULL",
        errands="NULL",
        **_NO_ERROR,
    ),
    "end": _update(
        None,
        "state",
        "completed",
        "started",
        "progress",
        "step",
        "deaths",
        *_NO_ERROR,
        epoch="NULL",
    ),
    "put_back": _update(
        "pending",
        "attempt",
        "retries",
        "deaths",
        "not_before",
        *_NO_ERROR,
        epoch="NULL",
        started="NULL",
        progress=0.0,
        step="NULL",
    ),
    "hand_over": _update(
        "pending",
        "attempt",
        "lane",
        "next_step",
        "carried",
        "finished",
        "vtime",
        epoch="NULL",
        started="NULL",
    ),
    "retry": _update(
        "pending",
        "lane",
        "vtime",
        **_NO_ERROR,
        completed="NULL",
        started="NULL",
        result="NULL",
        progress=0.0,
        step="NULL",
        next_step=0,
        carried="NULL",
        finished="NULL",
        retries=0,
        deaths=0,
        not_before="NULL",
        cancel_requested=0,
    ),
    "progress": _update(None, "progress", "step"),
    "intend": _update(None, "intent"),
    "want_cancel": _update(None, cancel_requested=1),
    "due": _update(None, not_before="NULL"),
    "event": sa.insert(job_events).values(
        {column.name: sa.bindparam(f"_{column.name}") for column in job_events.c}
    ),
    "forget_events": sa.delete(job_events).where(job_events.c.job == sa.bindparam("_seq")),
    "forget": sa.delete(jobs).where(jobs.c.seq == sa.bindparam("_seq")),
    "ready": sa.select(*(jobs.c[name] for name in READY_COLUMNS))
    .where(schema.READY, jobs.c.lane == sa.bindparam("_lane"))
    .where(jobs.c.group == sa.bindparam("_group"))
    .order_by(jobs.c.priority.desc(), jobs.c.vtime, jobs.c.seq)
    .limit(sa.bindparam("_limit", type_=sa.Integer)),
    "by_id": sa.select(jobs).where(jobs.c.id == sa.bindparam("_id")),
    "by_key": sa.select(jobs).where(
        schema.KEYED, jobs.c.idempotency_key == sa.bindparam("_idempotency_key")
    ),
    "now_due": sa.select(jobs.c.seq, jobs.c.lane, jobs.c.group)
    .where(schema.DELAYED, jobs.c.not_before <= sa.bindparam("_now"))
    .limit(1000),
    "next_due": sa.select(sa.func.min(jobs.c.not_before)).where(schema.DELAYED),
    "announce": sa.insert(webhooks).values(
        {
            name: sa.bindparam(f"_{name}")
            for name in ("number", "id", "job_id", "url", "event", "job", "created", "next_at")
        }
        | {"state": sa.literal_column("'pending'")}
        | {name: sa.literal_column("0") for name in ("attempts", "round")}
    ),
    "attempted": sa.insert(webhook_attempts).values(
        {column.name: sa.bindparam(f"_{column.name}") for column in webhook_attempts.c}
    ),
    "webhook": _update_webhook("state", "attempts", "next_at", "ended"),
    "webhook_again": _update_webhook("round", "next_at", state="'pending'", ended="NULL"),
    "webhook_by_id": sa.select(webhooks.c.number, webhooks.c.attempts).where(
        webhooks.c.id == sa.bindparam("_id")
    ),
    "past_webhooks": sa.select(webhooks.c.number)
    .where(schema.PAST, webhooks.c.ended < sa.bindparam("_before"))
    .limit(500),
    "forget_attempts": sa.delete(webhook_attempts).where(
        webhook_attempts.c.webhook == sa.bindparam("_number")
    ),
    "forget_webhook": sa.delete(webhooks).where(webhooks.c.number == sa.bindparam("_number")),
    "sound": sa.select(sounds.c.job).where(sounds.c.key == sa.bindparam("_key")),
    "keep_sound": sa.insert(sounds).values(key=sa.bindparam("_key"), job=sa.bindparam("_job")),
    "hand_sound": sa.update(sounds)
    .where(sounds.c.key == sa.bindparam("_key"))
    .values(job=sa.bindparam("_job")),
    "forgettable": sa.select(jobs.c.seq, jobs.c.id)
    .where(schema.FORGETTABLE, jobs.c.completed < sa.bindparam("_before"))
    .order_by(jobs.c.completed)
    .limit(500),
} | SCHEDULE_STATEMENTS


class Store:
    """The writing side of the queue's database."""

    def __init__(self, database: Path, *, when_full: Callable[[], None] = lambda: None) -> None:
        """Open the database and bring its tables up to date.

        Args:
            database: the file; made if it is not there.
            when_full: called when the disk is full, before the turn is
                written again: make room or wait. May raise to give up.

        Raises:
            DamagedDatabase: it is damaged.
            UnusableDatabase: it is newer than this program.
        """
        self._when_full = when_full
        self._engine = schema.writer_engine(database)
        try:
            self._open(database)
        except Exception as wrong:
            self._engine.dispose()
            if schema.is_damage(wrong):
                told = getattr(wrong, "orig", None) or wrong
                raise DamagedDatabase(f"{database} is damaged: {told}") from wrong
            raise

    def _open(self, database: Path) -> None:
        #: What asks seldom asks through this; what asks often, through the driver's cursor.
        self._connection = self._engine.connect()
        self._driver: Any = self._engine.dialect.loaded_dbapi
        self._raw = cast("Any", self._connection.connection.driver_connection)
        self._cursor = self._raw.cursor()
        with self._connection.begin():
            bring_up(self._connection, database)
        if database.stat().st_size <= _CHECK_UP_TO_BYTES:
            wrong = schema.damage(self._connection)
            if wrong is not None:
                raise DamagedDatabase(f"{database} is damaged: {wrong}")
        counted = jobs.c.seq, job_events.c.number, webhooks.c.number, firings.c.number
        self._seq, self._number, self._webhook, self._firing = (
            self._connection.scalar(sa.select(sa.func.max(column))) or 0 for column in counted
        )
        self._connection.rollback()
        self._prepared = {
            name: Prepared(statement, self._engine.dialect)
            for name, statement in _STATEMENTS.items()
        }
        #: Changes that are not yet written, by statement. Each is about other jobs than the rest.
        self._waiting: dict[str, Rows] = {}
        self._events: Rows = []
        #: What this turn has written, in order: it is written again should the disk be full.
        self._turn: list[tuple[str, Rows]] = []

    def close(self) -> None:
        """Give up what is not committed, and close the file."""
        self._cursor.close()
        self._connection.close()
        self._engine.dispose()

    # -- the turn ----------------------------------------------------------------------------
    def commit(self) -> None:
        """Make everything since the last commit durable. Returns when it is."""
        self._flush()
        if self._events:
            events, self._events = self._events, []
            self._write("event", events)
        while True:
            try:
                self._connection.commit()
                self._raw.commit()
            except self._driver.OperationalError as wrong:
                self._start_over(wrong)
            else:
                break
        self._turn.clear()

    def change(self, statement: str, row: dict[str, Any]) -> None:
        """Have one job changed by the end of the turn; `row` names it by `_seq`."""
        self._waiting.setdefault(statement, []).append(row)

    def note(
        self, seq: int, at: float, state: State, attempt: int, worker: str | None, text: str | None
    ) -> int:
        """Add a line to a job's log.

        Returns:
            Its number.
        """
        self._number += 1
        self._events.append(
            {
                "_number": self._number,
                "_job": seq,
                "_at": at,
                "_state": state,
                "_attempt": attempt,
                "_worker": worker,
                "_text": text,
            }
        )
        return self._number

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for statement, rows in waiting.items():
                self._write(statement, rows)

    def _write(self, statement: str, rows: Rows) -> None:
        while True:
            try:
                self._begin()
                self._prepared[statement].run(self._cursor, rows)
            except self._driver.OperationalError as wrong:
                self._start_over(wrong)
            else:
                self._turn.append((statement, rows))
                return

    def _begin(self) -> None:
        if not self._raw.in_transaction:
            self._cursor.execute(schema.BEGIN)

    def _start_over(self, wrong: Exception) -> None:
        """Wait for room on the disk, then write this turn once more from its beginning."""
        while True:
            if not schema.disk_is_full(wrong):
                raise wrong
            log.error("no room for the queue's database; nothing is lost, work waits: %s", wrong)
            self._connection.rollback()
            self._raw.rollback()
            self._when_full()
            try:
                self._begin()
                for statement, rows in self._turn:
                    self._prepared[statement].run(self._cursor, rows)
            except self._driver.OperationalError as again:
                wrong = again
            else:
                return

    def _query(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        self._flush()
        self._begin()
        return self._prepared[statement].query(self._cursor, **values)

    # -- jobs --------------------------------------------------------------------------------
    def insert(self, rows: Rows) -> None:
        """Add new jobs, all or none. Gives each its `_seq`.

        Raises:
            Duplicate: an id or an idempotency key is known already.
        """
        self._flush()
        for offset, row in enumerate(rows, start=1):
            row["_seq"] = self._seq + offset
        while True:
            try:
                self._begin()
                self._cursor.execute("SAVEPOINT new_jobs")
                self._prepared["insert"].run(self._cursor, rows)
                self._cursor.execute("RELEASE SAVEPOINT new_jobs")
            except self._driver.IntegrityError as wrong:
                self._cursor.execute("ROLLBACK TO SAVEPOINT new_jobs")
                self._cursor.execute("RELEASE SAVEPOINT new_jobs")
                raise Duplicate from wrong
            except self._driver.OperationalError as wrong:
                # On a full disk SQLite has given up the whole transaction, savepoint and all.
                self._start_over(wrong)
            else:
                break
        self._turn.append(("insert", rows))
        self._seq += len(rows)

    def job(self, job: str) -> Job | None:
        """The job of this id, with what this turn has changed."""
        return self._one_job("by_id", _id=job)

    def job_by_key(self, idempotency_key: str) -> Job | None:
        """The job of this idempotency key."""
        return self._one_job("by_key", _idempotency_key=idempotency_key)

    def _one_job(self, statement: str, **values: Any) -> Job | None:
        found = self._query(statement, **values)
        names = (column.name for column in jobs.c)
        return job_of(dict(zip(names, found[0], strict=True))) if found else None

    def ready(self, lane: str, group: str, limit: int) -> list[Held]:
        """The jobs of a group that a lane should start next, best first."""
        rows = self._query("ready", _lane=lane, _group=group, _limit=limit)
        return [Held(*row) for row in rows]

    def release_due(self, now: float) -> set[tuple[str, str]]:
        """Let delayed jobs start whose time has come, up to a thousand.

        Returns:
            Their lanes and groups.
        """
        due = self._query("now_due", _now=now)
        for seq, _, _ in due:
            self.change("due", {"_seq": seq})
        return {(lane, group) for _, lane, group in due}

    def next_due(self) -> float | None:
        """When the next delayed job may start, in Unix seconds."""
        moment: float | None = self._query("next_due")[0][0]
        return moment

    def forgettable(self, before: float) -> list[tuple[int, str]]:
        """Position and id of ended jobs that nobody needs to know of after `before`; up to 500."""
        return [(seq, job) for seq, job in self._query("forgettable", _before=before)]

    def forget(self, seq: int) -> None:
        """Remove a job and its log."""
        self.change("forget_events", {"_seq": seq})
        self.change("forget", {"_seq": seq})

    # -- webhooks ----------------------------------------------------------------------------
    def add_webhook(self, row: dict[str, Any]) -> None:
        """Put a message into the outbox."""
        self._webhook += 1
        self.change("announce", {"_number": self._webhook, **row})

    def webhook(self, webhook: str) -> tuple[int, int] | None:
        """Number and attempts of a webhook."""
        found = self._query("webhook_by_id", _id=webhook)
        return (found[0][0], found[0][1]) if found else None

    def past_webhooks(self, before: float) -> list[int]:
        """Numbers of webhooks that ended before a moment; up to 500."""
        return [number for (number,) in self._query("past_webhooks", _before=before)]

    def forget_webhook(self, number: int) -> None:
        """Remove a webhook and its attempts."""
        self.change("forget_attempts", {"_number": number})
        self.change("forget_webhook", {"_number": number})

    # -- schedules ---------------------------------------------------------------------------
    def next_firing(self) -> int:
        """A number for a firing that is about to be written down."""
        self._firing += 1
        return self._firing

    def look_up(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of a prepared query, with what this turn has changed."""
        return self._query(statement, **values)

    def upkeep(self, pages: int) -> dict[str, int]:
        """Give free pages of the file back, write its log into it, look how its indexes are used.

        Each is bounded, because everybody waits for it: nothing here waits for readers.

        Args:
            pages: how many to give back at most.

        Returns:
            `given`, `free` (those that are left) and `pages` of the file, of `page_size` bytes.
        """
        self.commit()
        free = self._pragma("freelist_count")
        # As a script: the driver takes but one step of a statement without columns, and each step
        # of this one gives back one page.
        self._raw.executescript(f"PRAGMA incremental_vacuum({pages:d})")
        for pragma in ("analysis_limit = 400", "optimize", "wal_checkpoint(PASSIVE)"):
            self._cursor.execute(f"PRAGMA {pragma}").fetchall()
        left = self._pragma("freelist_count")
        told = {name: self._pragma(f"page_{name}") for name in ("count", "size")}
        return {
            "given": free - left,
            "free": left,
            "pages": told["count"],
            "page_size": told["size"],
        }

    def _pragma(self, name: str) -> int:
        return int(self._cursor.execute(f"PRAGMA {name}").fetchone()[0])

    # -- at start ----------------------------------------------------------------------------
    def begin_epoch(self) -> int:
        """Count this start of the dispatcher.

        Returns:
            Its number; rows that run under an older one were left behind.
        """
        name = facts.c.name == "epoch"
        epoch = 1 + (self._connection.scalar(sa.select(facts.c.value).where(name)) or 0)
        changed = self._connection.execute(sa.update(facts).where(name).values(value=epoch))
        if not changed.rowcount:
            self._connection.execute(sa.insert(facts).values(name="epoch", value=epoch))
        return epoch

    def left_behind(self, epoch: int) -> list[tuple[Held, bool]]:
        """Running jobs of older epochs, and whether somebody wants each cancelled."""
        columns = [jobs.c[name] for name in READY_COLUMNS]
        rows = self._connection.execute(
            sa.select(*columns, jobs.c.cancel_requested).where(
                schema.RUNNING, sa.func.coalesce(jobs.c.epoch, 0) < epoch
            )
        )
        found: list[tuple[Held, bool]] = []
        for row in rows:
            *fields, unwanted = row
            found.append((Held(*fields), bool(unwanted)))
        return found

    def sound(self, key: str) -> str | None:
        """The job that has worked, or works, on a sound."""
        found = self._query("sound", _key=key)
        return found[0][0] if found else None

    def unfinished_intents(self) -> list[tuple[str, str]]:
        """Id and intent of every job whose files may be on the way to their names."""
        rows = self._connection.execute(
            sa.select(jobs.c.id, jobs.c.intent).where(
                jobs.c.intent.is_not(None), jobs.c.state.in_(("pending", "running"))
            )
        )
        return [(row.id, row.intent) for row in rows]

    def tags(self) -> Sequence[sa.RowMapping]:
        """Lane, priority, share, first tag and end of the last tag of what is pending."""
        end = jobs.c.vtime + jobs.c.cost / jobs.c.weight
        found = self._connection.execute(
            sa.select(
                jobs.c.lane,
                jobs.c.priority,
                jobs.c.share,
                sa.func.min(jobs.c.vtime).label("first"),
                sa.func.max(end).label("last"),
            )
            .where(jobs.c.state == "pending")
            .group_by(jobs.c.lane, jobs.c.priority, jobs.c.share)
        )
        return found.mappings().all()

    def ready_groups(self) -> set[tuple[str, str]]:
        """Lane and group of everything that could start."""
        rows = self._connection.execute(
            sa.select(jobs.c.lane, jobs.c.group).where(schema.READY).distinct()
        )
        return {(row.lane, row.group) for row in rows}

    def known(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of those of these ids that exist."""
        found: dict[str, State] = {}
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            rows = self._connection.execute(
                sa.select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(some))
            )
            found.update((row.id, row.state) for row in rows)
        return found
