"""Looks at a file on disk: size, time, what its container says, and whether somebody writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat

from daemon.settle import Reading
from handlers.codecs.complete import completeness


def read_file(path: str, *, local: bool, inside: bool = True) -> Reading | None:
    """One look at a file; None if it is not a plain file.

    Args:
        path: links are not followed, and a FIFO does not block.
        local: leases tell the truth on its mount.
        inside: ask its container, too (unless somebody is writing it).

    Raises:
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        leased = _nobody_writes(handle) if local else None
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            return None
        container = completeness(handle) if inside and leased is not False else None
        return Reading(*stamp_of(told), container, leased)
    finally:
        os.close(handle)


def stamp_of(told: os.stat_result) -> tuple[int, int, int]:
    """Identity and change of a file, as `Reading.stamp` has it."""
    return told.st_ino, told.st_size, told.st_mtime_ns


def _nobody_writes(handle: int) -> bool | None:
    """Whether a read lease is granted: no process of this machine has the file open for writing.

    None where it may not be asked (another user's file) or cannot be (no regular file).
    """
    try:
        # A writer that comes while the lease is held makes the kernel send a signal: one that
        # nobody minds, instead of SIGIO, which would end the process.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as wrong:
        return False if wrong.errno == errno.EAGAIN else None
    fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True
