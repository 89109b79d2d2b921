"""Files that decide what is done: taken only where nobody but their owner could have written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from daemon.settings import Settings
from rules.written import MAX_BYTES


def reader(settings: Settings) -> Callable[[Path], bytes]:
    """Reads such files, by what the settings say of folders that others may write to."""
    return lambda path: read_trusted(path, shared=settings.trust_shared_folders)


def read_trusted(path: Path, *, shared: bool = False) -> bytes:
    """The bytes of a file that only its owner and the daemon's user could have written.

    Rules name files to read and folders to write to: whoever may drop a sound
    must not be able to drop rules as well. Nor must they be able to give the
    name to a file of the daemon's own, whose content they had a part in: so the
    folder counts, too.

    Args:
        shared: believe what lies in folders that others may write to.

    Raises:
        OSError: it cannot be read, or is not to be believed.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EINVAL, "is not a plain file")
        if _others_may_write(told):
            raise OSError(
                errno.EPERM,
                "others may write it, so it is not read; "
                f"make it yours alone: chown {os.geteuid()} and chmod go-w",
            )
        if not shared:
            folder = path.parent.stat()
            # In a sticky folder (as /tmp) nobody renames or replaces what belongs to somebody else.
            if _others_may_write(folder) and not folder.st_mode & stat.S_ISVTX:
                raise OSError(
                    errno.EPERM,
                    f"others may write to its folder {path.parent}, and so put another in its "
                    "place: it is not read; chmod go-w the folder, keep the file where only you "
                    "may write, or set AUDIOLLA_TRUST_SHARED_FOLDERS",
                )
        return file.read(MAX_BYTES + 1)


def permissions_of(path: Path) -> tuple[int, ...]:
    """Who may write a file and its folder; another one when it has to be looked at again.

    Raises:
        OSError: it is not there.
    """
    return tuple(
        fact
        for told in (path.lstat(), path.parent.stat())
        for fact in (told.st_mode, told.st_uid, told.st_gid)
    )


def _others_may_write(told: os.stat_result) -> bool:
    group = told.st_mode & stat.S_IWGRP and told.st_gid != os.getegid()
    return bool(told.st_uid not in (0, os.geteuid()) or told.st_mode & stat.S_IWOTH or group)
