"""Is the hot folder still the one that was opened? A mount may go, and come back.

Where a share is unmounted, its empty mount point looks like a folder whose files
were all taken away. The number of the device tells the difference.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from daemon.mounts import Mount, missing_mount, mount_of


class Root:
    """The folder that a hot folder is about, and the mount it lay on when it was opened."""

    def __init__(self, path: Path, mount: Mount, marker: Path) -> None:
        """Look at it for the first time.

        Args:
            path: the folder.
            mount: what it lies on.
            marker: a folder of ours that is there whenever the mount is (a stage).

        Raises:
            OSError: it is not there, or a mount point that /etc/fstab names is empty.
        """
        point = missing_mount(path)
        if point:
            raise OSError(errno.ENOTCONN, f"nothing is mounted at {point}", os.fspath(path))
        self._path, self._mount, self._marker = path, mount, marker
        self._device = os.stat(path).st_dev

    def returned(self) -> bool:
        """True when it has come back under another device number since the last time.

        Raises:
            OSError: it is away.
        """
        device = os.stat(self._path).st_dev
        if device == self._device:
            return False
        now = mount_of(self._path)
        if (now.point, now.kind) != (self._mount.point, self._mount.kind):
            raise OSError(
                errno.ENOTCONN,
                f"its mount is away: it was on {self._mount.kind} at {self._mount.point}, "
                f"there is {now.kind} at {now.point} now",
                os.fspath(self._path),
            )
        if not os.path.isdir(self._marker):
            raise OSError(
                errno.ENOTCONN,
                f"another disk is mounted at {now.point}: it has no {self._marker.name}",
                os.fspath(self._path),
            )
        self._device = device
        return True

    def is_away(self) -> bool:
        """True when it vanished with its mount; False when it is there, or was deleted."""
        try:
            self.returned()
        except (FileNotFoundError, NotADirectoryError):
            # Deleted by somebody: what it lay in is there, and is the same as before.
            above = self._path.parent
            return not above.is_dir() or mount_of(above) != self._mount
        except OSError:
            return True
        return False
