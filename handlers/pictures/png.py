"""Pictures with a palette, as PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handlers.pictures.colors import Rgb


def palette_png(pixels: NDArray[np.uint8], palette: Sequence[Rgb]) -> bytes:
    """`pixels` `(height, width)`, each an index into at most 256 colours, as a PNG file.

    Source: PNG (Third Edition), W3C, 2025: colour type 3, 8 bits. Rows are
    stored unfiltered, which the standard (12.7) recommends for palettes.
    """
    height, width = pixels.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colors = b"".join(bytes(color) for color in palette)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", colors)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
