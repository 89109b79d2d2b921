"""Is what was delivered still what it was? Files are read back and compared with what is known.

Whoever knows which files were delivered is a `Source`; whoever recorded a hash when it wrote a
file says so, and the first reading is held against it. Where nobody did, the first reading is what
later ones are held against. A file that somebody has written to since (its time tells) is no
fault: it is told, and remembered as it is now. One whose bytes are others while its time is the
same has rotted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
import sqlalchemy as sa

from daemon import schema
from daemon.delivering.journal import recorded_outputs
from daemon.schema import jobs
from daemon.settings import Settings
from rules.orders import path_from_text, path_to_text

_PIECE: Final = 1 << 22
_SHOWN: Final = 100
_ALGORITHM: Final = "blake2b"
#: Seconds by which a file's time may be behind the end of the job that wrote it.
_PUBLISHING: Final = 60.0


@dataclass(frozen=True)
class Delivered:
    """A file that was delivered, by what is recorded of it."""

    path: Path
    size: int
    #: `<algorithm of hashlib>:<hexadecimal>`; None where nobody took one.
    hash: str | None = None
    #: When, in Unix seconds: what is written to later is no fault.
    at: float = 0.0
    #: The job that delivered it.
    job: str = ""


class Source(Protocol):
    """Knows files that were delivered."""

    def __call__(self, settings: Settings) -> Iterable[Delivered]:
        """All of them; a later record of a path takes the place of an earlier one."""


def from_journal(settings: Settings) -> Iterator[Delivered]:
    """What hot folders delivered, with the hash that was taken of it, and was not undone."""
    for one in recorded_outputs(settings.journal):
        path = path_from_text(one["path"])
        yield Delivered(path, one["size"], f"sha256:{one['sha256']}", one["delivered"], one["job"])


def from_jobs(settings: Settings) -> Iterator[Delivered]:
    """What jobs of schedules delivered, oldest first.

    What the API answers with is fetched and goes, so it is left out; what folders deliver is in
    the journal.
    """
    query = (
        sa.select(jobs.c.id, jobs.c.result, jobs.c.completed)
        .where(jobs.c.state == "completed", jobs.c.source == "schedule")
        .order_by(jobs.c.seq)
    )
    engine = schema.reader_engine(settings.database)
    try:
        with engine.connect() as connection:
            for row in connection.execute(query):
                for output in orjson.loads(row.result or "{}").get("outputs", []):
                    path = path_from_text(output["path"])
                    yield Delivered(path, output["size"], None, row.completed, row.id)
    finally:
        engine.dispose()


#: Those that are asked.
SOURCES: list[Source] = [from_journal, from_jobs]


@dataclass
class Findings:
    """What a check found; paths as text."""

    #: Files that are recorded, that were read, and that are as they were.
    recorded: int = 0
    checked: int = 0
    good: int = 0
    #: Checked not long ago, and not reached in time.
    recent: int = 0
    left: int = 0
    bytes: int = 0
    #: Other bytes at the same time of change, or than the hash that was recorded says.
    rotten: list[str] = field(default_factory=list)
    #: Written to since.
    changed: list[str] = field(default_factory=list)
    #: Moved or deleted since.
    missing: list[str] = field(default_factory=list)
    #: Could not be read, with the reason.
    unreadable: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As a result: of long lists the beginning and the length."""
        shown: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, list):
                shown[name] = value[:_SHOWN]
                shown[f"{name}_count"] = len(value)
            else:
                shown[name] = value
        return shown


@dataclass(frozen=True)
class Limits:
    """How long a check may go on, and whom it asks for the time."""

    #: Unix seconds now.
    now: Callable[[], float]
    #: Begin no file after this moment.
    until: float
    #: Leave out what was checked after this moment.
    fresh: float


def check(
    delivered: Iterable[Delivered],
    known: Callable[[Sequence[str]], dict[str, dict[str, Any]]],
    remember: Callable[[list[dict[str, Any]], list[str]], None],
    limits: Limits,
    progress: Callable[[float], None] = lambda _: None,
) -> Findings:
    """Read files back, those first that were not read for the longest.

    Args:
        delivered: what is recorded; of one path the last counts.
        known: what earlier checks remember of paths.
        remember: keeps rows for later checks, and forgets paths.
        limits: when to stop.
        progress: told the share done; raises to stop.
    """
    recorded = {path_to_text(one.path): one for one in delivered}
    before = known(list(recorded))
    findings = Findings(recorded=len(recorded))
    stale = [p for p in recorded if before.get(p, {}).get("checked", 0.0) <= limits.fresh]
    findings.recent = len(recorded) - len(stale)
    stale.sort(key=lambda path: before.get(path, {}).get("checked", 0.0))
    for number, path in enumerate(stale):
        if limits.now() > limits.until:
            findings.left = len(stale) - number
            break
        pulse = partial(progress, number / len(stale))
        row = _look(path, recorded[path], before.get(path), findings, limits.now, pulse)
        remember([row] if row else [], [] if row else [path])
    return findings


def _look(
    path: str,
    one: Delivered,
    before: dict[str, Any] | None,
    findings: Findings,
    clock: Callable[[], float],
    pulse: Callable[[], None],
) -> dict[str, Any] | None:
    """Judge one file; what is to be remembered of it."""
    algorithm = (one.hash or f"{_ALGORITHM}:").partition(":")[0]
    if before is not None and before["hash"].partition(":")[0] != algorithm:
        before = None  # a record has come since
    pulse()
    try:
        with one.path.open("rb") as file:
            told = os.fstat(file.fileno())
            digest = hashlib.new(algorithm)
            while piece := file.read(_PIECE):
                digest.update(piece)
                pulse()
    except FileNotFoundError:
        findings.missing.append(path)
        return None
    except (OSError, ValueError) as wrong:
        findings.unreadable.append(f"{path}: {wrong}")
        return before
    findings.checked += 1
    findings.bytes += told.st_size
    row = {
        "path": path,
        "size": told.st_size,
        "modified": told.st_mtime,
        "hash": f"{algorithm}:{digest.hexdigest()}",
        "checked": clock(),
    }
    if before is not None:
        expected, touched = before["hash"], before["modified"] != told.st_mtime
    else:
        expected, touched = one.hash, told.st_mtime > one.at + _PUBLISHING
    if row["hash"] == expected or (expected is None and told.st_size == one.size):
        findings.good += 1
    elif touched:
        findings.changed.append(path)
    else:
        findings.rotten.append(path)
        # What is remembered stays as it should be, so that it is told again until it is mended.
        row["hash"] = expected
    return row if row["hash"] is not None else None
