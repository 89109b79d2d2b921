"""RIFF chunks that are made here: places in a sound, with labels.

A place is an entry of `cue ` (where) with sub-chunks of `LIST adtl`: `labl`
(its name), `note` (a comment) and, if it has a length, `ltxt` (how long).
`Metadata.chunks` carries both, `adtl` without its list type.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (IBM and
Microsoft, 1991), "Cue-Points Chunk" and "Associated Data Chunk". Text is UTF-8,
as today's editors write it; the specification knows code pages only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from handlers.errors import CannotProcess

#: Positions are 32-bit numbers.
_LAST_FRAME = 2**32 - 1
_POINT = struct.Struct("<II4sIII")
_LENGTH = struct.Struct("<II4sHHHH")
#: The purpose that editors give to a stretch, as opposed to a point.
_REGION = b"rgn "


@dataclass(frozen=True)
class CuePoint:
    """A place in a sound, in frames from its beginning; with a `length`, a stretch of it."""

    frame: int
    label: str = ""
    length: int = 0
    note: str = ""


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    """A whole chunk: identifier, size, body, and a byte to make its length even."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def sub_chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Identifier and body of each chunk inside a list; ends where it makes no sense any more."""
    at = 0
    while at + 8 <= len(body):
        kind, size = struct.unpack_from("<4sI", body, at)
        yield kind, body[at + 8 : at + 8 + size]
        at += 8 + size + (size & 1)


def cue_chunks(points: Sequence[CuePoint]) -> dict[str, bytes]:
    """`cue ` and `adtl` for these places, in order of time; nothing where there are none.

    Raises:
        CannotProcess: a place is too far from the beginning for a 32-bit number.
    """
    if not points:
        return {}
    entries: list[bytes] = []
    texts: list[bytes] = []
    for number, point in enumerate(sorted(points, key=lambda p: (p.frame, p.length)), start=1):
        if not 0 <= point.frame <= _LAST_FRAME - point.length:
            raise CannotProcess(
                f"a cue chunk counts up to {_LAST_FRAME} frames; "
                f"{point.label!r} lies at {point.frame} to {point.frame + point.length}"
            )
        entries.append(_POINT.pack(number, point.frame, b"data", 0, 0, point.frame))
        head = struct.pack("<I", number)
        texts.append(riff_chunk(b"labl", head + point.label.encode() + b"\0"))
        if point.note:
            texts.append(riff_chunk(b"note", head + point.note.encode() + b"\0"))
        if point.length:
            texts.append(
                riff_chunk(b"ltxt", _LENGTH.pack(number, point.length, _REGION, 0, 0, 0, 0))
            )
    return {
        "cue ": struct.pack("<I", len(entries)) + b"".join(entries),
        "adtl": b"".join(texts),
    }


def cue_points(chunks: Mapping[str, bytes]) -> list[CuePoint]:
    """The places that `cue ` and `adtl` among these chunks tell, in order of time."""
    raw = chunks.get("cue ", b"")
    places: dict[int, int] = {}
    for at in range(4, len(raw) - _POINT.size + 1, _POINT.size):
        number, _, _, _, _, frame = _POINT.unpack_from(raw, at)
        places[number] = frame
    labels: dict[int, str] = {}
    notes: dict[int, str] = {}
    lengths: dict[int, int] = {}
    for kind, body in sub_chunks(chunks.get("adtl", b"")):
        if len(body) < 4:
            continue
        number = int.from_bytes(body[:4], "little")
        if kind == b"labl":
            labels[number] = decoded(body[4:])
        elif kind == b"note":
            notes[number] = decoded(body[4:])
        elif kind == b"ltxt" and len(body) >= 8:
            lengths[number] = int.from_bytes(body[4:8], "little")
    points = [
        CuePoint(frame, labels.get(number, ""), lengths.get(number, 0), notes.get(number, ""))
        for number, frame in places.items()
    ]
    return sorted(points, key=lambda p: (p.frame, p.length))


def decoded(raw: bytes) -> str:
    """Text that states no encoding: UTF-8 where it is valid, else Windows-1252."""
    raw = raw.split(b"\0")[0].strip()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
