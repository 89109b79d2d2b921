"""A file that is there to be removed: room for the queue's last words on a full disk.

SQLite cannot even mark a job as failed on a full disk. So some space is
taken beforehand and given up when the disk is full. Until it can be taken
back, no work is started that would fill the disk again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_SIZE = 64 * 2**20
_FREE_ENOUGH = 4 * _SIZE
_PAUSE = 0.5  # seconds between two looks at a disk that stays full


class Reserve:
    """The reserve of one disk."""

    def __init__(self, path: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._pause = pause
        #: The reserve is used up; start nothing.
        self.spent = True
        self.restore()

    def restore(self) -> bool:
        """Take the space again if the disk has plenty.

        Returns:
            True when the reserve is there.
        """
        if not self.spent:
            return True
        where = os.statvfs(self._path.parent)
        there = self._path.exists()
        if not there and where.f_bavail * where.f_frsize < _FREE_ENOUGH:
            return False
        try:
            with self._path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, _SIZE)
        except OSError as refused:
            log.warning("no reserve for a full disk: %s", refused)
            self._path.unlink(missing_ok=True)
            return False
        self.spent = False
        return True

    def give(self) -> None:
        """Make room; where the reserve is gone already, wait for somebody else to make some."""
        if self.spent:
            self._pause(_PAUSE)
            return
        self.spent = True
        self._path.unlink(missing_ok=True)
        log.error("the disk is full: no work is started until there is room again")
