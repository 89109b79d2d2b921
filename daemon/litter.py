"""Removes the files of jobs that no longer need them, beside the dispatcher's loop.

Removing a folder may take long, and nothing waits for it. What a crash left
behind is found at the next start.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from daemon.jobs import ENDED
from daemon.reader import JobReader
from daemon.settings import Settings

log = logging.getLogger(__name__)

_ON_THE_WAY = 600.0  # seconds that what a job will need may lie there before it is on the queue


class Litter:
    """One thread that removes folders in the order in which it is told to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="litter", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier run left behind."""
        self._thread.start()

    def ended(self, job: str) -> None:
        """The job needs its scratch folder no more."""
        self._waiting.put(self._settings.scratch / job)

    def deleted(self, job: str) -> None:
        """Nobody can ask for the job's results any more."""
        self._waiting.put(self._settings.results / job)

    def stop(self, timeout: float) -> None:
        """Finish what was asked for, or leave it to the next start."""
        self._waiting.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        try:
            self._sweep()
        except OSError as wrong:
            log.warning("old scratch files could not be looked through: %s", wrong)
        while (folder := self._waiting.get()) is not None:
            remove(folder)

    def _sweep(self) -> None:
        reader = JobReader(self._settings.database)
        try:
            sweep(self._settings, reader, time.time())
        finally:
            reader.close()


def sweep(
    settings: Settings,
    reader: JobReader,
    now: float,
    pulse: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Remove scratch of jobs that have ended, and results of jobs that were deleted.

    Args:
        now: Unix seconds.
        pulse: called before each; raises to stop.

    Returns:
        How many folders of each kind were removed.
    """
    removed = {"scratch": 0, "results": 0}
    scratch = _folders_of_jobs(settings.scratch)
    states = reader.known(list(scratch))
    for job, folder in scratch.items():
        if states.get(job, "failed") in ENDED:
            pulse()
            remove(folder)
            removed["scratch"] += 1
    results = _folders_of_jobs(settings.results)
    known = reader.known(list(results))
    # A result that nobody knows of is only removed when it is old: the database may be another
    # one than that which the results belong to, or its job is on the way to the queue.
    oldest = now - max(settings.job_ttl, _ON_THE_WAY)
    for job, folder in results.items():
        if job not in known and folder.stat().st_mtime < oldest:
            pulse()
            remove(folder)
            removed["results"] += 1
    return removed


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as wrong:
        log.warning("%s could not be removed: %s", folder, wrong)


def _folders_of_jobs(parent: Path) -> dict[str, Path]:
    """Folders that are named after a job; nothing else in there is ours to remove."""
    found: dict[str, Path] = {}
    if parent.is_dir():
        for folder in parent.iterdir():
            try:
                uuid.UUID(folder.name)
            except ValueError:
                continue
            if folder.is_dir() and not folder.is_symlink():
                found[folder.name] = folder
    return found
