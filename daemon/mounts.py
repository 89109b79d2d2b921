"""What the file system below a path can be trusted with.

Decided by its type in the mount table, never by a probe: on a network mount
one's own writes raise events and one's own lease is granted while another
machine is in the middle of writing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_REMOTE = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "ocfs2",
        "gfs2",
        "9p",
        "virtiofs",
        "vboxsf",
        "vmhgfs",
        "drvfs",
        "prl_fs",
        "davfs",
        "sshfs",
    )
)
#: Of those and of FUSE, which number a file once and for all. The others (sshfs above all) make
#: numbers up as they are asked, and give the same file another one a moment later.
_NUMBERED = frozenset(
    ("nfs", "nfs4", "afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2", "virtiofs", "fuseblk")
)
_FRESH_SECONDS = 2.0
_TABLE = Path("/proc/self/mountinfo")
_WANTED = Path("/etc/fstab")


@dataclass(frozen=True)
class Mount:
    """One entry of the mount table."""

    point: str
    kind: str

    @property
    def local(self) -> bool:
        """True when events and leases tell the whole truth: nobody else can write there."""
        return self.kind not in _REMOTE and not self.kind.startswith("fuse")

    @property
    def numbered(self) -> bool:
        """True when the inode number of a file tells it from another that took its name."""
        return self.local or self.kind in _NUMBERED


class _Devices:
    """Which devices make up inode numbers; read again from the mount table every few seconds."""

    def __init__(self) -> None:
        self._made_up: frozenset[int] = frozenset()
        self._until = float("-inf")

    def makes_up(self, device: int) -> bool:
        """True when numbers of files on a device (`st_dev`) mean nothing."""
        if os.major(device):
            return False  # a disk
        now = time.monotonic()
        if now >= self._until:
            self._made_up = frozenset(_making_up(_table_text()))
            self._until = now + _FRESH_SECONDS
        return device in self._made_up


def _table_text() -> str:
    try:
        return _TABLE.read_text(errors="surrogateescape")
    except OSError:
        return ""


def _making_up(table: str) -> Iterator[int]:
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) >= 5 and right and not Mount(fields[4], right.split()[0]).numbered:
            major, _, minor = fields[2].partition(":")
            yield os.makedev(int(major), int(minor))


_devices = _Devices()


def steady_inode(told: os.stat_result) -> int:
    """The inode number of a file; 0 where its file system gives it another at every look."""
    return 0 if _devices.makes_up(told.st_dev) else told.st_ino


def mount_of(path: Path, table: str | None = None) -> Mount:
    """The mount that a path lies on.

    Args:
        path: it need not exist.
        table: text of a mount table in the format of proc(5); default this process's own.
    """
    if table is None:
        try:
            table = _TABLE.read_text(errors="surrogateescape")
        except OSError:
            return Mount("/", "unknown")
    real = os.path.realpath(path)
    best = Mount("/", "unknown")
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = _unescaped(fields[4])
        # Of several mounts on one point the last one is seen.
        if len(point) >= len(best.point) and _lies_under(real, point):
            best = Mount(point, right.split()[0])
    return best


def missing_mount(path: Path, table: str | None = None, wanted: str | None = None) -> str:
    """The mount point above a path that /etc/fstab names and that nothing is mounted on.

    What is made there would lie in the empty mount point, and be covered by the share later.

    Args:
        path: it need not exist.
        table: as for `mount_of`.
        wanted: text in the format of fstab(5); default this machine's own.

    Returns:
        The point; empty if there is none.
    """
    if wanted is None:
        try:
            wanted = _WANTED.read_text(errors="surrogateescape")
        except OSError:
            return ""
    real = os.path.realpath(path)
    mounted = mount_of(path, table).point
    for line in wanted.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        point = _unescaped(fields[1]).rstrip("/")
        if point.startswith("/") and _lies_under(real, point) and not _lies_under(mounted, point):
            return point
    return ""


def _lies_under(path: str, point: str) -> bool:
    return path == point or point == "/" or path.startswith(point + "/")


def _unescaped(text: str) -> str:
    """Spaces and such are written as three octal digits there."""
    for code in (r"\040", r"\011", r"\012", r"\134"):
        text = text.replace(code, chr(int(code[1:], 8)))
    return text
