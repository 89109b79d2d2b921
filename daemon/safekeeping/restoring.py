"""`audiolla restore`: a backup is verified whole, and takes the place of what is there.

What was there is set aside, never deleted. A journal that already holds all
that the backup has, and more, stays: so what came after the backup is known,
and what was delivered since is not done again.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sqlite3
import tarfile
import zlib
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson

from daemon import schema
from daemon.clock import Clock
from daemon.moves import PART_PREFIX, fsync_file, fsync_folder
from daemon.safekeeping import lock
from daemon.safekeeping.archive import DATABASE, FORM, MANIFEST, MARK, BackupFailed, places
from daemon.safekeeping.opening import SIDE_FILES, beside, restoring
from daemon.safekeeping.rebuild import Report, reconcile
from daemon.settings import Settings

_CHUNK: Final = 1 << 20
_MOST_MANIFEST: Final = 64 * 2**20


@dataclass(frozen=True)
class Verified:
    """A backup that is whole."""

    #: Its manifest, as it was written.
    about: dict[str, Any]

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file, by its name."""
        found: dict[str, dict[str, Any]] = self.about["files"]
        return found


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    files: int
    #: Folder with what was there before; empty where nothing was.
    set_aside: str
    #: What the journal and the folders knew better than the backup.
    report: Report


def verify(archive: Path, into: Path | None = None) -> Verified:
    """Read a backup whole, and compare every hash.

    Args:
        into: an empty folder that its files are written to as they are read.

    Raises:
        BackupFailed: it is none, or not whole; says which file of it is wrong.
    """
    found: dict[str, dict[str, Any]] = {}
    about: dict[str, Any] | None = None
    try:
        with (
            gzip.open(archive) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as tar,
        ):
            for member in tar:
                name = _checked(member)
                source = tar.extractfile(member)
                assert source is not None
                if name == MANIFEST:
                    about = _read_manifest(source.read(_MOST_MANIFEST))
                    continue
                hashed = hashlib.sha256()
                target = None if into is None else into / name
                if target is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                with open(target or os.devnull, "wb") as copy:
                    while data := source.read(_CHUNK):
                        hashed.update(data)
                        copy.write(data)
                found[name] = {"size": member.size, "sha256": hashed.hexdigest()}
            while unpacked.read(_CHUNK):  # to its very end, where its checksum is
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as wrong:
        if isinstance(wrong, FileNotFoundError):
            raise
        raise BackupFailed(f"{archive} is no whole backup: {wrong}") from wrong
    if about is None:
        raise BackupFailed(f"{archive} is no whole backup: it has no {MANIFEST}")
    if found != about["files"]:
        names = sorted(
            name
            for name in found.keys() | about["files"].keys()
            if found.get(name) != about["files"].get(name)
        )
        raise BackupFailed(f"{archive} is no whole backup: {', '.join(names[:5])} differ")
    if DATABASE not in found:
        raise BackupFailed(f"{archive} has no database")
    return Verified(about)


def _checked(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if not member.isreg() or path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise BackupFailed(f"a backup has no member like {member.name!r}")
    return member.name


def _read_manifest(data: bytes) -> dict[str, Any]:
    about = orjson.loads(data)
    if not isinstance(about, dict) or MARK not in about or not isinstance(about["files"], dict):
        raise BackupFailed(f"{MANIFEST} is not that of a backup")
    if about[MARK] != FORM:
        raise BackupFailed(
            f"{MANIFEST} has form {about[MARK]}; this program knows form {FORM}: use a newer one"
        )
    return about


def restore(settings: Settings, archive: Path, clock: Clock) -> Restored:
    """Put a backup in the place of what is there.

    Raises:
        UnusableDatabase: a daemon runs on this data directory.
        BackupFailed: the backup is not whole, or of a newer program; nothing was changed.
        OSError: the disk does not take it; run it again.
    """
    with lock.hold(settings, patience=0.0):
        stamp = f"{datetime.fromtimestamp(clock.now(), UTC):%Y%m%d-%H%M%S}"
        fresh = settings.data_dir / f".restore-{stamp}"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            about = verify(archive, fresh)
            report = _ready_database(fresh / DATABASE)
            aside = settings.data_dir / "before-restore" / stamp
            number = 1
            while aside.exists():
                number += 1
                aside = aside.with_name(f"{stamp}-{number}")
            mark = restoring(settings)
            mark.write_text(os.fspath(archive), encoding="utf-8")
            fsync_folder(settings.data_dir)
            count = _put_in_place(settings, fresh, aside, about)
            # The journal is the newer one of two by now: what it knows better is written down.
            reconcile(settings.database, settings, clock, report)
            mark.unlink()
            fsync_folder(settings.data_dir)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return Restored(count, os.fspath(aside) if aside.exists() else "", report)


def _ready_database(database: Path) -> Report:
    """Check the backup's database while nothing is changed yet."""
    with closing(sqlite3.connect(database)) as raw:
        (verdict,) = raw.execute("PRAGMA integrity_check(1)").fetchone()
        (revision,) = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    if verdict != "ok":
        raise BackupFailed(f"the backup's database is damaged: {verdict}")
    if revision > schema.HEAD:
        raise BackupFailed(
            f"the backup is of a newer audiolla (its tables are at {revision}, this program knows "
            f"up to {schema.HEAD}): restore it with that version"
        )
    from daemon.store import Store

    Store(database).close()  # brings older tables up to date
    for side in SIDE_FILES:
        with suppress(FileNotFoundError):
            beside(database, side).unlink()
    return Report(at="", wrong="restored from a backup", set_aside="")


def _put_in_place(settings: Settings, fresh: Path, aside: Path, about: Verified) -> int:
    count = 0
    there = places(settings)
    for side in SIDE_FILES:
        _set_aside(beside(settings.database, side), aside / f"{DATABASE}{side}")
    for name in sorted(about.files):
        prefix = name if name in there else name.partition("/")[0] + "/"
        if prefix not in there:
            raise BackupFailed(f"the backup has {name}, which this program knows nothing of")
        target = there[prefix] if prefix == name else there[prefix] / name[len(prefix) :]
        if prefix in ("journal/", "kept.jsonl") and _begins_with(target, about.files[name]):
            continue
        _set_aside(target, aside / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{PART_PREFIX}{target.name}")
        shutil.copyfile(fresh / name, part)
        part.chmod(0o600 if prefix in (DATABASE, "tokens.json") else 0o644)
        fsync_file(part)
        os.replace(part, target)
        fsync_folder(target.parent)
        count += 1
    return count


def _set_aside(path: Path, kept: Path) -> None:
    """A copy of what is about to be replaced; what stays in its place is replaced in one step."""
    if not path.is_file():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(SIDE_FILES):
        # It belongs to the old database alone, and would be taken for the new one's.
        os.replace(path, kept)
    else:
        shutil.copy2(path, kept)
        fsync_file(kept)
    fsync_folder(kept.parent)


def _begins_with(path: Path, about: dict[str, Any]) -> bool:
    """True for a file that is what a backup has of it, and perhaps more."""
    left: int = about["size"]
    hashed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while left and (data := file.read(min(_CHUNK, left))):
                hashed.update(data)
                left -= len(data)
    except OSError:
        return False
    return not left and hashed.hexdigest() == about["sha256"]
