"""Opens the queue's database, whatever has become of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from daemon.clock import Clock
from daemon.faults import DamagedDatabase, UnusableDatabase
from daemon.moves import fsync_folder
from daemon.settings import Settings
from daemon.store import Store

REPORT_NAME: Final = "report.json"
SIDE_FILES: Final = ("-wal", "-shm")
"""What SQLite keeps beside a database."""


def open_store(
    settings: Settings, clock: Clock, *, when_full: Callable[[], None] = lambda: None
) -> Store:
    """The queue's database; rebuilt first if it is damaged, or gone while there is a journal.

    Raises:
        UnusableDatabase: it is newer than this program, or a restore was cut short.
    """
    if restoring(settings).exists():
        raise UnusableDatabase(
            f"a restore into {settings.data_dir} was cut short: run `audiolla restore` once more"
        )
    finish(settings)
    wrong = "there is a journal, but no database"
    if not _is_gone(settings):
        try:
            return Store(settings.database, when_full=when_full)
        except DamagedDatabase as damaged:
            wrong = str(damaged)
    from daemon.safekeeping.rebuild import rebuild  # slow to import, and hardly ever needed

    rebuild(settings, clock, wrong)
    return Store(settings.database, when_full=when_full)


def restoring(settings: Settings) -> Path:
    """The mark of a restore that has begun and not ended."""
    return settings.data_dir / "restoring"


def reports(settings: Settings) -> list[Path]:
    """What was written of each rebuilding, the oldest first; as long as nobody took it away."""
    return sorted((settings.data_dir / "damaged").glob(f"*/{REPORT_NAME}"))


def beside(database: Path, side: str) -> Path:
    """A file that SQLite keeps beside a database."""
    return database.with_name(database.name + side)


def rebuilt_name(database: Path) -> Path:
    """What a database is called that is whole, and only has to take the place of another."""
    return database.with_name(f"{database.name}.rebuilt")


def finish(settings: Settings) -> None:
    """Give a rebuilt database its name. What the damaged one left behind would be taken for its."""
    rebuilt = rebuilt_name(settings.database)
    if not rebuilt.exists():
        return
    for side in SIDE_FILES:
        beside(settings.database, side).unlink(missing_ok=True)
    fsync_folder(settings.database.parent)
    os.replace(rebuilt, settings.database)
    fsync_folder(settings.database.parent)


def _is_gone(settings: Settings) -> bool:
    try:
        if settings.database.stat().st_size:
            return False
    except FileNotFoundError:
        pass
    return settings.journal.is_dir() and any(settings.journal.glob("*.jsonl"))
