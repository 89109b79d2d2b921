"""One process at a time works on a data directory's database."""

from __future__ import annotations

import fcntl
import threading
from typing import TextIO

from daemon.clock import SystemClock
from daemon.faults import UnusableDatabase
from daemon.settings import Settings

PATIENCE = 3.0
"""Seconds that a dispatcher which was killed a moment ago may still hold the lock."""


def hold(settings: Settings, patience: float = PATIENCE) -> TextIO:
    """Make sure that nobody else works on this data directory, until the file is closed.

    Raises:
        UnusableDatabase: somebody does.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    file = (settings.data_dir / "dispatcher.lock").open("a+")
    clock = SystemClock()
    give_up = clock.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() > give_up:
                file.close()
                raise UnusableDatabase(f"{settings.data_dir} is in use by another daemon") from None
            threading.Event().wait(0.02)
        else:
            return file
