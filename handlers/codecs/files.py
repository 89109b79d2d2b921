"""The one way in for a user's file, and the one way out for a result.

A file is opened once; every pass reads that file, whatever happens to its
name. Results go through one writer that notices a disk that is full: SoX,
libsndfile and pedalboard all report success there.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from handlers.errors import (
    DISK_FULL,
    STORAGE_AWAY,
    StorageFailed,
    StorageFull,
    TooLarge,
    UnreadableInput,
)


class InputFile:
    """A regular file, open for reading as long as somebody holds this."""

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Open `path`; `name` is what messages call it.

        Raises:
            FileNotFoundError: there is no such file.
            UnreadableInput: it is a link, a folder, a pipe or a device; or it
                is empty, or may not be read.
        """
        self.name = name or printable(Path(path).name)
        # Not blocking, so that a FIFO opens at once and is refused below.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            self.fd = os.open(path, flags)
        except FileNotFoundError:
            raise
        except OSError as wrong:
            if wrong.errno == errno.ELOOP:
                raise self.unreadable("is a link; links are not followed") from None
            if wrong.errno in STORAGE_AWAY:
                raise StorageFailed(f"{self.name} cannot be read: {wrong.strerror}") from wrong
            raise self.unreadable(f"cannot be opened: {wrong.strerror}") from wrong
        self._close = weakref.finalize(self, os.close, self.fd)
        found = os.fstat(self.fd)
        if not stat.S_ISREG(found.st_mode):
            self._close()
            raise self.unreadable("is not a regular file")
        self.size = found.st_size
        self._modified = found.st_mtime_ns
        if self.size == 0:
            self._close()
            raise self.unreadable("is empty (0 bytes)")

    @property
    def path(self) -> str:
        """A path that opens this very file anew, whatever its name is now."""
        return f"/proc/self/fd/{self.fd}"

    def read(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes from `offset`, fewer at the end.

        Raises:
            StorageFailed: the disk or mount did not answer.
        """
        try:
            return os.pread(self.fd, count, offset)
        except OSError as wrong:
            raise self.failed(wrong) from wrong

    def check_unchanged(self) -> None:
        """Every pass must read the same bytes.

        Raises:
            UnreadableInput: somebody wrote to the file since it was opened.
        """
        now = os.fstat(self.fd)
        if (now.st_size, now.st_mtime_ns) != (self.size, self._modified):
            raise self.unreadable("was changed while it was being read")

    def unreadable(self, sentence: str) -> UnreadableInput:
        """The refusal that begins with this file's name."""
        return UnreadableInput(f"{self.name} {sentence}")

    def failed(self, wrong: OSError) -> StorageFailed:
        """What a failing read becomes."""
        return StorageFailed(f"{self.name} cannot be read: {wrong.strerror or wrong}")


class OutputFile:
    """A new file that is written from the front; a failed write is never lost.

    It can be handed to libraries as a file object. libsndfile turns an
    exception in its callbacks into a printed traceback, so the first error is
    kept and raised by `check`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with storage_errors():
            self._fd = os.open(path, flags, 0o666)
        self._at = 0
        self._error: OSError | None = None
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data` at the current place."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self._error is None:
                done += os.pwrite(self._fd, view[done:], self._at + done)
        except OSError as wrong:
            self._error = wrong
        self._at += done
        self.size = max(self.size, self._at)
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place; what lies there is overwritten."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The current place."""
        return self._at

    def read(self, count: int = -1) -> bytes:
        """Read back what was written."""
        count = self.size - self._at if count < 0 else count
        data = os.pread(self._fd, count, self._at)
        self._at += len(data)
        return data

    def truncate(self, size: int | None = None) -> int:
        """Cut the file."""
        self.size = self._at if size is None else size
        os.ftruncate(self._fd, self.size)
        return self.size

    def flush(self) -> None:
        """Nothing is held back here."""

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def check(self) -> None:
        """Raise what went wrong in an earlier write.

        Raises:
            StorageFull: the disk is full.
            TooLarge: no file may be so large.
            StorageFailed: it did not answer.
        """
        if self._error is not None:
            raise storage_error(self._error) from self._error

    def close(self) -> None:
        """Close it; calling twice does nothing."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            os.close(fd)
        except OSError as wrong:  # network file systems report a full disk here
            self._error = self._error or wrong

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        wrong: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        # A library that was cut off by a failed write complains about something else first.
        if kind is None or (self._error is not None and issubclass(kind, Exception)):
            self.check()


def storage_error(wrong: OSError) -> StorageFull | StorageFailed | TooLarge:
    """The refusal for a failed write."""
    if wrong.errno == errno.EFBIG:
        return TooLarge("a file that is written would be larger than one file may be here")
    if wrong.errno in DISK_FULL:
        return StorageFull(f"the disk is full: {wrong.strerror}")
    return StorageFailed(f"writing failed: {wrong.strerror or wrong}")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn an `OSError` from writing into the refusal that says so."""
    try:
        yield
    except OSError as wrong:
        raise storage_error(wrong) from wrong


def printable(name: str) -> str:
    """A file name as text for messages: what is not printable is escaped."""
    return "".join(
        c
        if c.isprintable()
        else c.encode("unicode_escape", "replace").decode()
        if not 0xD800 <= ord(c) <= 0xDFFF
        else f"\\x{ord(c) & 0xFF:02x}"
        for c in name
    )
