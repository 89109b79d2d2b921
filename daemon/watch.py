"""Finds files in a hot folder: events say where to look, a rescan says what is there.

watchdog's events are only hints. They come twice or late, they do not come at
all from other machines, and when the kernel's queue overflows (16,384 events)
they are lost. The rescan is the truth. It is cheap because a directory's
modification time moves whenever a name in it comes or goes: one `stat` per
directory, and a listing only of those that moved.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from daemon.mounts import steady_inode

log = logging.getLogger(__name__)

RACY_SECONDS: Final = 2.0
"""A directory that changed so recently may change again within the same time stamp."""

_TEMPORARY_ENDS = (
    "~",
    ".part",
    ".tmp",
    ".partial",
    ".crdownload",
    ".download",
    ".filepart",
    ".opdownload",
    ".aria2",
    ".!ut",
    ".!qb",
    ".temp",
    ".incomplete",
    ".inprogress",
    ".unconfirmed",
    ".gstmp",
    ".bc!",
    ".lftp-pget-status",
)
#: What macOS saves beside a file before it takes its place: `take.wav.sb-1a2b3c4d-Xy12Zz`.
_SAFE_SAVE = re.compile(r"\.sb-[0-9a-f]{8}-[0-9A-Za-z]{6}$")
#: Folders and files that file systems, NAS boxes and desktops leave everywhere.
_FURNITURE = frozenset(
    (
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "lost+found",
        "system volume information",
        "thumbs.db",
        "desktop.ini",
        "__macosx",
        "$temp$",
        "cacheclip",
        "proxymedia",
    )
)


def is_ignored(name: str) -> bool:
    """True for a name that marks something unfinished or not meant for anybody.

    Dotfiles (with them rsync's, Syncthing's and our own parts, and `._*`),
    names that begin or end with `~`, the suffixes of unfinished downloads, and what editors
    (WaveLab's `$TEMP$`, Resolve's `CacheClip`) keep for themselves.
    """
    if name[:1] in (".", "~"):
        return True
    lowered = name.lower()
    if lowered.endswith(_TEMPORARY_ENDS) or lowered in _FURNITURE:
        return True
    return ".sb-" in lowered and _SAFE_SAVE.search(name) is not None


class Ears(Protocol):
    """Something that can listen to a folder."""

    def listen(self, folder: str) -> None:
        """Begin to report what happens to the names in a folder."""

    def ignore(self, folder: str) -> None:
        """Stop reporting."""


class Deaf:
    """For mounts without events: the rescan alone does the work."""

    def listen(self, folder: str) -> None:
        """Nothing to listen to."""

    def ignore(self, folder: str) -> None:
        """Nothing to stop."""


class Events:
    """Hints from watchdog: one inotify reader for any number of folders.

    watchdog's observers hide which of its events means "moved in whole" and
    start two threads per watched folder; its reader below them does neither.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        """Start the reader.

        Args:
            lost: called from its thread when the kernel dropped events.
        """
        from watchdog.observers.inotify_c import InotifyFD

        self._lost = lost
        self._reader: Any = InotifyFD()
        self._reader.start()
        #: Why some folder cannot be listened to; empty when all can.
        self.trouble = ""

    def ears(self, hint: Callable[[str, str], None]) -> Ears:
        """Ears for one inbox; `hint(folder, name)` is called from the reader's thread."""
        return _Ears(self, self._reader, hint, self._lost)

    def close(self) -> None:
        """Stop listening to everything."""
        self._reader.stop()
        self._reader.join(timeout=5)


class _Ears:
    def __init__(
        self,
        events: Events,
        reader: Any,
        hint: Callable[[str, str], None],
        lost: Callable[[], None],
    ) -> None:
        from watchdog.observers.inotify_c import InotifyConstants

        self._mask = (
            InotifyConstants.IN_CREATE
            | InotifyConstants.IN_MOVED_TO
            | InotifyConstants.IN_CLOSE_WRITE
            | InotifyConstants.IN_ONLYDIR
        )
        self._events, self._reader = events, reader
        self._hint, self._lost = hint, lost
        #: Folder to what watchdog needs to stop: its watch, and the callback's id.
        self._watched: dict[str, tuple[Any, int]] = {}

    def listen(self, folder: str) -> None:
        """Begin to report; a folder for which the kernel has no watch left is only rescanned."""
        if folder in self._watched:
            return
        callback = _Callback(folder, self._hint, self._lost, self._watched)
        try:
            # The id tells two paths apart that a rename gave the same watch.
            watch = self._reader.add_callback(
                os.fsencode(folder), self._mask, callback, id(callback)
            )
        except OSError as wrong:
            if wrong.errno in (errno.EACCES, errno.ENOENT, errno.ENOTDIR):
                return  # whoever lists it finds out, too
            # The kernel's limit is reached, or its reader has ended: nothing is heard from here.
            self._events.trouble = f"{wrong.strerror}; beyond it only rescans find files"
            log.warning("%s: %s", folder, self._events.trouble)
        else:
            self._watched[folder] = watch, id(callback)

    def ignore(self, folder: str) -> None:
        """Stop reporting."""
        watched = self._watched.pop(folder, None)
        if watched is not None:
            # The folder is gone in most cases, and its watch with it.
            with contextlib.suppress(OSError):
                self._reader.remove_callbacks([watched])


@dataclass(eq=False)
class _Callback:
    """What watchdog calls for one folder."""

    folder: str
    hint: Callable[[str, str], None]
    lost: Callable[[], None]
    watched: dict[str, tuple[Any, int]]

    def on_event(self, event: Any) -> None:
        """Something happened to a name in the folder."""
        self.hint(self.folder, os.fsdecode(event.name))

    def on_watch_deleted(self, wd: Any) -> None:
        """The folder is gone, or unmounted."""
        if self.watched.get(self.folder) == (wd, id(self)):
            del self.watched[self.folder]

    def on_queue_overflow(self) -> None:
        """The kernel dropped events."""
        self.lost()


@dataclass
class _Folder:
    """What is known of one directory of an inbox."""

    path: str
    mtime_ns: int = -1
    inode: int = -1
    hot: bool = True
    readable: bool = True
    #: File name to what tells a file from another that takes its name: its inode, or where that
    #: means nothing its size and time.
    files: dict[str, int] = field(default_factory=dict)
    subfolders: set[str] = field(default_factory=set)


def _identity(told: os.stat_result) -> int:
    number = steady_inode(told)
    return number or hash((told.st_size, told.st_mtime_ns))


class Inbox:
    """The files below one hot folder, as far as they have been seen.

    A file is reported once, when its name (or the inode behind it) is new.
    Links, FIFOs, sockets and devices are never reported, and never followed.
    """

    def __init__(
        self,
        root: Path,
        *,
        recurse: bool = True,
        reserved: frozenset[Path] = frozenset(),
        ears: Ears | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            root: the folder.
            recurse: look into subfolders.
            reserved: paths below it that are never input.
            ears: told of each folder before it is listed, so that nothing falls between.
        """
        self.root = os.fspath(root)
        self._recurse = recurse
        self._reserved = frozenset(os.fspath(path) for path in reserved)
        self._ears = ears or Deaf()
        self._folders: dict[str, _Folder] = {}

    def rescan(self, now: float, tell: Callable[[str], None], *, everything: bool = False) -> None:
        """Look through the folder.

        Args:
            now: Unix seconds, to tell which directories changed a moment ago.
            tell: called with each path that is new since the last time.
            everything: list every directory, whatever its modification time says (some
                network clients keep it in a cache).

        Raises:
            OSError: a directory cannot be read. What was told is told; the rest follows when
                it can be read again.
        """
        if self.root not in self._folders:
            os.stat(self.root)
            self._folders[self.root] = _Folder(self.root)
        self._visit(list(self._folders.values()), now, tell, everything)

    def look(self, folder: str, name: str, now: float, tell: Callable[[str], None]) -> None:
        """Follow an event that named `name` in `folder`.

        A file is told again even if it is known: somebody wrote it.
        """
        known = self._folders.get(folder)
        path = f"{folder}/{name}"
        if known is None or path in self._reserved or is_ignored(name):
            return
        try:
            entry = os.lstat(path)
        except OSError:
            return  # gone already, or its folder is: the rescan will see what is left
        if stat.S_ISREG(entry.st_mode):
            known.files[name] = _identity(entry)
            tell(path)
        elif stat.S_ISDIR(entry.st_mode) and self._recurse and path not in self._folders:
            known.subfolders.add(name)
            fresh = self._folders[path] = _Folder(path)
            self._visit([fresh], now, tell, everything=True)

    def forget(self, path: str) -> None:
        """The file is not there any more; one that takes its name is a new one."""
        folder, _, name = path.rpartition("/")
        known = self._folders.get(folder)
        if known is not None:
            known.files.pop(name, None)

    def __len__(self) -> int:
        """How many files are known."""
        return sum(len(folder.files) for folder in self._folders.values())

    @property
    def folder_count(self) -> int:
        """How many directories are known."""
        return len(self._folders)

    def close(self) -> None:
        """Stop listening."""
        for path in list(self._folders):
            self._drop(path)

    def _visit(
        self, waiting: list[_Folder], now: float, tell: Callable[[str], None], everything: bool
    ) -> None:
        while waiting:
            folder = waiting.pop()
            try:
                told = os.stat(folder.path)
                moved = told.st_mtime_ns != folder.mtime_ns or steady_inode(told) != folder.inode
                if not (moved or folder.hot or everything):
                    continue
                new, below = self._list(folder, told, now)
            except (FileNotFoundError, NotADirectoryError):
                if folder.path == self.root:
                    raise
                self._drop(folder.path)
                continue
            except PermissionError as wrong:
                if folder.path == self.root:
                    raise
                if folder.readable:
                    log.warning("%s: %s: its files are not seen", folder.path, wrong.strerror)
                folder.readable = False
                continue
            waiting += below
            for path in new:
                tell(path)

    def _list(
        self, folder: _Folder, told: os.stat_result, now: float
    ) -> tuple[list[str], list[_Folder]]:
        """New files of one directory, and its new subfolders."""
        if steady_inode(told) != folder.inode:
            self._ears.ignore(folder.path)
        # Listen first, then list: what comes between the two is seen twice, not never.
        self._ears.listen(folder.path)
        known = folder.files
        files: dict[str, int] = {}
        subfolders: set[str] = set()
        new: list[str] = []
        prefix = folder.path + "/"
        numbered = steady_inode(told) != 0
        with os.scandir(folder.path) as entries:
            for entry in entries:
                name = entry.name
                if numbered:
                    inode = entry.inode()
                elif is_ignored(name):
                    continue
                else:
                    try:
                        inode = _identity(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue  # gone since it was listed
                if known.get(name) == inode:
                    files[name] = inode
                elif is_ignored(name) or prefix + name in self._reserved:
                    continue
                elif entry.is_file(follow_symlinks=False):
                    files[name] = inode
                    new.append(prefix + name)
                elif self._recurse and entry.is_dir(follow_symlinks=False):
                    subfolders.add(name)
        # Only now: had the listing broken off, the next rescan would have to repeat it.
        for name in folder.subfolders - subfolders:
            self._drop_tree(prefix + name)
        folder.files, folder.subfolders = files, subfolders
        folder.inode, folder.mtime_ns = steady_inode(told), told.st_mtime_ns
        folder.hot = now - told.st_mtime < RACY_SECONDS
        folder.readable = True
        below = [_Folder(prefix + n) for n in subfolders if prefix + n not in self._folders]
        self._folders.update((each.path, each) for each in below)
        return new, below

    def _drop_tree(self, path: str) -> None:
        below = path + "/"
        for known in [p for p in self._folders if p == path or p.startswith(below)]:
            self._drop(known)

    def _drop(self, path: str) -> None:
        self._folders.pop(path, None)
        self._ears.ignore(path)
