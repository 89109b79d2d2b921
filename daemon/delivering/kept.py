"""Files that stay in an inbox and are not taken again: remembered until they change.

What `originals: keep` puts back, and what an undo returns. The memory is a
small file of its own, beside the journal, so that a start need not read years.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import orjson

from daemon.moves import fsync_folder
from daemon.taking.patience import NoAnswer, Patient
from rules.orders import path_from_text, path_to_text

Stamp = tuple[int, int]
"""Size and modification time (ns). No inode: a copy between two file systems has another."""


class Kept:
    """The files of all hot folders that stay where they are. One process writes, any thread."""

    def __init__(self, file: Path) -> None:
        """Read what earlier starts remembered; files that have changed since are forgotten."""
        self._file = file
        self._stamps: dict[str, Stamp] = {}
        self._lock = threading.Lock()
        try:
            lines = file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                text, size, mtime = orjson.loads(line)
            except ValueError:
                continue  # cut short by a crash
            self._stamps[os.fspath(path_from_text(text))] = (size, mtime)
        known = list(self._stamps.items())
        # One that is forgotten later costs a line: a share that hangs must not keep the start.
        with contextlib.suppress(NoAnswer):
            for path in Patient().ask(file, lambda: _changed(known)):
                del self._stamps[path]
        if len(self._stamps) < len(lines) // 2:
            self._rewrite()

    def add(self, path: Path, told: os.stat_result) -> None:
        """Remember a file, which may still be on its way there; durable when it returns."""
        stamp = told.st_size, told.st_mtime_ns
        with self._lock:
            fresh = not self._file.exists()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab", buffering=0) as file:
                file.write(_line(os.fspath(path), stamp))
                os.fsync(file.fileno())
            if fresh:
                fsync_folder(self._file.parent)
        self._stamps[os.fspath(path)] = stamp

    def holds(self, path: str, told: os.stat_result) -> bool:
        """True for a file that is as it was when it was put there."""
        return self._stamps.get(path) == (told.st_size, told.st_mtime_ns)

    def _rewrite(self) -> None:
        part = self._file.with_name(f".audiolla-{os.getpid()}.part")
        with part.open("wb") as file:
            file.writelines(_line(path, stamp) for path, stamp in self._stamps.items())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._file)
        fsync_folder(self._file.parent)


def _line(path: str, stamp: Stamp) -> bytes:
    # The line before may have been cut short: an empty line costs nothing.
    return b"\n" + orjson.dumps([path_to_text(path), *stamp]) + b"\n"


def _changed(known: list[tuple[str, Stamp]]) -> list[str]:
    # An inbox whose share is away says nothing about its files.
    return [
        path
        for path, stamp in known
        if os.path.isdir(os.path.dirname(path)) and _stamp_at(path) not in (None, stamp)
    ]


def _stamp_at(path: str) -> Stamp | None:
    try:
        told = os.lstat(path)
    except OSError:
        return None
    return told.st_size, told.st_mtime_ns
