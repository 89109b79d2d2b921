"""The journal: every move of a file, written down before it happens; only ever added to.

One line of JSON per event, one file per month (UTC), in `<data dir>/journal`.
It is no table of the database, so that it outlives the database: with both the
files and the journal there, everything can be put back. Lines are fsynced
before the files they tell of move. A line that a crash cut short is skipped.

    {"at", "do": "take", "job", "folder", "root", "rel", "size", "mtime_ns"}
    {"at", "do": "back", "job", "folder", "rel"}
    {"at", "do": "put", "job", "stage", "rel", "from", "to", "state", ...}
    {"at", "do": "undo", "job", "rel", "original"}
    {"at", "do": "undone", "job", "original"}

`back` undoes a `take` whose job the queue never knew: the files lie in the inbox again.

A job of several files (a set, a sound and its sidecar) has a `take`, a `put`
and an `undo` for each; the first `put` tells what came of them, the others are
`further`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from daemon.clock import Clock
from daemon.moves import fsync_folder

Entry = dict[str, Any]

_READ_BYTES: Final = 1 << 20


class Journal:
    """The writing side. One process writes; within it, any thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Nothing is opened before the first entry."""
        self.folder = folder
        self._clock = clock
        self._lock = threading.Lock()

    def write(self, entries: Sequence[Entry]) -> None:
        """Add entries; they are on the disk when it returns.

        Raises:
            OSError: none of them is in the journal.
        """
        if not entries:
            return
        with self._lock:
            self._write(entries)

    def _write(self, entries: Sequence[Entry]) -> None:
        now = self._clock.now()
        lines = b"".join(orjson.dumps({"at": now, **entry}) + b"\n" for entry in entries)
        path = self.folder / f"{datetime.fromtimestamp(now, UTC):%Y-%m}.jsonl"
        fresh = not path.exists()
        if fresh:
            self.folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    lines = b"\n" + lines  # the line before was cut short by a crash
            try:
                _write_all(file.fileno(), lines)
                os.fsync(file.fileno())
            except OSError:
                os.truncate(file.fileno(), end)
                raise
        if fresh:
            fsync_folder(self.folder)

    def of_job(self, job: str) -> list[Entry]:
        """Everything that is written of a job, the oldest first."""
        return [e for e in entries_with(self.folder, [orjson.dumps(job)]) if e.get("job") == job]


def entries_with(folder: Path, needles: Iterable[bytes] = ()) -> Iterator[Entry]:
    """The entries whose line contains one of some byte strings; all if there are none.

    The oldest first. Lines are only parsed where a needle is found, so that a
    journal of years is searched in seconds.
    """
    wanted = list(needles)
    try:
        months = sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
    except FileNotFoundError:
        return
    for month in months:
        with month.open("rb", buffering=_READ_BYTES) as file:
            for line in file:
                if wanted and not any(needle in line for needle in wanted):
                    continue
                try:
                    entry = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(entry, dict):
                    yield entry


def recorded_outputs(folder: Path) -> Iterator[Entry]:
    """Every output that is still to be where it was delivered, for a check of fixity.

    Yields:
        `job`, `folder` (the hot folder's name), `delivered` (Unix seconds), `path` (as
        `rules.orders.path_to_text` has it), `size` and `sha256`. Outputs of jobs that were
        undone, and names that a later output took over, are left out.
    """
    found: dict[str, Entry] = {}
    for entry in entries_with(folder, [b'"put"', b'"undone"']):
        if entry.get("do") == "undone":
            found = {path: one for path, one in found.items() if one["job"] != entry["job"]}
        elif entry.get("do") == "put":
            for output in entry.get("outputs", []):
                if "sha256" in output:
                    found[output["path"]] = {
                        "job": entry["job"],
                        "folder": entry["folder"],
                        "delivered": entry["at"],
                        **{key: output[key] for key in ("path", "size", "sha256")},
                    }
    yield from found.values()


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
