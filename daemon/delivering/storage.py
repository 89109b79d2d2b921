"""Where results go: is it there, may it be written, has it room? Asked before a file is taken.

A share that is not mounted leaves an empty folder behind in which everything
can be written, on the wrong disk. So the mount that a target lay on is
remembered, and a target that lies on another one further up is away.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from daemon.clock import Clock
from daemon.mounts import Mount, mount_of
from daemon.moves import write_whole
from rules.orders import path_to_text

log = logging.getLogger(__name__)

#: Of a small disk this share counts as nearly full, if it is less than the setting.
_SHARE: Final = 0.05
_EVERY: Final = 1.0  # seconds for which an answer holds


class Storage:
    """What is known of the folders that results go to."""

    def __init__(self, file: Path, min_free: int, clock: Clock) -> None:
        """`file` remembers mounts; with less than `min_free` bytes a disk is nearly full."""
        self._file, self._min_free, self._clock = file, min_free, clock
        self._mounts: dict[str, Mount] = _read(file)
        self._answers: dict[Path, tuple[float, str]] = {}
        # For the memory of mounts alone: a target that does not answer keeps nobody else waiting.
        self._lock = threading.Lock()

    def trouble(self, targets: Iterable[Path]) -> str:
        """Why nothing can be delivered to one of these folders, in words; empty if it can."""
        return next((said for target in targets if (said := self._asked(target))), "")

    def _asked(self, target: Path) -> str:
        now = self._clock.monotonic()
        until, said = self._answers.get(target, (float("-inf"), ""))
        if now >= until:
            said = self._look(target)
            self._answers[target] = (now + _EVERY, said)
        return said

    def _look(self, target: Path) -> str:
        try:
            return self._away(target) or self._unwritable(target)
        except OSError as wrong:
            return f"{path_to_text(target)}: {wrong.strerror}"

    def _away(self, target: Path) -> str:
        text, mount = path_to_text(target), mount_of(target)
        known = self._mounts.get(text)
        if known is not None and known != mount and len(mount.point) < len(known.point):
            return f"{text} is away: {known.point} ({known.kind}) is not mounted"
        # What lies on the root of everything cannot be away.
        if known != mount and mount.point != "/":
            with self._lock:
                self._mounts[text] = mount
                self._remember()
        return ""

    def _unwritable(self, target: Path) -> str:
        there = target
        while not os.path.lexists(there):
            there = there.parent
        room = os.statvfs(there)
        where = path_to_text(there)
        if room.f_flag & os.ST_RDONLY:
            return f"{where} can only be read: its file system is mounted read-only"
        if not os.access(there, os.W_OK | os.X_OK):
            return f"{where} may not be written"
        free = room.f_bavail * room.f_frsize
        least = min(self._min_free, int(_SHARE * room.f_blocks * room.f_frsize))
        if free < least:
            return (
                f"the disk of {where} is nearly full: {megabytes(free)} are free, "
                f"{megabytes(least)} at least are kept free"
            )
        return ""

    def _remember(self) -> None:
        told = {path: [mount.point, mount.kind] for path, mount in self._mounts.items()}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._file, orjson.dumps(told))


def megabytes(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 2**20:.1f} MiB"


def _read(file: Path) -> dict[str, Mount]:
    try:
        return {path: Mount(*told) for path, told in orjson.loads(file.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as wrong:
        log.error("%s cannot be read; which mounts targets lay on is forgotten: %s", file, wrong)
        return {}
