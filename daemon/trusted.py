"""Reads what may tell the daemon what to do: files that only its owner could have written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from rules.written import MAX_BYTES


def read_trusted(path: Path) -> bytes:
    """The bytes of a file that only its owner and the daemon's user could have written.

    Rules name files to read and folders to write to: whoever may drop a sound
    must not be able to drop rules as well.

    Raises:
        OSError: it cannot be read, or is not to be believed.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EINVAL, "is not a plain file")
        others = told.st_mode & stat.S_IWOTH
        group = told.st_mode & stat.S_IWGRP and told.st_gid != os.getegid()
        if told.st_uid not in (0, os.geteuid()) or others or group:
            raise OSError(
                errno.EPERM,
                "others may write it, so it is not read; "
                f"make it yours alone: chown {os.geteuid()} and chmod go-w",
            )
        return file.read(MAX_BYTES + 1)
