"""Looks at a file on disk: size, time, what its container says, and whether somebody writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from typing import Final

from daemon.mounts import steady_inode
from daemon.settle import Reading
from handlers.codecs.complete import completeness

_SAMPLE: Final = 4096
_SAMPLES: Final = 64
_BLOCK: Final = 512
"""What `st_blocks` counts in, whatever the file system's own blocks are."""


def read_file(
    path: str, *, local: bool, inside: bool = True, now: float | None = None
) -> Reading | None:
    """One look at a file; None if it is not a plain file.

    Args:
        path: links are not followed, and a FIFO does not block.
        local: leases tell the truth on its mount.
        inside: ask its container, too (unless somebody is writing it).
        now: Unix seconds, to tell how long ago it was written.

    Raises:
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        leased = _nobody_writes(handle) if local else None
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            return None
        stamp = stamp_of(told)
        if not inside or leased is False:
            return Reading(*stamp, leased=leased)
        container = completeness(handle)
        if leased:
            age = None if now is None else now - told.st_mtime
            return Reading(
                *stamp, container, leased, hollow=_ends_in_a_hole(handle, told.st_size), age=age
            )
        front = written_front(handle, told.st_size)
        # Only zeros may have been left out; and where they are, a server that packs files tells
        # the same of silence.
        hollow = front < told.st_size and told.st_blocks * _BLOCK < told.st_size - _SAMPLE
        return Reading(*stamp, container, leased, front, hollow)
    finally:
        os.close(handle)


def written_front(handle: int, size: int) -> int:
    """How far a file that is written from its beginning has come, by samples of its content.

    Returns:
        `size` if there is anything in its last page (who makes room first writes whole pages, in
        order); else the end of the last of 64 samples that has something in it.
    """
    at = max(0, size - 1) // _SAMPLE * _SAMPLE
    if _holds_something(handle, at):
        return size
    apart = max(1, size // _SAMPLES // _SAMPLE) * _SAMPLE
    while at:
        at = max(0, at - apart)
        if _holds_something(handle, at):
            return at + _SAMPLE
    return 0


def _holds_something(handle: int, at: int) -> bool:
    sample = os.pread(handle, _SAMPLE, at)
    return sample.count(0) < len(sample)


def _ends_in_a_hole(handle: int, size: int) -> bool:
    """True when the last byte was never written: the size alone was set."""
    if not size:
        return False
    try:
        os.lseek(handle, size - 1, os.SEEK_DATA)
    except OSError as wrong:
        return wrong.errno == errno.ENXIO
    return False


def stamp_of(told: os.stat_result) -> tuple[int, int, int]:
    """Identity and change of a file, as `Reading.stamp` has it."""
    return steady_inode(told), told.st_size, told.st_mtime_ns


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
