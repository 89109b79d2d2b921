"""Is a file all there? Containers say how long they must be; this reads what they say.

Only headers (and, for FLAC and Ogg, the tail) are read, with plain integers
and bounded reads: a length in a file is compared, never allocated. Nothing is
decoded, so any process may ask.

Sources: RIFF/WAVE (Multimedia Programming Interface, 1991), RF64/BW64 (EBU Tech
3306, ITU-R BS.2088), Sony Wave64, AIFF-C (Apple, 1991), CAF (Apple, 2011), AU
(NeXT), FLAC (RFC 9639), ISO/IEC 14496-12, Ogg (RFC 3533), the Xing/Info tag as
written by LAME, Matroska (RFC 9559), Standard MIDI Files 1.0.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

Verdict = Literal["whole", "short", "open", "unknown"]

_MAX_READ = 1 << 20
_MAX_CHUNKS = 4096
_MAX_BOXES = 65536  # a fragmented MP4 has two or three per second
_NO_LENGTH_32 = 0xFFFFFFFF
#: Lengths that writers put where they cannot know better yet. `0x7FFFF000` is SoX's, and
#: what lies above it are near-maximum values that several recorders use.
_PLACEHOLDER_FROM = 0x7FFFF000


@dataclass(frozen=True)
class Completeness:
    """What a container says about its own length.

    `whole`: everything it announces is there. `short`: it announces more than
    there is. `open`: it has the mark of a writer that is still at it, or of a
    stream that never knew its length. `unknown`: it cannot tell.
    """

    verdict: Verdict
    container: str
    #: What there is and what there should be, in `unit`; `need` is None where it is not said.
    have: int
    need: int | None = None
    unit: Literal["bytes", "samples", "tracks"] = "bytes"

    def __str__(self) -> str:
        """As a sentence, with the numbers."""
        if self.verdict == "short":
            if self.need is None:
                return f"the {self.container} file breaks off after {self.have} {self.unit}"
            return (
                f"the {self.container} file has {self.have} of the {self.need} {self.unit} "
                "that it announces"
            )
        if self.verdict == "open":
            return f"the {self.container} file does not state its length yet"
        if self.verdict == "whole":
            return f"the {self.container} file is whole"
        return f"a {self.container} file does not tell its length"


def completeness(file: int | str | os.PathLike[str]) -> Completeness:
    """What the container in a file says about its length.

    Args:
        file: a descriptor open for reading, or a path (links are not followed,
            and a FIFO does not block).

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(file, int):
        return _look(_Bytes(file))
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _look(_Bytes(handle))
    finally:
        os.close(handle)


class _Bytes:
    """Bounded reads at offsets. Past the end there is nothing, not an error."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def at(self, offset: int, count: int) -> bytes:
        if offset < 0 or offset >= self.size or offset > 2**62:
            return b""
        return os.pread(self._handle, min(count, _MAX_READ), offset)

    def integer(self, layout: str, offset: int) -> int | None:
        raw = self.at(offset, struct.calcsize(layout))
        if len(raw) < struct.calcsize(layout):
            return None
        return int(struct.unpack(layout, raw)[0])


def _look(file: _Bytes) -> Completeness:
    if file.size == 0:
        return Completeness("unknown", "empty", 0)
    head = file.at(0, 64)
    start = 0
    if head[:3] == b"ID3":
        start = _after_id3(head)
        head = file.at(start, 64)
        if not head:
            return Completeness("short", "id3", file.size, start + 1)
    for matches, judge in _JUDGES:
        if matches(head):
            return judge(file, start)
    if start or _is_mpeg_frame(head):
        return _mp3(file, start)
    return Completeness("unknown", "unknown", file.size)


def _measured(container: str, have: int, need: int) -> Completeness:
    return Completeness("whole" if have >= need else "short", container, have, need)


# -- RIFF and its kin ----------------------------------------------------------------------------
def _wav(file: _Bytes, _start: int) -> Completeness:
    magic = file.at(0, 4)
    order = ">" if magic == b"RIFX" else "<"
    name = {b"RF64": "rf64", b"BW64": "bw64"}.get(magic, "wav")
    claimed = file.integer(f"{order}I", 4)
    wide: tuple[int, int] | None = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        header = file.at(at, 8)
        if len(header) < 8:
            break
        kind, size = struct.unpack(f"{order}4sI", header)
        if kind == b"ds64":
            raw = file.at(at + 8, 16)
            wide = struct.unpack("<QQ", raw) if len(raw) == 16 else None
        if kind == b"data":
            if wide is not None and size == _NO_LENGTH_32:
                claimed, size = wide
                if not size:
                    return Completeness("open", name, file.size)
            elif _is_placeholder(size):
                return Completeness("open", name, file.size)
            return _riff_length(file, name, claimed, at + 8 + size)
        at += 8 + size + (size & 1)
    if claimed is None or _is_placeholder(claimed):
        return Completeness("open", name, file.size)
    if file.at(8, 4) != b"WAVE" or file.size < claimed + 8:
        return _measured("riff" if file.at(8, 4) != b"WAVE" else name, file.size, claimed + 8)
    return Completeness("short", name, file.size)  # no sound in it yet


def _is_placeholder(size: int) -> bool:
    return size == 0 or size >= _PLACEHOLDER_FROM


def _riff_length(file: _Bytes, name: str, claimed: int | None, data_end: int) -> Completeness:
    if file.size < data_end:
        return Completeness("short", name, file.size, data_end)
    whole = (claimed or 0) + 8
    # Writers differ in whether the form's length counts its own 8 bytes and the last pad byte.
    if (name == "wav" and _is_placeholder(claimed or 0)) or file.size >= whole - 9:
        return Completeness("whole", name, file.size, data_end)
    return Completeness("short", name, file.size, whole)


_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")


def _w64(file: _Bytes, _start: int) -> Completeness:
    at = 40
    for _ in range(_MAX_CHUNKS):
        header = file.at(at, 24)
        if len(header) < 24:
            break
        size = struct.unpack("<Q", header[16:])[0]
        if header[:16] == _W64_DATA:
            if size <= 24 or size >= 2**62:
                return Completeness("open", "w64", file.size)
            return _measured("w64", file.size, at + size)
        if size < 24:
            break
        at += (size + 7) & ~7
    return Completeness("open", "w64", file.size)


def _aiff(file: _Bytes, _start: int) -> Completeness:
    claimed = file.integer(">I", 4)
    if claimed is None or claimed <= 4 or claimed >= _PLACEHOLDER_FROM:
        return Completeness("open", "aiff", file.size)
    at = 12
    for _ in range(_MAX_CHUNKS):
        header = file.at(at, 8)
        if len(header) < 8:
            break
        kind, size = struct.unpack(">4sI", header)
        if kind == b"SSND":
            if size <= 8 or size >= _PLACEHOLDER_FROM:
                return Completeness("open", "aiff", file.size)
            return _riff_length(file, "aiff", claimed, at + 8 + size)
        at += 8 + size + (size & 1)
    return _measured("aiff", file.size, claimed + 8)


def _caf(file: _Bytes, _start: int) -> Completeness:
    at = 8
    for _ in range(_MAX_CHUNKS):
        header = file.at(at, 12)
        if len(header) < 12:
            break
        kind, size = struct.unpack(">4sq", header)
        if kind == b"data":
            if size <= 4:  # -1: until the end of the file, and only the last chunk may say so
                return Completeness("open", "caf", file.size)
            return _measured("caf", file.size, at + 12 + size)
        if size < 0:
            break
        at += 12 + size
    return Completeness("short", "caf", file.size, at + 12)


def _au(file: _Bytes, _start: int) -> Completeness:
    header = file.at(4, 8)
    if len(header) < 8:
        return Completeness("short", "au", file.size, 24)
    offset, size = struct.unpack(">II", header)
    if _is_placeholder(size):
        return Completeness("open", "au", file.size)
    return _measured("au", file.size, offset + size)


# -- FLAC ----------------------------------------------------------------------------------------
def _flac(file: _Bytes, start: int) -> Completeness:
    at = start + 4
    info = b""
    for _ in range(_MAX_CHUNKS):
        header = file.at(at, 4)
        if len(header) < 4:
            return Completeness("short", "flac", file.size, at + 4)
        size = int.from_bytes(header[1:], "big")
        if header[0] & 0x7F == 0:
            info = file.at(at + 4, 34)
        at += 4 + size
        if header[0] & 0x80:
            break
    if len(info) < 34 or file.size < at:
        return Completeness("short", "flac", file.size, max(at, start + 42))
    packed = int.from_bytes(info[10:18], "big")
    total = packed & (2**36 - 1)
    channels, depth = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    fixed_block, largest_block = struct.unpack(">HH", info[:4])
    largest_frame = int.from_bytes(info[7:10], "big") or largest_block * channels * depth // 8 + 512
    # Room for an ID3v1 tag that some taggers put behind the last frame.
    room = min(largest_frame + 256, _MAX_READ, file.size - at)
    tail = file.at(file.size - room, room)
    if tail[-128:-125] == b"TAG":
        tail = tail[:-128]
    if not tail:
        return Completeness("whole" if total == 0 else "short", "flac", 0, total, "samples")
    ended, before = _last_flac_frame(tail, fixed_block, total)
    if total == 0:
        return Completeness("open", "flac", file.size)
    if ended:
        return Completeness("whole", "flac", total, total, "samples")
    return Completeness("short", "flac", min(before, total), total, "samples")


def _last_flac_frame(tail: bytes, block: int, total: int) -> tuple[bool, int]:
    """Whether the tail ends with the frame that ends at `total`; samples before the last one."""
    at = tail.rfind(b"\xff")
    before = 0
    while at >= 0:
        frame = tail[at:]
        span = _flac_frame_span(frame, block)
        if span is not None:
            before = max(before, span[0])
            if total and span[1] == total and _crc16(frame) == 0:
                return True, span[0]
        at = tail.rfind(b"\xff", 0, at)
    return False, before


def _flac_frame_span(frame: bytes, fixed_block: int) -> tuple[int, int] | None:
    """First sample of the frame whose header begins here, and the one after it (RFC 9639, 9.1).

    None where no header begins.
    """
    if len(frame) < 6 or frame[1] not in (0xF8, 0xF9) or frame[3] & 1:
        return None
    block_code, rate_code = frame[2] >> 4, frame[2] & 15
    if block_code == 0 or rate_code == 15:
        return None
    coded = _coded_number(frame[4:11])
    if coded is None:
        return None
    number, length = coded
    at = 4 + length
    if block_code == 6:
        size, at = int.from_bytes(frame[at : at + 1], "big") + 1, at + 1
    elif block_code == 7:
        size, at = int.from_bytes(frame[at : at + 2], "big") + 1, at + 2
    else:
        size = 192 if block_code == 1 else (144 if block_code < 8 else 1) << block_code
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if len(frame) <= at or _crc8(frame[:at]) != frame[at]:
        return None
    # Fixed block size: the number counts frames; variable: samples.
    start = number if frame[1] & 1 else number * fixed_block
    return start, start + size


def _coded_number(raw: bytes) -> tuple[int, int] | None:
    """The number coded like UTF-8 (up to 36 bits), and its length in bytes."""
    first = raw[0]
    if first < 0x80:
        return first, 1
    length = 0
    while first << length & 0x80:
        length += 1
    if not 2 <= length <= 7 or len(raw) < length:
        return None
    value = first & (0x7F >> length)
    for byte in raw[1:length]:
        if byte >> 6 != 2:
            return None
        value = value << 6 | byte & 0x3F
    return value, length


@cache
def _crc_table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc & top else 0)) & mask
        table.append(crc)
    return tuple(table)


def _crc8(data: bytes) -> int:
    table, crc = _crc_table(0x07, 8), 0
    for byte in data:
        crc = table[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    """Of a whole FLAC frame, its own CRC included: 0 when intact."""
    table, crc = _crc_table(0x8005, 16), 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc


# -- boxes, pages, elements ----------------------------------------------------------------------
def _mp4(file: _Bytes, _start: int) -> Completeness:
    at = 0
    kinds: set[bytes] = set()
    for _ in range(_MAX_BOXES):
        if at >= file.size:
            break
        header = file.at(at, 16)
        if len(header) < 8:
            return Completeness("short", "mp4", file.size, at + 8)
        size, kind = struct.unpack(">I4s", header[:8])
        if size == 1 and len(header) == 16:
            size = int.from_bytes(header[8:], "big")
        if size == 0 and kind == b"mdat":
            return Completeness("open", "mp4", file.size)  # until the end, wherever that will be
        if header[:8] == bytes(8):
            return Completeness("short", "mp4", file.size)  # room made by a copy, not filled yet
        if size < 8:
            return Completeness("unknown", "mp4", file.size)
        kinds.add(kind)
        at += size
        if at > file.size:
            return Completeness("short", "mp4", file.size, at)
    else:
        return Completeness("unknown", "mp4", file.size)
    if b"moof" in kinds and b"mfra" not in kinds:
        return Completeness("open", "mp4", file.size)  # another fragment may follow
    if b"moov" not in kinds or not kinds & {b"mdat", b"moof"}:
        return Completeness("short", "mp4", file.size)  # the index is written last
    return Completeness("whole", "mp4", file.size, at)


_OGG_LARGEST_PAGE = 27 + 255 + 255 * 255


def _ogg(file: _Bytes, _start: int) -> Completeness:
    room = min(file.size, _OGG_LARGEST_PAGE)
    tail = file.at(file.size - room, room)
    at = tail.rfind(b"OggS")
    while at >= 0:
        page = tail[at:]
        count = page[26] if len(page) > 26 else 0
        if len(page) < 27 + count:
            return Completeness("short", "ogg", file.size, file.size - len(page) + 27 + count)
        length = 27 + count + sum(page[27 : 27 + count])
        if length > len(page):
            return Completeness("short", "ogg", file.size, file.size - len(page) + length)
        if length == len(page):
            ended = bool(page[5] & 4)
            return Completeness("whole" if ended else "open", "ogg", file.size)
        at = tail.rfind(b"OggS", 0, at)
    return Completeness("short", "ogg", file.size)


def _matroska(file: _Bytes, _start: int) -> Completeness:
    at = 0
    for _ in range(_MAX_CHUNKS):
        head = file.at(at, 12)
        kind = _vint(head, keep_marker=True)
        size = _vint(head[kind[1] :]) if kind else None
        if kind is None or size is None:
            return Completeness("short", "matroska", file.size, at + 12)
        body = at + kind[1] + size[1]
        if kind[0] == 0x18538067:  # Segment
            if size[0] == (1 << 7 * size[1]) - 1 or size[0] == 0:
                return Completeness("open", "matroska", file.size)
            return _measured("matroska", file.size, body + size[0])
        at = body + size[0]
    return Completeness("unknown", "matroska", file.size)


def _vint(raw: bytes, *, keep_marker: bool = False) -> tuple[int, int] | None:
    """An EBML number and its length in bytes."""
    if not raw or not raw[0]:
        return None
    length = 9 - raw[0].bit_length()
    if len(raw) < length:
        return None
    value = int.from_bytes(raw[:length], "big")
    return (value if keep_marker else value & (1 << 7 * length) - 1), length


# -- MPEG audio, MIDI ----------------------------------------------------------------------------
def _after_id3(head: bytes) -> int:
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _is_mpeg_frame(head: bytes) -> bool:
    return len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)


def _mp3(file: _Bytes, start: int) -> Completeness:
    head = file.at(start, 64)
    if not _is_mpeg_frame(head):
        return Completeness("unknown", "mp3", file.size)
    mpeg1, mono = head[1] & 0x08, head[3] >> 6 == 3
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    tag = head[4 + side :]
    stated: int | None = None
    if tag[:4] in (b"Xing", b"Info") and len(tag) >= 16:
        flags = int.from_bytes(tag[4:8], "big")
        if flags & 2:
            at = 12 if flags & 1 else 8
            stated = int.from_bytes(tag[at : at + 4], "big")
    elif head[36:40] == b"VBRI":
        stated = int.from_bytes(head[46:50], "big")
    if not stated:
        return Completeness("unknown", "mp3", file.size)
    if file.size >= start + stated:
        return Completeness("whole", "mp3", file.size, start + stated)
    # Cutters keep the tag of the uncut file, so a missing rest is a reason to wait, not to refuse.
    return Completeness("open", "mp3", file.size, start + stated)


def _midi(file: _Bytes, _start: int) -> Completeness:
    header = file.at(4, 8)
    if len(header) < 8:
        return Completeness("short", "midi", file.size, 14)
    length, _format, tracks = struct.unpack(">IHH", header)
    at = 8 + length
    found = 0
    while found < tracks:
        chunk = file.at(at, 8)
        if len(chunk) < 8:
            return Completeness("short", "midi", found, tracks, "tracks")
        kind, size = struct.unpack(">4sI", chunk)
        at += 8 + size
        if at > file.size:
            return Completeness("short", "midi", file.size, at)
        found += kind == b"MTrk"
    return Completeness("whole", "midi", file.size, at)


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


_JUDGES: tuple[tuple[Callable[[bytes], bool], Callable[[_Bytes, int], Completeness]], ...] = (
    (_begins(b"RIFF", b"RF64", b"BW64", b"RIFX"), _wav),
    (_begins(_W64_RIFF), _w64),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (_begins(b"caff"), _caf),
    (_begins(b".snd"), _au),
    (_begins(b"fLaC"), _flac),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"), _mp4),
    (_begins(b"OggS"), _ogg),
    (_begins(b"\x1a\x45\xdf\xa3"), _matroska),
    (_begins(b"MThd"), _midi),
)
