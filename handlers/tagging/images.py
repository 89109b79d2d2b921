"""What a picture is, from its first bytes.

Sources: PNG (W3C), JPEG (ITU-T T.81), GIF 89a, WebP container specification.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: JPEG markers that begin a frame, and so tell its size: all SOF but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Image:
    """What a picture says of itself. 0 where it does not."""

    mime: str
    width: int
    height: int
    #: Bits per pixel.
    depth: int


def look(data: bytes) -> Image | None:
    """The kind and size of a JPEG, PNG, GIF or WebP picture; None for anything else."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        if len(data) < 26:
            return Image("image/png", 0, 0, 0)
        width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
        return Image("image/png", width, height, bits * {2: 3, 4: 2, 6: 4}.get(colour, 1))
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 11:
        width, height, packed = struct.unpack("<HHB", data[6:11])
        return Image("image/gif", width, height, (packed & 7) + 1)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Image("image/webp", *_webp(data), 24)
    if data[:3] == b"\xff\xd8\xff":
        return Image("image/jpeg", *_jpeg(data))
    return None


def _jpeg(data: bytes) -> tuple[int, int, int]:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            bits, height, width, parts = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return width, height, bits * parts
        else:
            at += 2 + max(size, 2)
    return 0, 0, 0


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
