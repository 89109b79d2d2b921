"""Does the chores, in a worker. Each gives what it did as plain numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from daemon import schema
from daemon.client import Client
from daemon.execution import Claim, Context, Finished
from daemon.litter import sweep
from daemon.reader import JobReader
from daemon.recall import Recalled
from daemon.schedules import fixity
from daemon.schedules.book import BookReader
from daemon.schedules.chores import Database, Fixity, Ledger, Staged, Sweep, Task, task_in
from daemon.settings import Settings
from daemon.staging import Staging
from handlers.errors import CannotProcess, NoSuchFile, StorageFailed
from rules.match import matches_glob

#: Pages of the database that are given back at once; everybody waits for as long as it takes.
_PAGES: Final = 2000
_SHOWN: Final = 5


class Rotten(CannotProcess):
    """Files that were delivered are not what they were."""


@dataclass(frozen=True)
class Tools:
    """What a chore works with."""

    settings: Settings
    #: Says how far it is (0 to 1); raises when it is to stop.
    progress: Callable[[float], None]
    #: Unix seconds.
    now: Callable[[], float] = time.time


def run(claim: Claim, context: Context) -> Finished:
    """Do the chore of a job, as `daemon.runner.run` does an order about sound."""
    task = task_in(claim.order)
    done = do(task, Tools(context.settings, lambda share: context.progress(share, task.name)))
    return Finished(result={"outputs": [], "steps": [], "descriptor": done})


def do(task: Task, tools: Tools) -> dict[str, Any]:
    """Do one.

    Raises:
        AudiollaError: it found that something is wrong, or could not be done.
    """
    return _WORK[task.name](task.params, tools)


def _sweep(params: Sweep, tools: Tools) -> dict[str, Any]:
    settings, now = tools.settings, tools.now()
    reader = JobReader(settings.database)
    try:
        removed = sweep(settings, reader, now, lambda: tools.progress(0.0))
    finally:
        reader.close()
    tools.progress(0.5)
    findings = Recalled(settings.recall, settings.recall_bytes)
    return {**removed, "recall": findings.forget_older(params.recall, now)}


def _ledger(params: Ledger, tools: Tools) -> dict[str, Any]:
    told = {"firings": 0, "chores": 0, "jobs": 0}
    with Client(tools.settings.socket) as client:
        while some := client.upkeep("forget_firings", seconds=params.firings):
            tools.progress(0.0)
            told["firings"] += some
        for what, seconds in (("chores", params.chores), ("jobs", params.jobs)):
            after: int | None = None if seconds is None else 0
            while after is not None:
                tools.progress(0.5)
                chores = what == "chores"
                some, after = client.upkeep(
                    "forget_ledger", seconds=seconds, after=after, chores=chores
                )
                told[what] += some
    return told


def _database(params: Database, tools: Tools) -> dict[str, Any]:
    check = "integrity_check" if params.full else "quick_check"
    engine = schema.reader_engine(tools.settings.database)
    try:
        with engine.connect() as connection:
            found = list(connection.scalars(sa.text(f"PRAGMA {check}({_SHOWN})")))
    except sa.exc.DatabaseError as wrong:
        found = [str(wrong.orig)]  # too broken to be looked through
    finally:
        engine.dispose()
    if found != ["ok"]:
        raise StorageFailed(
            f"{tools.settings.database} is damaged: {'; '.join(found)}",
            hint="stop the daemon, keep a copy of the file, and try `sqlite3 audiolla.db .recover`",
        )
    tools.progress(0.5)
    given = 0
    with Client(tools.settings.socket) as client:
        while True:
            told = client.upkeep("upkeep", pages=_PAGES)
            given += told["given"]
            if not told["free"] or not told["given"]:
                break
            tools.progress(0.5)
    size = told["page_size"]
    return {
        "check": check,
        "bytes": told["pages"] * size,
        "given_back_bytes": given * size,
        "free_bytes": told["free"] * size,
    }


def _fixity(params: Fixity, tools: Tools) -> dict[str, Any]:
    start = tools.now()
    reader = BookReader(tools.settings.database)
    try:
        with Client(tools.settings.socket) as client:
            found = fixity.check(
                (one for source in fixity.SOURCES for one in source(tools.settings)),
                reader.fixity,
                lambda rows, gone: client.upkeep("seen", files=rows, gone=gone),
                fixity.Limits(tools.now, start + 60 * params.minutes, start - params.older_than),
                tools.progress,
            )
    finally:
        reader.close()
    if found.rotten:
        shown = ", ".join(found.rotten[:_SHOWN])
        more = len(found.rotten) - _SHOWN
        raise Rotten(
            f"{len(found.rotten)} of {found.checked} files have other bytes than they were "
            f"delivered with: {shown}{f' and {more} more' if more > 0 else ''}",
            hint="restore them from a backup, or run their jobs again; then look after the disk",
        )
    return found.told()


def _staged(params: Staged, tools: Tools) -> dict[str, Any]:
    staging = Staging(tools.settings.files, tools.settings.max_upload_bytes)
    deleted, size = 0, 0
    for one in staging.list():
        fits = any(matches_glob(glob, one.path) for glob in params.files)
        kept = any(matches_glob(glob, one.path) for glob in params.exclude or ())
        if not fits or kept or one.modified > tools.now() - params.older_than:
            continue
        tools.progress(0.0)
        try:
            staging.delete(one.path)
        except NoSuchFile:
            continue  # somebody else deleted it
        deleted, size = deleted + 1, size + one.size
    return {"deleted": deleted, "bytes": size}


_WORK: Final[Mapping[str, Callable[[Any, Tools], dict[str, Any]]]] = {
    "sweep": _sweep,
    "ledger": _ledger,
    "database": _database,
    "fixity": _fixity,
    "staged": _staged,
}
