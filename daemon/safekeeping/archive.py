"""`audiolla backup`: everything but the sounds, in one file, while the daemon works.

A tar with gzip. The database comes first, as one moment of it; then the files;
the journal after the database, so that it knows of everything that the
database does; and a manifest with the size and SHA-256 of each at the end.

    database/audiolla.db      the queue: jobs, their log, webhooks, schedules, ledger
    schedules.yaml, tokens.json (hashes), kept.jsonl, days.json
    rules/ presets/ folders/<name>/*.yaml notices/ journal/
    manifest.json
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import orjson

from daemon.clock import Clock
from daemon.moves import fsync_file, fsync_folder
from daemon.rulefiles import NAME, find_rule_files
from daemon.settings import Settings
from handlers.errors import AudiollaError

MARK: Final = "audiolla_backup"
"""First key of a manifest; its value is the version of its form."""
FORM: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "database/audiolla.db"
_GZIP_LEVEL: Final = 3  # text halves at the first levels; later ones cost time


class BackupFailed(AudiollaError):
    """A backup could not be made, or one that was given is not whole."""


@dataclass
class Manifest:
    """What lies in a backup."""

    #: Unix seconds.
    created: float
    version: str
    #: The migration of the database.
    schema: str
    #: Jobs in each state.
    jobs: dict[str, int]
    #: Size and SHA-256 of each file, by its name in the archive.
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> bytes:
        """As it lies in the archive."""
        told = {
            MARK: FORM,
            "created": datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds"),
            "version": self.version,
            "schema": self.schema,
            "jobs": self.jobs,
            "files": self.files,
        }
        return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def places(settings: Settings) -> dict[str, Path]:
    """Where each part of a backup lies: what its names in the archive begin with, and the path.

    A name that ends with `/` is of a folder.
    """
    return {
        DATABASE: settings.database,
        "schedules.yaml": settings.data_dir / "schedules.yaml",
        "tokens.json": settings.tokens,
        "kept.jsonl": settings.kept,
        "days.json": settings.days,
        "rules/": settings.rules,
        "presets/": settings.presets,
        "folders/": settings.folders,
        "notices/": settings.notices,
        "journal/": settings.journal,
    }


def back_up(settings: Settings, target: Path, clock: Clock) -> Manifest:
    """Write a backup; it has its name only when it is whole and on the disk.

    Args:
        target: a file that is not there yet.

    Raises:
        BackupFailed: there is nothing to back up, or the database is damaged.
        FileExistsError: the target's name is taken.
        OSError: it cannot be written.
    """
    if not settings.database.exists():
        raise BackupFailed(f"there is no database at {settings.database}")
    if os.path.lexists(target):
        raise FileExistsError(17, "there is such a file already", os.fspath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".audiolla-backup-") as scratch:
        copy = Path(scratch, "audiolla.db")
        manifest = _snapshot(settings.database, copy, clock)
        part = Path(scratch, "part")
        # It holds hashes of tokens and the URLs of webhooks: nobody else may read it.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(handle, "wb") as file,
            tarfile.open(
                fileobj=file, mode="w:gz", compresslevel=_GZIP_LEVEL, format=tarfile.PAX_FORMAT
            ) as archive,
        ):
            _add(archive, manifest, DATABASE, copy)
            for name, path in _files(settings):
                _add(archive, manifest, name, path)
            _write(archive, MANIFEST, io.BytesIO(told := manifest.as_json()), len(told), clock)
        fsync_file(part)
        os.link(part, target)  # unlike a rename, it takes nobody's place
    fsync_folder(target.parent)
    return manifest


def _snapshot(database: Path, copy: Path, clock: Clock) -> Manifest:
    """One moment of a database that others write, as one file; what it holds."""
    name = quote(str(database.absolute()))
    with (
        closing(sqlite3.connect(f"file:{name}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        try:
            # All pages in one step: one reading transaction, which keeps no writer waiting.
            source.backup(target, pages=-1)
            target.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise BackupFailed(_damaged(database, verdict))
            (schema,) = target.execute("SELECT version_num FROM alembic_version").fetchone()
            jobs = dict(target.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
        except sqlite3.DatabaseError as wrong:
            raise BackupFailed(_damaged(database, str(wrong))) from wrong
    return Manifest(clock.now(), version("audiolla"), schema, jobs)


def _damaged(database: Path, why: str) -> str:
    return f"{database} cannot be copied: {why}; start the daemon, which rebuilds what is damaged"


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Every file beside the database, with its name in the archive; the journal's last."""
    for prefix, path in places(settings).items():
        if prefix == DATABASE:
            continue
        if prefix == "folders/":
            roots = {file.folder for file in find_rule_files(settings) if file.folder is not None}
            for root in sorted(roots):
                for file in sorted(root.glob("*.y*ml")):
                    yield f"folders/{root.name}/{file.name}", file
        elif prefix.endswith("/"):
            for file in sorted(path.rglob("*")) if path.is_dir() else ():
                yield prefix + file.relative_to(path).as_posix(), file
        else:
            yield prefix, path


def _add(archive: tarfile.TarFile, manifest: Manifest, name: str, path: Path) -> None:
    """As many bytes as there are now: what is added meanwhile waits for the next backup."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        if name.startswith("folders/") and Path(name).name == NAME:
            raise
        return  # it is not there (any more), or is a link to elsewhere
    with os.fdopen(handle, "rb") as file:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            return
        size = _whole_lines(file, told.st_size) if path.suffix == ".jsonl" else told.st_size
        counted = _Hashed(file)
        _write(archive, name, counted, size, told.st_mtime)
        if counted.size != size:
            raise BackupFailed(f"{path} became shorter while it was read; try again")
        manifest.files[name] = {"size": size, "sha256": counted.hash.hexdigest()}


def _whole_lines(file: BinaryIO, size: int) -> int:
    """Bytes up to the end of the last line that is written whole."""
    at = size
    while at:
        start = max(at - 65536, 0)
        file.seek(start)
        end = file.read(at - start).rfind(b"\n")
        if end >= 0:
            file.seek(0)
            return start + end + 1
        at = start
    file.seek(0)
    return 0


def _write(archive: tarfile.TarFile, name: str, source: Any, size: int, at: Clock | float) -> None:
    about = tarfile.TarInfo(name)
    about.size = size
    about.mtime = int(at if isinstance(at, float) else at.now())
    about.mode = 0o600
    archive.addfile(about, source)


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(count)
        self.hash.update(data)
        self.size += len(data)
        return data
