"""A damaged database is set aside, never deleted, and what is known is put into a new one.

What the damaged file still gives comes first, row by row. Then the journal:
jobs of hot folders that it has ended and the database forgot. Then the folders:
files in `processing` whose results were delivered, so that they are not worked
on again. What lies there without any trace of a delivery is left for the hot
folder, which puts it on the queue under its own id. Where nobody can tell, the
job is failed and says so: nothing is lost, and nothing is done twice.

The new file is made whole beside the old one and gets its name at the very
end; a crash at any point leaves either to be finished by the next start.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import sqlalchemy as sa

from daemon import schema
from daemon.clock import Clock
from daemon.faults import UnusableDatabase
from daemon.jobs import ENDED
from daemon.moves import fsync_file, fsync_folder, write_whole
from daemon.safekeeping.evidence import Home, Story, Traces, homes, stories
from daemon.safekeeping.opening import REPORT_NAME, SIDE_FILES, beside, finish, rebuilt_name
from daemon.safekeeping.salvage import Salvaged, salvage
from daemon.settings import Settings
from daemon.store import Store
from rules.orders import path_from_text, path_to_text
from rules.plan import printable

log = logging.getLogger(__name__)

_UNCLEAR: Final = "DatabaseLost"


@dataclass
class Report:
    """What was found wrong, and what became of everything. Written beside what was set aside."""

    at: str
    wrong: str
    #: Folder with the damaged files; empty where there was none to set aside.
    set_aside: str
    #: Rows that the damaged file still gave, and places where it gave none, by table.
    salvaged: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    #: Jobs that only the journal knew, by how they ended.
    from_journal: dict[str, int] = field(default_factory=dict)
    #: Jobs that were not ended in the database, and whose results were delivered.
    delivered: list[str] = field(default_factory=list)
    #: Jobs of which nobody can tell: failed, with the reason beside their file.
    unclear: dict[str, str] = field(default_factory=dict)
    #: Jobs whose files lie in `processing` and are put on the queue again.
    again: list[str] = field(default_factory=list)


def rebuild(settings: Settings, clock: Clock, wrong: str) -> Report:
    """Set the database aside, and make a new one of all that is known.

    Raises:
        UnusableDatabase: it was written by a newer program.
    """
    log.error("%s; it is set aside and rebuilt", wrong)
    database = settings.database
    now = clock.now()
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
    aside = _free(settings.data_dir / "damaged" / stamp)
    report = Report(
        at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        wrong=wrong,
        set_aside=os.fspath(aside) if database.exists() else "",
    )
    there = database.exists() and database.stat().st_size
    found = salvage(database) if there else Salvaged()
    if (found.revision or "") > schema.HEAD:
        raise UnusableDatabase(
            f"{database} is damaged, and was written by a newer audiolla (its tables are at "
            f"{found.revision}, this program knows up to {schema.HEAD}): start that version"
        )
    _keep(database, aside)
    part = database.with_name(f"{database.name}.part")
    for leftover in (part, *(beside(part, side) for side in SIDE_FILES)):
        leftover.unlink(missing_ok=True)
    Store(part).close()  # its tables
    _fill(part, found, report)
    reconcile(part, settings, clock, report)
    _as_one_file(part)
    write_whole(aside / REPORT_NAME, orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2))
    fsync_file(part)
    os.replace(part, rebuilt_name(database))
    fsync_folder(database.parent)
    finish(settings)
    log.error(
        "the database is rebuilt: %d jobs from the old file, %d from the journal, %d delivered, "
        "%d unclear, %d are worked on again; see %s",
        report.salvaged.get("jobs", 0),
        sum(report.from_journal.values()),
        len(report.delivered),
        len(report.unclear),
        len(report.again),
        aside / REPORT_NAME,
    )
    return report


def _free(wanted: Path) -> Path:
    place, number = wanted, 1
    while place.exists():
        number += 1
        place = wanted.with_name(f"{wanted.name}-{number}")
    return place


def _keep(database: Path, aside: Path) -> None:
    """Second names for the damaged files, which then lose their first ones without being lost."""
    aside.mkdir(parents=True)
    for file in (database, *(beside(database, side) for side in SIDE_FILES)):
        if file.exists():
            try:
                os.link(file, aside / file.name)
            except OSError:  # a file system without links
                shutil.copy2(file, aside / file.name)
                fsync_file(aside / file.name)
    fsync_folder(aside)
    fsync_folder(aside.parent)


def _as_one_file(database: Path) -> None:
    """Write the log of a database that nobody uses into it, and remove it."""
    engine = schema.writer_engine(database)
    try:
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        engine.dispose()
    for side in SIDE_FILES:
        beside(database, side).unlink(missing_ok=True)


def _fill(database: Path, found: Salvaged, report: Report) -> None:
    report.lost = found.lost if not found.trouble else {"everything": 1}
    engine = schema.writer_engine(database)
    try:
        with engine.begin() as connection:
            for table in schema.metadata.sorted_tables:
                rows = found.rows.get(table.name, [])
                if rows:
                    insert = sa.insert(table).prefix_with("OR IGNORE")
                    connection.execute(insert, rows)
                    report.salvaged[str(table.name)] = len(rows)
    finally:
        engine.dispose()


# -- what files tell -----------------------------------------------------------------------------
def reconcile(database: Path, settings: Settings, clock: Clock, report: Report) -> None:
    """Put into a database that nobody uses what the journal and the folders know better."""
    engine = schema.writer_engine(database)
    try:
        with engine.begin() as connection:
            _Reconciling(connection, settings, clock.now(), report).run()
    finally:
        engine.dispose()


class _Reconciling:
    def __init__(
        self, connection: sa.Connection, settings: Settings, now: float, report: Report
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._now = now
        self._report = report
        jobs, events = schema.jobs, schema.job_events
        self._seq = connection.scalar(sa.select(sa.func.max(jobs.c.seq))) or 0
        self._number = connection.scalar(sa.select(sa.func.max(events.c.number))) or 0
        self._known: dict[str, tuple[int, str]] = {
            row.id: (row.seq, row.state)
            for row in connection.execute(sa.select(jobs.c.id, jobs.c.seq, jobs.c.state))
        }

    def run(self) -> None:
        told = stories(self._settings.journal)
        for story in told.values():
            if story.ended is not None:
                self._ended(story, story.ended)
        traces = Traces()
        for home in homes(self._settings):
            if self._state(home.job) not in ENDED:
                self._look(home, told.get(home.job), traces)

    def _state(self, job: str) -> str:
        return self._known.get(job, (0, ""))[1]

    def _ended(self, story: Story, state: str) -> None:
        assert story.put is not None
        if not story.job or self._state(story.job) in ENDED:
            return
        known = story.job in self._known
        if state != "completed" and (known or self._is_in_processing(story)):
            return  # it failed once, and was retried by hand since: it is still to be done
        self._report.from_journal[state] = self._report.from_journal.get(state, 0) + 1
        put = story.put
        reason = put.get("reason", {})
        self._write(
            story.job,
            state,
            "as the journal has it",
            endpoint=_endpoint(put.get("folder", ""), put.get("rule") or reason.get("rule")),
            name=put.get("rel", ""),
            created=story.takes[0]["at"] if story.takes else put["at"],
            completed=put["at"],
            result=_result_of(put) if state == "completed" else None,
            error=(reason.get("kind"), reason.get("error")) if state == "failed" else (None, None),
        )

    def _is_in_processing(self, story: Story) -> bool:
        assert story.put is not None
        return os.path.lexists(path_from_text(story.put["from"]))

    def _look(self, home: Home, story: Story | None, traces: Traces) -> None:
        """A file in `processing` whose job has not ended, as far as the database knows."""
        if story is None or not story.takes:
            # The queue hears of a job only after the journal: this one it never heard of.
            self._report.again.append(home.job)
            return
        if self._intends(home.job):
            return  # the queue knows how far it is, and goes on there
        take = story.takes[0]
        trace = traces.of(home)
        if trace is None or (trace.manifest is None and home.job in self._known and not trace.told):
            # A record that says that it waits is believed where there is nothing against it.
            if home.job not in self._known:
                self._report.again.append(home.job)
            return
        if trace.verdict == "delivered" and trace.manifest is not None:
            self._report.delivered.append(home.job)
            told = trace.told
            self._write(
                home.job,
                "completed",
                f"it was delivered: {trace.why}",
                endpoint=_endpoint(home.rules.name, told.get("rule")),
                name=take["rel"],
                created=take["at"],
                completed=self._now,
                result={
                    "outputs": list(told.get("outputs", [])),
                    "steps": list(told.get("steps", [])),
                    "manifest": path_to_text(trace.manifest),
                    "record": {
                        "rule": told.get("rule", ""),
                        # What an original's rule said is not known any more: it is kept.
                        "originals": "move",
                        "input": {
                            key: told["input"][key]
                            for key in ("size", "sha256")
                            if key in told.get("input", {})
                        },
                    },
                },
                order=orjson.dumps(told.get("order", {})).decode(),
            )
            return
        self._report.unclear[home.job] = trace.why
        error = (
            f"the database was damaged, and whether this was delivered is not known ({trace.why}); "
            "look into the folder of its results before it is done again"
        )
        self._write(
            home.job,
            "failed",
            error,
            endpoint=home.rules.name,
            name=take["rel"],
            created=take["at"],
            completed=self._now,
            error=(_UNCLEAR, error),
        )

    def _intends(self, job: str) -> bool:
        intent = self._connection.scalar(
            sa.select(schema.jobs.c.intent).where(schema.jobs.c.id == job)
        )
        return intent is not None

    def _write(
        self,
        job: str,
        state: str,
        text: str,
        *,
        endpoint: str,
        name: str,
        created: float,
        completed: float,
        result: dict[str, Any] | None = None,
        error: tuple[str | None, str | None] = (None, None),
        order: str = "{}",
    ) -> None:
        jobs = schema.jobs
        ended: dict[str, Any] = {
            "state": state,
            "epoch": None,
            "completed": completed,
            "progress": 1.0 if state == "completed" else 0.0,
            "result": None if result is None else orjson.dumps(result).decode(),
            "error_kind": error[0],
            "error": error[1],
        }
        if job in self._known:
            seq = self._known[job][0]
            self._connection.execute(sa.update(jobs).where(jobs.c.seq == seq).values(ended))
        else:
            self._seq += 1
            seq = self._seq
            row = _BLANK | {
                "seq": seq,
                "id": job,
                "endpoint": endpoint,
                "input_name": printable(name),
                "order": order,
                "share": f"folder:{endpoint.partition('/')[0]}",
                "created": created,
            }
            self._connection.execute(sa.insert(jobs).values(row | ended))
        self._known[job] = seq, state
        self._number += 1
        self._connection.execute(
            sa.insert(schema.job_events).values(
                number=self._number,
                job=seq,
                at=self._now,
                state=state,
                attempt=0,
                text=f"rebuilt: {text}",
            )
        )


#: A job of a folder of which only its end is known.
_BLANK: Final[dict[str, Any]] = {
    "source": "folder",
    "first_lane": "cpu",
    "lane": "cpu",
    "next_step": 0,
    "priority": 0,
    "vtime": 0.0,
    "weight": 1.0,
    "cost": 1.0,
    "group": "",
    "group_limit": 0,
    "attempt": 1,
    "max_attempts": 1,
    "retries": 0,
    "deaths": 0,
    "progress": 1.0,
    "cancel_requested": False,
}


def _endpoint(folder: str, rule: str | None) -> str:
    return f"{folder}/{rule}" if rule else folder


def _result_of(put: dict[str, Any]) -> dict[str, Any]:
    steps = [
        {"step": n, "op": op, "params": {}, "result": {}}
        for n, op in enumerate(put.get("steps", []))
    ]
    result: dict[str, Any] = {"outputs": put.get("outputs", []), "steps": steps}
    record = {key: put[key] for key in ("rule", "input") if key in put}
    stages = {"inbox": "keep", "deleted": "delete"}
    result["record"] = {**record, "originals": stages.get(put.get("stage", ""), "move")}
    return result | {key: put[key] for key in ("manifest", "report", "report_data") if key in put}
