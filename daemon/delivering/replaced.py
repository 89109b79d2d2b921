"""Keeps a file whose name a newer one takes over, so that an undo can bring it back."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from daemon.moves import PART_PREFIX, fsync_file, fsync_folder

_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})


def keep_replaced(final: Path, keep: Path, newer: int) -> None:
    """Give the file that bears a name a second one; safe to repeat after a crash.

    Args:
        final: the name that is about to be taken over.
        keep: the second name. What bears it already was kept by an earlier attempt.
        newer: inode of the file that takes over; if it has done so, nothing is left to keep.
    """
    try:
        told = final.lstat()
    except FileNotFoundError:
        return
    if told.st_ino == newer or os.path.lexists(keep) or not stat.S_ISREG(told.st_mode):
        return
    keep.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(final, keep, follow_symlinks=False)
    except FileNotFoundError:
        return  # whoever it belonged to removed it meanwhile
    except OSError as wrong:
        if wrong.errno not in _NO_LINKS:
            raise
        part = keep.with_name(f"{PART_PREFIX}{newer:x}.part")
        with contextlib.ExitStack() as failed:
            failed.callback(part.unlink, missing_ok=True)
            shutil.copy2(final, part, follow_symlinks=False)
            fsync_file(part)
            os.replace(part, keep)
    fsync_folder(keep.parent)
    fsync_folder(keep.parent.parent)
