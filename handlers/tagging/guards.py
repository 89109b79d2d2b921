"""Looks at a tag before mutagen does: what would cost minutes or gigabytes is refused at once.

mutagen believes counts and lengths, copies the rest of a tag for every frame
of it, and unpacks whatever is packed. So a small file can keep it busy for
hours. Nothing here decides whether a tag is well formed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from handlers.tagging.names import MAX_TAG

#: Bytes that may be copied while the frames of an ID3 tag are taken apart: a few seconds' worth.
_MOST_COPIED = 16 << 30
_MAX_COMMENTS = 10_000
_MAX_ITEMS = 10_000
_MAX_BLOCKS = 1024
_MAX_BOXES = 250_000  # a fragmented MP4 has some 15 each second, all levels counted
_MAX_DEPTH = 16
_MAX_PAGES = 16_384
#: Boxes that mutagen looks into; `meta` has four bytes before its first one.
_MP4_CONTAINERS = frozenset(
    b"moov udta trak mdia meta ilst stbl minf moof traf".split()  # spelled as boxes are
)


class TooMuch(Exception):
    """A tag is larger, deeper or more finely divided than any that means well."""


# -- ID3 -----------------------------------------------------------------------------------------
def check_id3(opened: Any) -> None:
    """Look at the ID3v2 tag at the current place of a file, if there is one.

    Raises:
        TooMuch: it has more than 32 MiB, or frames that take too long to read.
    """
    at = opened.tell()
    head = opened.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        if size > MAX_TAG:
            raise TooMuch(f"its ID3 tag has {size} bytes; {MAX_TAG} are read")
        body = opened.read(size)
        version, unsynchronised = head[3], bool(head[5] & 0x80)
        if unsynchronised and version < 4:
            body = _synchronised(body)
        for syncsafe in (True, False) if version >= 4 else (False,):
            _check_frames(body, version, syncsafe, unsynchronised and version >= 4, [0], 0)
    opened.seek(at)


def _check_frames(
    data: bytes, version: int, syncsafe: bool, unsynchronised: bool, copied: list[int], depth: int
) -> None:
    if depth > 4:
        raise TooMuch("its ID3 tag has chapters within chapters within chapters")
    head = 10 if version >= 3 else 6
    at = 0
    while at + head <= len(data):
        copied[0] += len(data) - at
        if copied[0] > _MOST_COPIED:
            raise TooMuch(f"its ID3 tag has too many frames in {len(data)} bytes")
        name = data[at : at + (4 if version >= 3 else 3)]
        if not name.strip(b"\0"):
            return
        size = int.from_bytes(data[at + len(name) : at + 2 * len(name)], "big")
        if syncsafe:
            size = size & 0x7F | size >> 1 & 0x3F80 | size >> 2 & 0x1FC000 | size >> 3 & 0xFE00000
        if name in (b"CHAP", b"CTOC"):
            body = data[at + head : at + head + size]
            flags = data[at + 9]
            if flags & (0x08 if version >= 4 else 0x80):
                raise TooMuch("its ID3 tag has compressed chapters")
            if unsynchronised or (version >= 4 and flags & 0x02):
                body = _synchronised(body)
            inside = _inside_chapter(body) if name == b"CHAP" else _inside_contents(body)
            _check_frames(inside, version, syncsafe, unsynchronised, copied, depth + 1)
        at += head + size


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\x00", b"\xff")


def _inside_chapter(body: bytes) -> bytes:
    return body[body.find(b"\0") + 17 :] if b"\0" in body else b""


def _inside_contents(body: bytes) -> bytes:
    at = body.find(b"\0") + 1
    if not at or len(body) < at + 2:
        return b""
    count, at = body[at + 1], at + 2
    for _ in range(count):
        at = body.find(b"\0", at) + 1
        if not at:
            return b""
    return body[at:]


def check_dsd(opened: Any) -> None:
    """Look at the ID3 tag of a DSF or DSDIFF file.

    Raises:
        TooMuch: as `check_id3`.
    """
    opened.seek(0)
    head = opened.read(28)
    if head[:4] == b"DSD ":
        opened.seek(int.from_bytes(head[20:28], "little"))
        check_id3(opened)
        return
    at = 16
    for _ in range(_MAX_BLOCKS):
        opened.seek(at)
        head = opened.read(12)
        if len(head) < 12:
            break
        if head[:4] == b"ID3 ":
            check_id3(opened)
        size = int.from_bytes(head[4:], "big")
        at += 12 + size + (size & 1)


# -- Vorbis comments -----------------------------------------------------------------------------
def check_comments(data: bytes) -> None:
    """Look at a Vorbis comment.

    Raises:
        TooMuch: it states more comments than fit, or than anybody writes.
    """
    if len(data) < 8:
        return
    at = 4 + int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[at : at + 4], "little")
    if count > _MAX_COMMENTS:
        raise TooMuch(f"it states {count} comments; {_MAX_COMMENTS} are read")
    at += 4
    for _ in range(count):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    if at > len(data):
        raise TooMuch(f"its comments state {at} bytes; {len(data)} are there")


def check_flac(opened: Any) -> None:
    """Look at the metadata blocks of a FLAC file.

    Raises:
        TooMuch: there are too many, or their comments go on behind them.
    """
    check_id3(opened)
    at = opened.tell()
    head = opened.read(10)
    if head[:3] == b"ID3":
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        opened.seek(at + 10 + size)
    else:
        opened.seek(at)
    opened.read(4)
    total = 0
    for _ in range(_MAX_BLOCKS):
        block = opened.read(4)
        if len(block) < 4:
            break
        kind, size = block[0] & 0x7F, int.from_bytes(block[1:], "big")
        total += size if kind != 1 else 0  # padding is free
        if total > 2 * MAX_TAG:
            raise TooMuch(f"its metadata blocks have more than {2 * MAX_TAG} bytes")
        if kind == 4:
            check_comments(opened.read(size))
        else:
            opened.seek(size, 1)
        if block[0] & 0x80:
            break
    else:
        raise TooMuch(f"it has more than {_MAX_BLOCKS} metadata blocks")
    opened.seek(at)


def check_ogg(opened: Any) -> None:
    """Look at the second packet of an Ogg file, which holds the comments.

    Raises:
        TooMuch: it has more than 32 MiB, or states too many comments.
    """
    at = opened.tell()
    packets: list[bytearray] = [bytearray()]
    serial: bytes | None = None
    for _ in range(_MAX_PAGES):
        head = opened.read(27)
        if len(head) < 27 or head[:4] != b"OggS":
            break
        lacing = opened.read(head[26])
        body = opened.read(sum(lacing))
        serial = serial or head[14:18]
        if head[14:18] != serial:
            continue
        done = 0
        for length in lacing:
            packets[-1] += body[done : done + length]
            done += length
            if length < 255:
                packets.append(bytearray())
        if len(packets) > 2:
            break
        if len(packets[-1]) > MAX_TAG:
            raise TooMuch(f"its comments have more than {MAX_TAG} bytes")
    if len(packets) > 1:
        raw = bytes(packets[1])
        for magic, skipped in ((b"\x03vorbis", 7), (b"OpusTags", 8), (b"\x81theora", 7)):
            if raw.startswith(magic):
                check_comments(raw[skipped:])
                break
        else:
            # FLAC's block header, or (Speex) nothing.
            check_comments(raw[4:] if raw[:1] in (b"\x04", b"\x84") else raw)
    opened.seek(at)


# -- MP4 -----------------------------------------------------------------------------------------
def check_mp4(opened: Any) -> None:
    """Look at the boxes of an MP4 file.

    Raises:
        TooMuch: there are too many, too deep, or the tags have more than 32 MiB.
    """
    opened.seek(0, 2)
    end = opened.tell()
    for seen, (name, size, depth) in enumerate(_boxes(opened, 0, end, 0)):
        if seen > _MAX_BOXES:
            raise TooMuch(f"it has more than {_MAX_BOXES} boxes")
        if depth > _MAX_DEPTH:
            raise TooMuch("its boxes lie too deep within each other")
        if name in (b"ilst", b"chpl") and size > MAX_TAG:
            raise TooMuch(f"its tags have {size} bytes; {MAX_TAG} are read")
    opened.seek(0)


def _boxes(opened: Any, at: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        opened.seek(at)
        head = opened.read(16)
        size, name = struct.unpack(">I4s", head[:8])
        skip = 8
        if size == 1 and len(head) == 16:
            size, skip = struct.unpack(">Q", head[8:])[0], 16
        elif size == 0:
            size = end - at
        if size < skip:
            return
        yield name, size, depth
        if name in _MP4_CONTAINERS and depth <= _MAX_DEPTH:
            inside = at + skip + (4 if name == b"meta" else 0)
            yield from _boxes(opened, inside, min(at + size, end), depth + 1)
        at += size


# -- APEv2 and ASF -------------------------------------------------------------------------------
def check_ape(opened: Any) -> None:
    """Look at an APEv2 tag at the end of a file.

    Raises:
        TooMuch: it has more than 32 MiB, or items whose names never end.
    """
    opened.seek(0, 2)
    end = opened.tell()
    for at in (end - 32, end - 160):
        if at < 0:
            continue
        opened.seek(at)
        footer = opened.read(32)
        if footer[:8] != b"APETAGEX":
            continue
        size, items = struct.unpack("<II", footer[12:20])
        if size > MAX_TAG:
            raise TooMuch(f"its APE tag has {size} bytes; {MAX_TAG} are read")
        opened.seek(max(0, at + 32 - size))
        _check_items(opened.read(max(0, size - 32)), items)
    opened.seek(0)


def _check_items(data: bytes, items: int) -> None:
    if items > _MAX_ITEMS:
        raise TooMuch(f"its APE tag states {items} items; {_MAX_ITEMS} are read")
    at = 0
    for _ in range(items):
        if at + 8 > len(data):
            return
        size = int.from_bytes(data[at : at + 4], "little")
        ends = data.find(b"\0", at + 8, at + 8 + 256)
        if ends < 0:
            raise TooMuch("its APE tag has an item whose name does not end")
        at = ends + 1 + size


def check_asf(opened: Any) -> None:
    """Look at the header of an ASF file.

    Raises:
        TooMuch: it has more than 32 MiB, or too many objects.
    """
    opened.seek(0)
    head = opened.read(30)
    if len(head) == 30:
        size, count = struct.unpack("<QI", head[16:28])
        if size > MAX_TAG or count > _MAX_BLOCKS:
            raise TooMuch(f"its header has {count} objects in {size} bytes")
    opened.seek(0)
