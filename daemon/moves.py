"""Moves files so that a crash at any point leaves each of them in exactly one place.

On one file system a move is a rename that never replaces anything. Across two
it is: copy to a hidden part beside the target, fsync, rename, fsync the
folder, and only then remove the source.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import filecmp
import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from rules.names import numbered

PART_PREFIX = ".audiolla-move-"
"""Begins the name of a copy between two file systems until it is whole."""

_A_HANDFUL = 4
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
#: What a kernel or file system answers that has no `renameat2` with flags.
_NO_FLAGS = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
#: What a file system answers that has no hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})

_libc = ctypes.CDLL(None, use_errno=True)


def rename(source: Path, target: Path) -> None:
    """Rename within one file system, never replacing anything.

    Raises:
        FileExistsError: the target's name is taken; nothing happened.
        OSError: as `os.rename`, e.g. with EXDEV across file systems.
    """
    try:
        wrong = _renameat2(source, target)
    except AttributeError:
        wrong = errno.ENOSYS
    if not wrong:
        return
    if wrong not in _NO_FLAGS:
        raise OSError(wrong, os.strerror(wrong), os.fspath(source), None, os.fspath(target))
    _link_and_unlink(source, target)


def _renameat2(source: Path, target: Path) -> int:
    failed = _libc.renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    )
    return ctypes.get_errno() if failed else 0


def _link_and_unlink(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as wrong:
        if wrong.errno not in _NO_LINKS:
            raise
        # Neither flag nor link (FAT, some network shares): look first, which leaves a small gap.
        if os.path.lexists(target):
            raise FileExistsError(
                errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target)
            ) from None
        os.rename(source, target)
    else:
        os.unlink(source)


def place(part: Path, final: Path, *, replace: bool = False) -> bool:
    """Give a finished, fsynced file its final name, durably.

    Args:
        part: the file, in the folder of `final`.
        final: the name it gets.
        replace: take the place of a file that bears the name already.

    Returns:
        False when the name is taken and `replace` is not set; nothing happened then.

    Raises:
        FileNotFoundError: there is no `part`.
    """
    if replace:
        os.replace(part, final)
    else:
        try:
            rename(part, final)
        except FileExistsError:
            return False
    fsync_folder(final.parent)
    return True


def move(source: Path, target: Path, *, durable: bool = True) -> None:
    """Move a file, never replacing anything; the target's folder is made if it is missing.

    Repeating a move that a crash cut short finishes it.

    Args:
        source: a plain file.
        target: its new path.
        durable: fsync the target's folder. Without, a power failure may undo a
            rename (the file is then back in its old place, whole).

    Raises:
        FileExistsError: the target's name is taken by another file.
        FileNotFoundError: there is no source.
    """
    try:
        _rename_or_copy(source, target)
    except FileNotFoundError:
        if os.path.lexists(target.parent) or not os.path.lexists(source):
            raise
        target.parent.mkdir(parents=True, exist_ok=True)
        _rename_or_copy(source, target)
    if durable:
        fsync_folder(target.parent)


def _rename_or_copy(source: Path, target: Path) -> None:
    try:
        rename(source, target)
    except OSError as wrong:
        if wrong.errno != errno.EXDEV:
            raise
        _move_across(source, target)


def move_numbered(source: Path, target: Path, *, durable: bool = True, tries: int = 10_000) -> Path:
    """Move a file to the first free one of `x.wav`, `x (2).wav`, ...; the name it got.

    Raises:
        FileNotFoundError: there is no source.
        FileExistsError: `tries` names are taken.
    """
    for number in range(1, tries + 1):
        free = target if number == 1 else target.with_name(numbered(target.name, number))
        try:
            move(source, free, durable=durable)
        except FileExistsError:
            continue
        return free
    raise FileExistsError(errno.EEXIST, f"{tries} names are taken", os.fspath(target))


def _move_across(source: Path, target: Path) -> None:
    before = source.lstat()
    if not stat.S_ISREG(before.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", os.fspath(source))
    if os.path.lexists(target):
        # A crash between the rename and the unlink below leaves both; the twin is the proof.
        if not _is_copy(source, before, target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
    else:
        part = target.with_name(f"{PART_PREFIX}{before.st_dev:x}-{before.st_ino:x}.part")
        try:
            shutil.copyfile(source, part, follow_symlinks=False)
            shutil.copystat(source, part, follow_symlinks=False)
            fsync_file(part)
            rename(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        fsync_folder(target.parent)
    os.unlink(source)
    fsync_folder(source.parent)


def _is_copy(source: Path, before: os.stat_result, target: Path) -> bool:
    there = target.lstat()
    return (
        stat.S_ISREG(there.st_mode)
        and (there.st_size, there.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        and filecmp.cmp(source, target, shallow=False)
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that its name never bears half of it; replaces an older one.

    The part's name follows from the file's: what a crash left is taken over by whoever writes the
    file again. A lock keeps two writers apart; a dead one's is gone with it.
    """
    name = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    part = path.with_name(f".audiolla-write-{name}.part")
    with _locked(part) as file:
        try:
            file.truncate(0)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    fsync_folder(path.parent)


def _locked(part: Path) -> BinaryIO:
    """Open a part that nobody else writes."""
    while True:
        file = part.open("ab")
        try:
            with contextlib.suppress(OSError):  # a file system without locks has one writer
                fcntl.flock(file, fcntl.LOCK_EX)
            there = os.stat(part)
        except FileNotFoundError:
            pass  # whoever had the lock has given the part its name
        except BaseException:
            file.close()
            raise
        else:
            mine = os.fstat(file.fileno())
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                return file
        file.close()


def fsync_file(path: Path) -> None:
    """Make a file's content durable."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def fsync_folders(folders: Collection[Path]) -> None:
    """Make names in several folders of one file system durable.

    Beyond a handful, one `syncfs` for all costs less than an fsync each.
    """
    if len(folders) <= _A_HANDFUL:
        for folder in folders:
            fsync_folder(folder)
        return
    handle = os.open(next(iter(folders)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(handle):
            wrong = ctypes.get_errno()
            raise OSError(wrong, os.strerror(wrong), os.fspath(next(iter(folders))))
    finally:
        os.close(handle)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as wrong:
        # Some network and FUSE file systems cannot fsync a folder; they have no better to give.
        if not (flags & os.O_DIRECTORY and wrong.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(handle)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it up to `root` (kept), as far as they are empty."""
    path, top = os.fspath(folder), os.fspath(root)
    while path.startswith(top + "/"):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError:
            return
        path = os.path.dirname(path)
