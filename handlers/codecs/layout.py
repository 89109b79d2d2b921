"""Where the samples lie in WAV, RF64, W64, AIFF, CAF and AU files, and what is around them.

Walks chunk headers with bounded reads; a size in a file is compared with the
file, never allocated. Plain PCM, float and G.711 are then read by
`handlers.codecs.pcm_reader`; anything else in these containers is for FFmpeg, because
libsndfile's ADPCM readers have a known hole (CVE-2026-37555) and its other
compressed codecs are rarely exercised.

Sources: Multimedia Programming Interface (1991) and mmreg.h, EBU Tech 3306,
ITU-R BS.2088, Sony Wave64, AIFF-C (Apple 1991), CAF (Apple 2011), AU (NeXT).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from handlers.codecs.files import InputFile

_MAX_CHUNKS = 8192
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
#: Bytes 2..16 of the GUIDs that carry a wave format tag in their first two.
_TAG_GUID = bytes.fromhex("000000001000800000aa00389b71")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")


@dataclass(frozen=True)
class Chunk:
    """A chunk's body: where it begins and how long it says it is."""

    kind: str
    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """Uncompressed, interleaved samples at one place in a file."""

    #: FFmpeg's name, e.g. `pcm_s24le`.
    codec: str
    bit_depth: int
    rate: int
    channels: int
    frame_bytes: int
    offset: int
    frames: int


@dataclass(frozen=True)
class Header:
    """What stands around the samples. Without a layout the codec is a compressed one."""

    layout: Layout | None
    #: Those around the samples that are there whole.
    chunks: list[Chunk] = field(default_factory=list)
    #: WAV and AIFF: all of them in their order, format and samples included.
    every: list[Chunk] = field(default_factory=list)


@dataclass(frozen=True)
class _Form:
    """Format fields, before it is known how much data is there."""

    codec: str | None
    bit_depth: int
    rate: int
    channels: int
    frame_bytes: int


def read_header(file: InputFile, container: str) -> Header:
    """The header of a file of one of `CONTAINERS`.

    Raises:
        UnreadableInput: a part is missing or contradicts itself, or the file
            ends before the length it states.
    """
    return CONTAINERS[container](file)


# -- RIFF ----------------------------------------------------------------------------------------
def _wav(file: InputFile) -> Header:
    order = ">" if file.read(4, 0) == b"RIFX" else "<"
    chunks: list[Chunk] = []
    every: list[Chunk] = []
    form: _Form | None = None
    data: Chunk | None = None
    wide_data: int | None = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        header = file.read(8, at)
        if len(header) < 8:
            break
        kind, size = struct.unpack(f"{order}4sI", header)
        body = at + 8
        if kind == b"ds64":
            raw = file.read(16, body)
            wide_data = struct.unpack("<QQ", raw)[1] if len(raw) == 16 else None
        elif kind == b"fmt " and form is None:
            form = _wave_format(file, file.read(min(size, 40), body), order)
        elif kind == b"data" and data is None:
            if size == 0xFFFFFFFF and wide_data is not None:
                size = wide_data
            elif _is_placeholder(size, file.size - body) or (
                size == 0 and not _chunks_follow(file, body)
            ):
                # A writer that could not go back to state the length: all that is there counts.
                size = file.size - body
            data = Chunk("data", body, size)
        else:
            chunks.append(Chunk(kind.decode("latin-1"), body, size))
        every.append(Chunk(kind.decode("latin-1"), body, size))
        at = body + size + (size & 1)
        if at >= file.size:
            break
    if form is None:
        raise file.unreadable("has no fmt chunk before it ends, so its samples cannot be read")
    return replace(_placed(file, form, data, chunks), every=every)


def _is_placeholder(size: int, there: int) -> bool:
    # SoX and arecord leave just under 2^31 or 2^32 in a pipe.
    return size > there and (0x7FFFF000 <= size <= 0x80000000 or size >= 0xFFFFF000)


def _chunks_follow(file: InputFile, at: int) -> bool:
    """Whether what follows an empty data chunk is chunks to the end of the file, or nothing."""
    for _ in range(_MAX_CHUNKS):
        if at >= file.size:
            return True
        header = file.read(8, at)
        if len(header) < 8 or not all(32 <= byte < 127 for byte in header[:4]):
            return False
        size = struct.unpack("<I", header[4:])[0]
        at += 8 + size + (size & 1)
        if at > file.size + 1:
            return False
    return False


def _wave_format(file: InputFile, raw: bytes, order: str) -> _Form:
    if len(raw) < 16:
        raise file.unreadable(f"has a fmt chunk of {len(raw)} bytes; 16 are needed")
    tag, channels, rate, _, align, bits = struct.unpack(f"{order}HHIIHH", raw[:16])
    valid = bits
    if tag == _EXTENSIBLE and len(raw) >= 40 and raw[26:40] == _TAG_GUID:
        valid = struct.unpack(f"{order}H", raw[18:20])[0] or bits
        tag = struct.unpack(f"{order}H", raw[24:26])[0]
    if tag not in (_PCM, _FLOAT, _ALAW, _MULAW):
        return _Form(None, bits, rate, channels, align)
    width = align // channels if channels and align % channels == 0 else 0
    if width * 8 < bits or width == 0:
        # Some writers leave the block size out.
        width = -(-bits // 8)
    codec = _codec_name(tag, width, "be" if order == ">" else "le", unsigned8=True)
    if codec is None:
        raise file.unreadable(
            f"has samples of {bits} bits in {width} bytes each (format {tag}); "
            "known are 8, 16, 24 and 32 bit integers, 32 and 64 bit floats, A-law and mu-law"
        )
    return _Form(codec, min(valid, width * 8) or width * 8, rate, channels, width * channels)


def _codec_name(tag: int, width: int, order: str, *, unsigned8: bool) -> str | None:
    if tag == _PCM and width == 1:
        return "pcm_u8" if unsigned8 else "pcm_s8"
    if tag == _PCM and width in (2, 3, 4):
        return f"pcm_s{width * 8}{order}"
    if tag == _FLOAT and width in (4, 8):
        return f"pcm_f{width * 8}{order}"
    if width == 1 and tag in (_ALAW, _MULAW):
        return "pcm_alaw" if tag == _ALAW else "pcm_mulaw"
    return None


# -- Sony Wave64 ---------------------------------------------------------------------------------
def _w64(file: InputFile) -> Header:
    chunks: list[Chunk] = []
    form: _Form | None = None
    data: Chunk | None = None
    at = 40
    for _ in range(_MAX_CHUNKS):
        header = file.read(24, at)
        if len(header) < 24:
            break
        guid, size = header[:16], struct.unpack("<Q", header[16:])[0]
        kind, body = guid[:4], at + 24
        if guid[4:] == _W64_TAIL and kind == b"data" and data is None:
            if size < 24 or size >= 2**62:
                size = file.size - at
            data = Chunk("data", body, size - 24)
        elif size < 24:
            raise file.unreadable(f"is damaged: a chunk at byte {at} states {size} bytes")
        elif guid[4:] == _W64_TAIL and kind == b"fmt " and form is None:
            form = _wave_format(file, file.read(min(size - 24, 40), body), "<")
        else:
            chunks.append(Chunk(kind.decode("latin-1"), body, size - 24))
        at += (size + 7) & ~7
        if at >= file.size:
            break
    if form is None:
        raise file.unreadable("has no fmt chunk before it ends, so its samples cannot be read")
    return _placed(file, form, data, chunks)


# -- AIFF ----------------------------------------------------------------------------------------
_AIFC: Mapping[bytes, tuple[int, str]] = {
    b"NONE": (_PCM, "be"),
    b"twos": (_PCM, "be"),
    b"sowt": (_PCM, "le"),
    b"in24": (_PCM, "be"),
    b"in32": (_PCM, "be"),
    b"23ni": (_PCM, "le"),
    b"fl32": (_FLOAT, "be"),
    b"FL32": (_FLOAT, "be"),
    b"fl64": (_FLOAT, "be"),
    b"FL64": (_FLOAT, "be"),
    b"ulaw": (_MULAW, "be"),
    b"ULAW": (_MULAW, "be"),
    b"alaw": (_ALAW, "be"),
    b"ALAW": (_ALAW, "be"),
    b"raw ": (_PCM, "raw"),
}
_AIFC_WIDTH = {b"in24": 3, b"23ni": 3, b"in32": 4, b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8}


def _aiff(file: InputFile) -> Header:
    chunks: list[Chunk] = []
    every: list[Chunk] = []
    common: tuple[_Form, int] | None = None
    data: Chunk | None = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        header = file.read(8, at)
        if len(header) < 8:
            break
        kind, size = struct.unpack(">4sI", header)
        body = at + 8
        if kind == b"COMM" and common is None:
            common = _aiff_format(file, file.read(min(size, 24), body))
        elif kind == b"SSND" and data is None:
            raw = file.read(8, body)
            skip = struct.unpack(">I", raw[:4])[0] if len(raw) == 8 else 0
            data = Chunk("SSND", body + 8 + skip, max(0, size - 8 - skip))
        else:
            chunks.append(Chunk(kind.decode("latin-1"), body, size))
        every.append(Chunk(kind.decode("latin-1"), body, size))
        at = body + size + (size & 1)
        if at >= file.size:
            break
    if common is None:
        raise file.unreadable("has no COMM chunk before it ends, so its samples cannot be read")
    form, frames = common
    if data is not None and form.frame_bytes and form.codec is not None:
        stated = frames * form.frame_bytes
        if frames == 0 or _is_placeholder(data.size, file.size - data.offset):
            stated = max(0, file.size - data.offset) if frames == 0 and data.size else stated
        data = Chunk("SSND", data.offset, stated)
    return replace(_placed(file, form, data, chunks), every=every)


def _aiff_format(file: InputFile, raw: bytes) -> tuple[_Form, int]:
    if len(raw) < 18:
        raise file.unreadable(f"has a COMM chunk of {len(raw)} bytes; 18 are needed")
    channels, frames, bits = struct.unpack(">HIH", raw[:8])
    rate = _extended(raw[8:18])
    compression = raw[18:22] if len(raw) >= 22 else b"NONE"
    known = _AIFC.get(compression)
    if known is None:
        return _Form(None, bits, rate, channels, 0), frames
    tag, order = known
    width = _AIFC_WIDTH.get(compression) or (1 if tag in (_ALAW, _MULAW) else -(-bits // 8))
    codec = _codec_name(tag, width, order.replace("raw", "be"), unsigned8=order == "raw")
    if codec is None:
        raise file.unreadable(f"has samples of {bits} bits; known are 8, 16, 24, 32 and floats")
    depth = width * 8 if tag != _PCM or compression in _AIFC_WIDTH else bits
    return _Form(codec, depth, rate, channels, width * channels), frames


def _extended(raw: bytes) -> int:
    """An 80-bit IEEE 754 extended number, rounded; 0 where it is none."""
    exponent, mantissa = struct.unpack(">HQ", raw)
    if exponent & 0x7FFF == 0x7FFF or exponent & 0x8000 or exponent > 16383 + 40:
        return 0
    return round(math.ldexp(mantissa, exponent - 16383 - 63))


# -- CAF and AU ----------------------------------------------------------------------------------
def _caf(file: InputFile) -> Header:
    chunks: list[Chunk] = []
    form: _Form | None = None
    data: Chunk | None = None
    at = 8
    for _ in range(_MAX_CHUNKS):
        header = file.read(12, at)
        if len(header) < 12:
            break
        kind, size = struct.unpack(">4sq", header)
        body = at + 12
        if kind == b"desc" and form is None:
            form = _caf_format(file, file.read(32, body))
        elif kind == b"data" and data is None:
            if size == -1:
                size = file.size - body
            data = Chunk("data", body + 4, size - 4)
        elif size < 0:
            raise file.unreadable(f"is damaged: a chunk at byte {at} states {size} bytes")
        else:
            chunks.append(Chunk(kind.decode("latin-1"), body, size))
        at = body + max(0, size)
        if at >= file.size:
            break
    if form is None:
        raise file.unreadable("has no desc chunk before it ends, so its samples cannot be read")
    return _placed(file, form, data, chunks)


def _caf_format(file: InputFile, raw: bytes) -> _Form:
    if len(raw) < 32:
        raise file.unreadable("ends inside its format description")
    rate, kind, flags, packet, per_packet, channels, bits = struct.unpack(">d4sIIIII", raw)
    whole = round(rate) if 0 < rate < 2**31 else 0
    if kind in (b"ulaw", b"alaw"):
        codec: str | None = "pcm_mulaw" if kind == b"ulaw" else "pcm_alaw"
        return _Form(codec, 8, whole, channels, channels)
    if kind != b"lpcm":
        return _Form(None, bits, whole, channels, 0)
    width = packet // channels if channels and per_packet == 1 and packet % channels == 0 else 0
    tag, order = _FLOAT if flags & 1 else _PCM, "le" if flags & 2 else "be"
    codec = _codec_name(tag, width, order, unsigned8=False)
    if codec is None:
        raise file.unreadable(f"has samples of {bits} bits in {width} bytes each, which is unknown")
    return _Form(codec, min(bits, width * 8) or width * 8, whole, channels, packet)


_AU = {
    1: (_MULAW, 1),
    2: (_PCM, 1),
    3: (_PCM, 2),
    4: (_PCM, 3),
    5: (_PCM, 4),
    6: (_FLOAT, 4),
    7: (_FLOAT, 8),
    27: (_ALAW, 1),
}


def _au(file: InputFile) -> Header:
    raw = file.read(24, 0)
    if len(raw) < 24:
        raise file.unreadable("ends inside its header")
    offset, size, encoding, rate, channels = struct.unpack(">IIIII", raw[4:])
    if encoding not in _AU:
        return Header(None)
    tag, width = _AU[encoding]
    codec = _codec_name(tag, width, "be", unsigned8=False)
    form = _Form(codec, width * 8, rate, channels, width * channels)
    if size == 0xFFFFFFFF:
        size = max(0, file.size - offset)
    return _placed(file, form, Chunk("data", offset, size), [])


# -- all -----------------------------------------------------------------------------------------
def _placed(file: InputFile, form: _Form, data: Chunk | None, chunks: list[Chunk]) -> Header:
    whole = [c for c in chunks if c.offset + c.size <= file.size]
    if data is None:
        raise file.unreadable("ends before its samples begin")
    there = max(0, file.size - data.offset)
    if form.codec is None:
        # FFmpeg believes the sizes of text chunks and allocates them, so none may lie.
        if len(whole) < len(chunks) or data.size > there:
            raise file.unreadable("is cut short: a chunk goes on beyond the end of the file")
        return Header(None, whole)
    if form.channels == 0 or form.rate == 0 or form.frame_bytes == 0:
        raise file.unreadable(f"is damaged: it states {form.channels} channels at {form.rate} Hz")
    if data.size > there:
        second = form.rate * form.frame_bytes
        raise file.unreadable(
            f"is cut short: {there / second:.2f} s of {data.size / second:.2f} s are there "
            f"({there} of {data.size} bytes of samples)"
        )
    layout = Layout(
        codec=form.codec,
        bit_depth=form.bit_depth,
        rate=form.rate,
        channels=form.channels,
        frame_bytes=form.frame_bytes,
        offset=data.offset,
        frames=data.size // form.frame_bytes,
    )
    return Header(layout, whole)


CONTAINERS: Mapping[str, Callable[[InputFile], Header]] = {
    "wav": _wav,
    "w64": _w64,
    "aiff": _aiff,
    "caf": _caf,
    "au": _au,
}
