"""Pictures as PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handlers.pictures.colors import Rgb

#: Rows that are packed at a time: bounds the memory beside that of the pixels.
_ROWS = 256


def palette_png(
    pixels: NDArray[np.uint8],
    palette: Sequence[Rgb],
    *,
    opacity: Sequence[int] = (),
    noisy: bool = False,
) -> bytes:
    """`pixels` `(height, width)`, each an index into at most 256 colours, as a PNG file.

    `opacity` goes with the colours, 0 for clear to 255; those without one are opaque.

    With `noisy` no repetitions are looked for beside runs, which takes a third of
    the time and is no larger where hardly anything is repeated.

    Source: PNG (Third Edition), W3C, 2025: colour type 3, 8 bits. Rows are
    stored unfiltered, which the standard (12.7) recommends for palettes.
    """
    extra = _chunk(b"PLTE", b"".join(bytes(color) for color in palette))
    if opacity:
        extra += _chunk(b"tRNS", bytes(opacity))
    return _file(pixels, 3, extra, noisy=noisy)


def rgb_png(pixels: NDArray[np.uint8]) -> bytes:
    """`pixels` `(height, width, 3)`, red, green and blue, as a PNG file (colour type 2)."""
    return _file(pixels, 2, b"", noisy=True)


def _file(pixels: NDArray[np.uint8], color_type: int, extra: bytes, *, noisy: bool) -> bytes:
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    packer = zlib.compressobj(6, strategy=zlib.Z_RLE if noisy else zlib.Z_DEFAULT_STRATEGY)
    packed = []
    for top in range(0, height, _ROWS):
        part = pixels[top : top + _ROWS].reshape(min(_ROWS, height - top), -1)
        # A zero before each row: it is stored as it is.
        packed.append(packer.compress(np.pad(part, ((0, 0), (1, 0))).tobytes()))
    packed.append(packer.flush())
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + extra
        + _chunk(b"IDAT", b"".join(packed))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
