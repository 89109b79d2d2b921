"""WAV and AIFF files with other chunks around the same samples.

A new chunk takes the place of the one that it replaces; one that is new goes
to the end, but `bext` to the beginning, where recorders put it. All others are
copied byte for byte. A WAV that passes 4 GiB becomes RF64.

Sources: EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from handlers.codecs.files import InputFile, OutputFile
from handlers.codecs.layout import Chunk, Header
from handlers.errors import CannotProcess

_LIMIT = 2**32 - 2
_COPY = 1 << 20


@dataclass(frozen=True)
class _Part:
    """A chunk to write: new bytes, or a stretch of the old file."""

    kind: str
    size: int
    body: bytes | None = None
    offset: int = 0

    @property
    def length(self) -> int:
        """Bytes in the file, with its head and what makes it even."""
        return 8 + self.size + (self.size & 1)


def slot(file: InputFile, chunk: Chunk) -> str:
    """What a chunk is: its identifier, and for a list also its type (`LISTINFO`)."""
    if chunk.kind == "LIST":
        return chunk.kind + file.read(4, chunk.offset).decode("latin-1")
    return "id3 " if chunk.kind.upper() == "ID3 " else chunk.kind


def rewrite(
    file: InputFile, header: Header, out: OutputFile, changes: Mapping[str, bytes | None]
) -> None:
    """Write the file anew with these chunks.

    Args:
        file: the source.
        header: its header.
        out: where it goes.
        changes: bodies by `slot` (of a list without its type); None removes one.

    Raises:
        CannotProcess: it is a kind of file that cannot be written.
    """
    head = file.read(12, 0)
    if head[:4] == b"RIFX":
        raise CannotProcess(f"{file.name} is a big-endian WAV (RIFX), into which no tags are put")
    aiff = head[:4] == b"FORM"
    parts = _parts(file, header, dict(changes), aiff)
    total = 4 + sum(part.length for part in parts)
    form, sizes = head[:4], "<I"
    if aiff:
        sizes = ">I"
        if total > _LIMIT:
            raise CannotProcess("AIFF cannot hold more than 4 GiB")
    elif total > _LIMIT or form in (b"RF64", b"BW64"):
        form = b"RF64" if form == b"RIFF" else form
        parts.insert(0, _ds64(file, header, parts, total))
    wide = form in (b"RF64", b"BW64")
    out.write(form + (b"\xff\xff\xff\xff" if wide else struct.pack(sizes, total)) + head[8:12])
    for part in parts:
        stated = 0xFFFFFFFF if wide and part.kind == "data" else part.size
        out.write(part.kind.encode("latin-1") + struct.pack(sizes, stated))
        if part.body is not None:
            out.write(part.body)
        else:
            _copy(file, part.offset, part.size, out)
        out.write(b"\0" * (part.size & 1))
        out.check()


def _parts(
    file: InputFile, header: Header, changes: dict[str, bytes | None], aiff: bool
) -> list[_Part]:
    parts: list[_Part] = []
    gone = set(changes)
    for chunk in header.every:
        where = slot(file, chunk)
        if where == "ds64":
            continue
        if where not in gone:
            parts.append(_Part(chunk.kind, chunk.size, offset=chunk.offset))
        elif (new := _new(where, changes.pop(where, None), aiff)) is not None:
            parts.append(new)
    for where, body in changes.items():
        new = _new(where, body, aiff)
        if new is not None:
            parts.insert(0 if where == "bext" else len(parts), new)
    return parts


def _new(where: str, body: bytes | None, aiff: bool) -> _Part | None:
    if body is None:
        return None
    kind, list_type = where[:4], where[4:].encode("latin-1")
    kind = "ID3 " if aiff and kind == "id3 " else kind
    return _Part(kind, len(list_type) + len(body), list_type + body)


def _ds64(file: InputFile, header: Header, parts: list[_Part], total: int) -> _Part:
    """The chunk that tells the sizes that 32 bits cannot."""
    data = next((part.size for part in parts if part.kind == "data"), 0)
    old = next((c for c in header.every if c.kind == "ds64"), None)
    frames = header.layout.frames if header.layout else 0
    rest = struct.pack("<QI", frames, 0)
    if old is not None and old.size >= 28:
        rest = file.read(old.size, old.offset)[16:]
    size = 16 + len(rest)
    return _Part("ds64", size, struct.pack("<QQ", total + 8 + size + (size & 1), data) + rest)


def _copy(file: InputFile, offset: int, size: int, out: OutputFile) -> None:
    done = 0
    while done < size:
        piece = file.read(min(_COPY, size - done), offset + done)
        if not piece:
            raise file.unreadable("was changed while it was being read")
        out.write(piece)
        done += len(piece)
