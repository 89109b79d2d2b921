"""Answers on disk: facts as `daemon.recall` keeps them, and beside them the files that they name.

    <folder>/ab/<rest of the key>                the facts, JSON, written last
    <folder>/ab/<rest of the key>.<token>.<n>    its files, linked to the results themselves

Facts appear at once and whole; files without facts are what a crash left. One
thread of one process keeps answers here, after it has read the index; until it
has, answers are found, but none is kept.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from daemon.recall import Recalled

log = logging.getLogger(__name__)

_INCOMING = "incoming"
_LEAST_FREE = 2**30
"""Bytes on the disk below which answers give way to whatever else needs room."""


@dataclass
class _Entry:
    """What is known of one answer without looking at it."""

    size: int
    files: list[str]
    #: Unix seconds of its making.
    made: float


class Kept:
    """Answers by key, at most so many bytes and so old; the one not asked for the longest goes."""

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        ttl: float,
        *,
        now: Callable[[], float] = time.time,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """Keep at most `limit_bytes` for `ttl` seconds in `folder`, which need not exist yet."""
        self._folder = folder
        self._limit = limit_bytes
        self._ttl = ttl
        self._now = now
        self._free = free
        # Room is made here, by the whole and not by folder: one result may be large.
        self._facts = Recalled(folder, None)
        self._lock = threading.Lock()
        self._index: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    # -- asking --------------------------------------------------------------------------------
    def get(self, key: str) -> dict[str, Any] | None:
        """The facts under a key, unless they are too old."""
        facts = self._facts.get(key)
        if facts is None or self._now() - facts["made"] > self._ttl:
            return None
        with self._lock:
            if key in self._index:
                self._index.move_to_end(key)
        return facts

    def file(self, key: str, name: str) -> Path:
        """Where a file of an answer lies."""
        return self._folder / key[:2] / name

    # -- keeping -------------------------------------------------------------------------------
    def take(self, path: Path) -> Path:
        """A second name for a file, until it is kept or dropped.

        Raises:
            OSError: it is not there, or lies on another file system.
        """
        incoming = self._folder / _INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        taken = incoming / secrets.token_hex(8)
        os.link(path, taken, follow_symlinks=False)
        return taken

    def put(self, key: str, facts: dict[str, Any], taken: Sequence[Path]) -> bool:
        """Keep an answer with its files, which are taken already; False if it is too large."""
        size = sum(path.stat().st_size for path in taken)
        if size > self._limit:
            return False
        token = secrets.token_hex(4)
        names = [f"{key[2:]}.{token}.{number}" for number in range(len(taken))]
        if taken:
            self.file(key, "").mkdir(parents=True, exist_ok=True)
        for path, name in zip(taken, names, strict=True):
            path.rename(self.file(key, name))
        made = self._now()
        self._facts.put(key, {**facts, "made": made, "names": names})
        with self._lock:
            before = self._index.pop(key, None)
            self._bytes += size - (before.size if before else 0)
            self._index[key] = _Entry(size, names, made)
        for name in before.files if before else ():
            self.file(key, name).unlink(missing_ok=True)
        self.make_room()
        return True

    def drop(self, key: str) -> None:
        """Forget an answer."""
        self._facts.path(key).unlink(missing_ok=True)
        with self._lock:
            entry = self._index.pop(key, None)
            self._bytes -= entry.size if entry else 0
        for name in entry.files if entry else ():
            self.file(key, name).unlink(missing_ok=True)

    def make_room(self) -> None:
        """Drop what is too much, or in the way of other work."""
        while (key := self._superfluous()) is not None:
            self.drop(key)

    def expire(self) -> None:
        """Drop what is too old."""
        edge = self._now() - self._ttl
        with self._lock:
            old = [key for key, entry in self._index.items() if entry.made < edge]
        for key in old:
            self.drop(key)

    def _superfluous(self) -> str | None:
        with self._lock:
            if not self._index:
                return None
            full = self._bytes > self._limit or self._free(self._folder) < _LEAST_FREE
            return next(iter(self._index)) if full else None

    # -- at start ------------------------------------------------------------------------------
    def read(self) -> None:
        """Learn what an earlier run has kept, and remove what a crash left half."""
        shutil.rmtree(self._folder / _INCOMING, ignore_errors=True)
        found: list[tuple[int, str, _Entry]] = []
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            found += self._read_folder(folder)
        with self._lock:
            for _, key, entry in sorted(found, key=lambda one: one[0]):
                self._index[key] = entry
                self._bytes += entry.size
        self.expire()
        self.make_room()

    def _read_folder(self, folder: Path) -> list[tuple[int, str, _Entry]]:
        found: list[tuple[int, str, _Entry]] = []
        wanted: set[str] = set()
        with os.scandir(folder) as entries:
            stats = {e.name: e.stat() for e in entries if e.is_file(follow_symlinks=False)}
        for name, stat in stats.items():
            if "." in name:
                continue
            try:
                facts = orjson.loads((folder / name).read_bytes())
                files: list[str] = facts["names"]
                entry = _Entry(sum(stats[n].st_size for n in files), files, facts["made"])
            except (OSError, ValueError, KeyError, TypeError) as wrong:
                log.info("a kept answer is not whole and is removed: %r", wrong)
                (folder / name).unlink(missing_ok=True)
                continue
            wanted.update(files)
            found.append((stat.st_mtime_ns, folder.name + name, entry))
        for name in stats:
            if "." in name and name not in wanted:
                (folder / name).unlink(missing_ok=True)
        return found
