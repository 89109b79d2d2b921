"""A small disk that fills, goes away and turns read-only: a tmpfs, or where none may be mounted
the same faults put in where the daemon meets the disk."""

import errno
import os
import subprocess
from types import SimpleNamespace

from daemon.delivering import storage
from daemon.delivery import Drafts
from daemon.mounts import Mount


class Tmpfs:
    """A real one."""

    def __init__(self, point):
        self.point = point
        point.mkdir()
        self.mount()

    def mount(self):
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.point],
            check=True,
            capture_output=True,
        )

    def unmount(self):
        subprocess.run(["umount", self.point], check=True, capture_output=True)

    def read_only(self, yes):
        how = "remount,ro" if yes else "remount,rw"
        subprocess.run(["mount", "-o", how, self.point], check=True, capture_output=True)

    def fill(self, leave):
        room = os.statvfs(self.point)
        with (self.point / "filler").open("wb") as file:
            file.write(bytes(max(room.f_bavail * room.f_frsize - leave, 0)))

    def empty(self):
        (self.point / "filler").unlink()

    def close(self):
        subprocess.run(["umount", self.point], check=False, capture_output=True)


class Pretended:
    """The same, as `daemon.delivering.storage` and `daemon.delivery` would see it."""

    def __init__(self, point, patch):
        self.point = point
        point.mkdir()
        self._free, self._flags, self._mounted = 4 * 2**20, 0, True
        patch.setattr(storage, "mount_of", self._mount_of)
        patch.setattr(storage.os, "statvfs", self._statvfs)
        real = Drafts._settled

        def settled(drafts, draft):
            size = draft.part.stat().st_size
            if draft.part.is_relative_to(point) and size > self._free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(draft.part))
            return real(drafts, draft)

        patch.setattr(Drafts, "_settled", settled)

    def _mount_of(self, path):
        on = self._mounted and path.is_relative_to(self.point)
        return Mount(str(self.point), "tmpfs") if on else Mount("/", "ext4")

    def _statvfs(self, path):
        return SimpleNamespace(
            f_flag=self._flags, f_bavail=self._free, f_frsize=1, f_blocks=4 * 2**20
        )

    def mount(self):
        self._mounted = True

    def unmount(self):
        self._mounted = False

    def read_only(self, yes):
        self._flags = os.ST_RDONLY if yes else 0

    def fill(self, leave):
        self._free = leave

    def empty(self):
        self._free = 4 * 2**20

    def close(self):
        pass


def small_disk(point, patch):
    """A disk of 4 MiB at `point`."""
    try:
        return Tmpfs(point)
    except (subprocess.CalledProcessError, FileNotFoundError, PermissionError):
        point.rmdir()
        return Pretended(point, patch)
