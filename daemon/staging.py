"""The staging area: files that clients put, name and fetch, below one root.

Every path is walked from the root's descriptor, segment by segment, without
following links, so that no text and no link, however it is swapped between
check and use, reaches outside. Files appear whole: they are written under a
reserved name beside their target, fsynced and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from control_api.ports import Source, Spooled, StoredFile
from control_api.wire import is_control
from handlers.errors import BadPath, NoSuchFile, StorageFailed, TooLarge

_MAX_SEGMENTS = 16
_MAX_SEGMENT_BYTES = 200
_MAX_BYTES = 1024
_PREFIX, _SUFFIX = ".audiolla-", ".part"
_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not hang; it is refused right after.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def normalized(path: str) -> str:
    """A path below the root, without leading slashes.

    Raises:
        BadPath: it breaks a rule; the detail says which.
    """
    text = path.lstrip("/")
    if not text:
        raise BadPath("the path is empty", field="path")
    if "\\" in text:
        raise BadPath(f"{path!r} has a backslash; folders are separated by /", field="path")
    # U+FFFD stands where bytes were not UTF-8: two such names would become one.
    if any(is_control(c) or c == "\ufffd" for c in text):
        raise BadPath(f"{path!r} has a control character or is not UTF-8", field="path")
    segments = text.split("/")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise BadPath(f"{path!r} has an empty, . or .. segment", field="path")
        if len(segment.encode()) > _MAX_SEGMENT_BYTES:
            raise BadPath(f"a segment is longer than {_MAX_SEGMENT_BYTES} bytes", field="path")
        if _is_reserved(segment):
            raise BadPath(f"{segment!r}: names of this form are for partial files", field="path")
    if len(segments) > _MAX_SEGMENTS or len(text.encode()) > _MAX_BYTES:
        raise BadPath(
            f"the path has more than {_MAX_SEGMENTS} segments or {_MAX_BYTES} bytes", field="path"
        )
    return text


def copy_capped(source: Source, target: BinaryIO, limit: int, what: str) -> int:
    """Copy a stream, counting; the number of bytes.

    Raises:
        TooLarge: the stream has more than `limit` bytes.
    """
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise too_large(what, limit)
        target.write(chunk)
    return size


def too_large(what: str, limit: int) -> TooLarge:
    """The refusal of more bytes than a cap."""
    return TooLarge(f"{what} is larger than the limit of {limit} bytes")


class Staging:
    """The staging area below `root`, with a cap on what one file may hold."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._max_bytes = max_bytes

    def list(self) -> list[StoredFile]:
        """Regular files, sorted by path; no links, no partial files."""
        found: list[StoredFile] = []
        for folder, _, names, descriptor in os.fwalk(self._root, follow_symlinks=False):
            below = Path(folder).relative_to(self._root)
            for name in names:
                if _is_reserved(name):
                    continue
                try:
                    facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted while we looked
                if stat.S_ISREG(facts.st_mode):
                    found.append(_stored(_utf8((below / name).as_posix()), facts))
        return sorted(found, key=lambda f: f.path)

    def put(self, path: str, source: Source) -> StoredFile:
        """Store a file atomically, in place of one that was there.

        Raises:
            BadPath: the path breaks a rule, or names a folder or a link.
            TooLarge: more bytes than the cap; nothing is kept.
        """
        path = normalized(path)
        part = f"{_PREFIX}{uuid.uuid4().hex}{_SUFFIX}"
        with self._parent(path, create=True) as (parent, name):
            self._refuse_folder(parent, name, path)
            try:
                if isinstance(source, Spooled):
                    if source.size > self._max_bytes:
                        raise too_large(path, self._max_bytes)
                    source.become(part, parent)
                else:
                    with os.fdopen(os.open(part, _NEW, 0o644, dir_fd=parent), "wb") as file:
                        copy_capped(source, file, self._max_bytes, path)
                facts = _fsync(part, parent)
                os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=parent)
                raise
            os.fsync(parent)
        return _stored(path, facts)

    def adopt(self, path: str, source: Path) -> StoredFile:
        """Let a whole file of ours become one of the area, in place of one that was there.

        Raises:
            BadPath: the path breaks a rule, or names a folder or a link; the file stays.
        """
        path = normalized(path)
        with self._parent(path, create=True) as (parent, name):
            self._refuse_folder(parent, name, path)
            try:
                os.rename(source, name, dst_dir_fd=parent)
            except OSError as wrong:
                if wrong.errno != errno.EXDEV:
                    raise
            else:
                os.fsync(parent)
                return _stored(path, os.stat(name, dir_fd=parent, follow_symlinks=False))
        # The area lies on another disk.
        with source.open("rb") as file:
            stored = self.put(path, file)
        source.unlink()
        return stored

    def open(self, path: str) -> tuple[BinaryIO, StoredFile]:
        """Open a file for reading.

        Raises:
            BadPath, NoSuchFile.
        """
        path = normalized(path)
        with self._parent(path) as (parent, name):
            descriptor = _open(name, _FILE, parent, path)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(descriptor)
            raise NoSuchFile(f"no file {path!r} in the staging area")
        return os.fdopen(descriptor, "rb"), _stored(path, facts)

    def delete(self, path: str) -> str:
        """Remove a file, and the folders above it that are empty then; the normalised path.

        Raises:
            BadPath, NoSuchFile.
        """
        path = normalized(path)
        with self._parent(path) as (parent, name):
            if not stat.S_ISREG(_facts(name, parent, path).st_mode):
                raise NoSuchFile(f"no file {path!r} in the staging area")
            os.unlink(name, dir_fd=parent)
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            with self._parent(above) as (parent, name):
                try:
                    os.rmdir(name, dir_fd=parent)
                except OSError:  # not empty, or somebody else removed it
                    break
        return path

    def snapshot(self, path: str, folder: Path) -> tuple[Path, int]:
        """A second name for a file, outside the area: later puts and deletes leave it alone.

        Where the file system allows no hard link (another user's file), the
        file itself is named.

        Returns:
            The path to read, and the size.

        Raises:
            BadPath, NoSuchFile, TooLarge.
        """
        path = normalized(path)
        target = folder / uuid.uuid4().hex
        with self._parent(path) as (parent, name):
            facts = _facts(name, parent, path)
            if not stat.S_ISREG(facts.st_mode):
                raise NoSuchFile(f"no file {path!r} in the staging area")
            if facts.st_size > self._max_bytes:
                raise TooLarge(f"{path!r} is larger than the limit of {self._max_bytes} bytes")
            folder.mkdir(parents=True, exist_ok=True)
            try:
                os.link(name, target, src_dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                raise NoSuchFile(f"no file {path!r} in the staging area") from None
            except OSError:
                return self._root / path, facts.st_size
        linked = target.lstat()
        if not stat.S_ISREG(linked.st_mode):  # swapped for a link since we looked
            target.unlink()
            raise BadPath(f"{path!r} is a link", field="path")
        return target, linked.st_size

    def target(self, path: str) -> tuple[Path, str]:
        """A folder (made if missing) and a name to write a file to, as a normalised path says.

        Raises:
            BadPath: the path breaks a rule, or names a folder or a link.
        """
        path = normalized(path)
        with self._parent(path, create=True) as (parent, name):
            self._refuse_folder(parent, name, path)
        return (self._root / path).parent, name

    def relative(self, path: Path) -> str | None:
        """The path inside the area of a file that lies in it, else None."""
        try:
            return _utf8(path.relative_to(self._root).as_posix())
        except ValueError:
            return None

    @contextlib.contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """The folder that holds `path`, as an open descriptor, and the name in it."""
        *folders, name = path.split("/")
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = _enter(folder, descriptor, path, create=create)
                os.close(descriptor)
                descriptor = below
            yield descriptor, name
        finally:
            os.close(descriptor)

    @staticmethod
    def _refuse_folder(parent: int, name: str, path: str) -> None:
        try:
            facts = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(facts.st_mode):
            raise BadPath(f"{path!r} is a folder or a link, not a file", field="path")


def _enter(folder: str, parent: int, path: str, *, create: bool) -> int:
    if not create:
        return _open(folder, _FOLDER, parent, path)
    # A delete beside us may remove the folder as empty between the two calls.
    for _ in range(100):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, dir_fd=parent)
        try:
            return os.open(folder, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            continue
        except OSError as wrong:
            raise BadPath(f"{path!r}: {folder!r} is not a folder", field="path") from wrong
    raise StorageFailed(f"{path!r}: the folder {folder!r} is removed again and again")


def _open(name: str, flags: int, parent: int, path: str) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as wrong:
        if stat.S_ISLNK(_facts(name, parent, path).st_mode):
            raise BadPath(f"{path!r} goes through a link", field="path") from None
        raise NoSuchFile(f"no file {path!r} in the staging area") from wrong


def _facts(name: str, parent: int, path: str) -> os.stat_result:
    try:
        facts = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        raise NoSuchFile(f"no file {path!r} in the staging area") from None
    return facts


def _fsync(name: str, parent: int) -> os.stat_result:
    """Make a new file's content durable; what it is then."""
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _is_reserved(name: str) -> bool:
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _stored(path: str, facts: os.stat_result) -> StoredFile:
    # A file is replaced, never written into: another content is another inode or another time.
    tag = f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
    return StoredFile(path, facts.st_size, facts.st_mtime, tag)


def _utf8(path: str) -> str:
    """A path as text for JSON; names that are not UTF-8 (put there by hand) are shown mended."""
    return os.fsencode(path).decode("utf-8", "replace")
