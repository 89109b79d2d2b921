"""A request's body while it arrives: small ones in memory, sounds in files of ours.

The bytes go where the work will read them. A file of a form, or the whole body
of a `PUT`, lies in a file of its own once the request is complete, and whoever
keeps it gives that file another name instead of copying it. So a sound is
written once.

Nothing here raises while bytes arrive: that happens in the one thread that
serves all connections. What went wrong is kept, the rest of the body is
dropped, and the error is raised to who reads it.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import falcon

from control_api.ports import Source
from handlers.errors import AudiollaError, BadParameter

IN_MEMORY = 1 << 16
"""Bytes of one run that are kept in memory."""
_FORM_IN_MEMORY = 1 << 20  # of all parts of one form together
MAX_PARTS = 256
_MAX_PART_HEADER = 8192
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Sink(Protocol):
    """What a server writes a body to; waitress calls it a buffer."""

    def append(self, data: bytes, /) -> None:
        """Take the next bytes. Never raises."""

    def getfile(self) -> Any:
        """What becomes `wsgi.input`."""

    def close(self) -> None:
        """Forget what nobody kept. May be called twice, and before the end."""

    def __len__(self) -> int:
        """Bytes so far."""


class Spool(io.RawIOBase):
    """One run of bytes: written once, then read from its start, or kept as a file."""

    def __init__(self, folder: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        """Begin with no bytes.

        Args:
            folder: where they lie once they are more than `in_memory`; by
                default the system's folder for temporary files.
        """
        super().__init__()
        self._folder = folder
        self._in_memory = in_memory
        self._held: bytearray | None = bytearray()
        self._descriptor = -1
        self._path: Path | None = None
        self._at = 0
        self.size = 0
        #: Why bytes are missing.
        self.error: Exception | None = None

    def __len__(self) -> int:
        return self.size

    def append(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes."""
        self.size += len(data)
        if self.error is not None or self.closed:
            return
        try:
            if self._held is not None:
                if self.size <= self._in_memory:
                    self._held += data
                    return
                self._open()
            write_all(self._descriptor, data)
        except OSError as wrong:
            self.error = wrong

    def _open(self) -> None:
        held, self._held = self._held, None
        folder = self._folder or Path(tempfile.gettempdir())
        path = folder / f"body-{uuid.uuid4().hex}"
        self._descriptor = os.open(path, _NEW, 0o644)
        self._path = path
        if held:
            write_all(self._descriptor, held)

    def getfile(self) -> Spool:
        """Itself: it is read from its start."""
        return self

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Copy the next bytes.

        Raises:
            OSError: they could not be written, e.g. as the disk was full.
        """
        if self.error is not None:
            raise self.error
        if self._held is None:
            count = os.preadv(self._descriptor, [buffer], self._at)
        else:
            view = memoryview(self._held)[self._at : self._at + len(buffer)]
            count = len(view)
            buffer[:count] = view
        self._at += count
        return count

    def become(self, name: str | Path, folder: int | None = None) -> None:
        """Lie in a file of this name from now on, on its way to who reads it.

        Args:
            name: of a file that does not exist, with its path.
            folder: a descriptor of the folder that the path starts from.

        Raises:
            OSError: bytes are missing, or the file cannot be made.
        """
        if self.error is not None:
            raise self.error
        if self._path is not None:
            try:
                os.rename(self._path, name, dst_dir_fd=folder)
            except OSError as wrong:
                if wrong.errno != errno.EXDEV:
                    raise
            else:
                self._path = None
                return
        descriptor = os.open(name, _NEW, 0o644, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            if self._held is not None:
                file.write(self._held)
            else:
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                with os.fdopen(os.dup(self._descriptor), "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)

    def close(self) -> None:
        """Remove the file, unless somebody has kept it."""
        if self.closed:
            return
        super().close()
        self._held = None if self._held is None else bytearray()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it, where the file stands.

    Raises:
        OSError: the disk is full, or broken.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@dataclass
class Part:
    """One field of a form."""

    name: str
    #: The client's name for its file; None for a field that is none.
    filename: str | None
    body: Spool


class FormBody:
    """A `multipart/form-data` body, taken apart while it arrives (RFC 7578, RFC 2046 5.1)."""

    def __init__(self, content_type: str, folder: Path | None = None) -> None:
        """Begin with no bytes.

        Args:
            content_type: the header that names the boundary.
            folder: as `Spool` has it.
        """
        self.parts: list[Part] = []
        self.size = 0
        self._folder = folder
        self._held = 0
        self._open: Spool | None = None
        self._error: AudiollaError | None = None
        boundary = falcon.parse_header(content_type)[1].get("boundary", "")
        if not boundary or len(boundary) > 70:
            self._error = BadParameter(
                "multipart/form-data needs a boundary of 1 to 70 characters in its Content-Type"
            )
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        # As if a line had ended before the first one: so the first delimiter looks like the others.
        self._left = bytearray(b"\r\n")
        self._step: Callable[[], bool] = self._preamble

    def __len__(self) -> int:
        return self.size

    def append(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self.size += len(data)
        if self._error is not None or self._step == self._epilogue:
            return
        self._left += data
        try:
            while self._step():
                pass
        except AudiollaError as wrong:
            self._error = wrong

    def getfile(self) -> FormBody:
        """Itself."""
        return self

    def read(self, _size: int = -1, /) -> bytes:
        """Nothing: it has been read."""
        return b""

    def finished(self) -> list[Part]:
        """The parts of a form that has arrived whole.

        Raises:
            BadParameter: it is no form, or its end is missing.
        """
        if self._error is not None:
            raise self._error
        if self._step != self._epilogue:
            raise BadParameter("the form ends before its closing boundary")
        return self.parts

    def close(self) -> None:
        """Remove the files that nobody has kept."""
        for part in self.parts:
            part.body.close()

    # -- one step each: True when there may be another one -----------------------------------------
    def _preamble(self) -> bool:
        found = self._left.find(self._delimiter)
        if found < 0:
            self._drop(max(len(self._left) - len(self._delimiter) + 1, 0))
            return False
        self._drop(found + len(self._delimiter))
        self._step = self._after_delimiter
        return True

    def _after_delimiter(self) -> bool:
        if len(self._left) < 2:
            return False
        if self._left.startswith(b"--"):
            self._left.clear()
            self._step = self._epilogue
            return False
        if not self._left.startswith(b"\r\n"):
            raise BadParameter("a boundary of the form is not followed by the end of its line")
        self._step = self._header
        return True

    def _header(self) -> bool:
        # What is left begins with the end of the boundary's line, so that no header at all is one.
        end = self._left.find(b"\r\n\r\n")
        if end > _MAX_PART_HEADER or (end < 0 and len(self._left) > _MAX_PART_HEADER):
            raise BadParameter(f"a part of the form has more than {_MAX_PART_HEADER} header bytes")
        if end < 0:
            return False
        if len(self.parts) == MAX_PARTS:
            raise BadParameter(f"the form has more than {MAX_PARTS} parts")
        name, filename = _disposition(bytes(self._left[2:end]))
        in_memory = IN_MEMORY if self._held < _FORM_IN_MEMORY else 0
        self._open = Spool(self._folder, in_memory)
        self.parts.append(Part(name, filename, self._open))
        self._drop(end + 4)
        self._step = self._body
        return True

    def _body(self) -> bool:
        assert self._open is not None
        found = _find(self._left, self._delimiter)
        ready = found if found >= 0 else len(self._left) - len(self._delimiter) + 1
        if ready > 0:
            with memoryview(self._left) as view:
                self._open.append(view[:ready])
            self._drop(ready)
        if found < 0:
            return False
        self._held += min(self._open.size, IN_MEMORY)
        self._drop(len(self._delimiter))
        self._step = self._after_delimiter
        return True

    def _epilogue(self) -> bool:
        return False

    def _drop(self, count: int) -> None:
        del self._left[:count]


def _c_memmem() -> Callable[[bytearray, bytes], int] | None:
    """The C library's search, if it has one."""
    try:
        memmem = ctypes.CDLL(None).memmem
    except (AttributeError, OSError):
        return None
    memmem.restype = ctypes.c_void_p
    memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

    def find(data: bytearray, wanted: bytes) -> int:
        if not data:
            return -1
        first = ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))
        place = memmem(first, len(data), wanted, len(wanted))
        return -1 if place is None else int(place) - first

    return find


#: Python's own takes 1 to 3 ms for the 1.8 MB of ten seconds of sound, with the interpreter's lock
#: held; the C library's is some times faster, and lets other threads work meanwhile.
_find: Callable[[bytearray, bytes], int] = _c_memmem() or bytearray.find

_EXTENDED = re.compile(r"([\w.:-]+)'[\w-]*'(.+)")


def _disposition(lines: bytes) -> tuple[str, str | None]:
    """Name and file name of a part.

    Raises:
        BadParameter: it has no name.
        UnicodeDecodeError: one of them is not UTF-8.
    """
    for line in lines.split(b"\r\n"):
        header, _, value = line.partition(b":")
        if header.strip().lower() != b"content-disposition":
            continue
        try:
            _, options = falcon.parse_header(value.strip().decode())
            name, filename = options.get("name", ""), options.get("filename")
            extended = _EXTENDED.fullmatch(options.get("filename*", ""))
            if extended is not None:
                filename = unquote_to_bytes(extended[2]).decode(extended[1])
        except (UnicodeDecodeError, LookupError):
            raise BadParameter("a part of the form has a name that is not UTF-8") from None
        if name:
            return name, filename
    raise BadParameter("a part of the form has no name")


def form_body(req: falcon.Request) -> FormBody:
    """The form of a request, whichever server it came through."""
    taken = req.env["wsgi.input"]
    if isinstance(taken, FormBody):
        return taken
    form = FormBody(req.content_type or "")
    while data := req.bounded_stream.read(1 << 18):
        form.append(data)
    return form


def body_of(req: falcon.Request) -> Source:
    """The bytes of a request; a `Spool` where the server has them in one already."""
    taken = req.env["wsgi.input"]
    if isinstance(taken, Spool):
        return taken
    stream: Source = req.bounded_stream
    return stream
