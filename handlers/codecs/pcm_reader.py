"""Reads samples that lie in a file as they are: PCM, float, A-law and mu-law.

Positional reads into one buffer, and one kernel that converts and
de-interleaves. Integers are divided by 2^(bits - 1), so -1.0 is full scale;
32-bit integers and 64-bit floats are rounded to float32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs.decoding import Decoding
from handlers.codecs.files import InputFile
from handlers.codecs.layout import Layout

#: How FFmpeg calls the samples once decoded.
_SAMPLE_FMT = {
    "pcm_u8": "u8",
    "pcm_s8": "u8",
    "pcm_s16": "s16",
    "pcm_s24": "s32",
    "pcm_s32": "s32",
    "pcm_f32": "flt",
    "pcm_f64": "dbl",
    "pcm_alaw": "s16",
    "pcm_mulaw": "s16",
}


def open_pcm(file: InputFile, layout: Layout) -> Decoding:
    """The samples that `layout` describes."""
    return Decoding(
        codec=layout.codec,
        sample_fmt=_SAMPLE_FMT[layout.codec.removesuffix("le").removesuffix("be")],
        rate=layout.rate,
        channels=layout.channels,
        frames=layout.frames,
        start=lambda: _blocks(file, layout),
        bit_depth=layout.bit_depth,
        bit_rate=layout.rate * layout.frame_bytes * 8,
    )


def _blocks(file: InputFile, layout: Layout) -> Iterator[Samples]:
    convert = converter(layout.codec)
    buffer = np.empty(BLOCK_FRAMES * layout.frame_bytes, np.uint8)
    at = 0
    while at < layout.frames:
        count = min(BLOCK_FRAMES, layout.frames - at)
        raw = buffer[: count * layout.frame_bytes]
        if not _fill(file, raw, layout.offset + at * layout.frame_bytes):
            return  # whoever counts the frames says what is missing
        out = np.empty((layout.channels, count), np.float32)
        convert(raw, out)
        yield out
        at += count


def _fill(file: InputFile, raw: NDArray[np.uint8], offset: int) -> bool:
    view = raw.data
    done = 0
    while done < len(view):
        try:
            got = os.preadv(file.fd, [view[done:]], offset + done)
        except OSError as wrong:
            raise file.failed(wrong) from wrong
        if got == 0:
            return False
        done += got
    return True


def converter(codec: str) -> Callable[[NDArray[np.uint8], Samples], None]:
    """What turns raw bytes of `codec` into float32 `(channels, n)`; it may use up the bytes."""
    from handlers.kernels import pcm

    tables = {"pcm_u8": _unsigned, "pcm_s8": _signed, "pcm_alaw": _alaw, "pcm_mulaw": _mulaw}
    if codec in tables:
        table = tables[codec]()
        return lambda raw, out: pcm.from_table(raw, table, out)
    kind, order = codec[4:-2], codec[-2:]
    if kind == "s24":

        def convert24(raw: NDArray[np.uint8], out: Samples) -> None:
            values = np.empty(out.size, np.int32)
            pcm.unpack24(raw, order == "be", values)
            pcm.from_int(values, np.float32(2.0**-31), out)

        return convert24
    dtype = np.dtype({"s16": "i2", "s32": "i4", "f32": "f4", "f64": "f8"}[kind])
    scale = np.float32({"s16": 2.0**-15, "s32": 2.0**-31}.get(kind, 1.0))

    def convert(raw: NDArray[np.uint8], out: Samples) -> None:
        values = raw.view(dtype)
        if order == "be":
            values.byteswap(inplace=True)
        if kind[0] == "s":
            pcm.from_int(values, scale, out)
        else:
            pcm.from_float(values, out)

    return convert


def _unsigned() -> NDArray[np.float32]:
    return np.asarray((np.arange(256) - 128) / 128, np.float32)


def _signed() -> NDArray[np.float32]:
    return np.asarray(np.arange(256).astype(np.uint8).view(np.int8) / 128, np.float32)


def _mulaw() -> NDArray[np.float32]:
    """ITU-T G.711 mu-law, in 16-bit steps as everybody decodes it."""
    code = ~np.arange(256).astype(np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    size = ((mantissa << 3) + 132 << exponent) - 132
    return np.asarray(np.where(code & 128, -size, size) / 32768, np.float32)


def _alaw() -> NDArray[np.float32]:
    """ITU-T G.711 A-law, in 16-bit steps."""
    code = np.arange(256).astype(np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    size = np.where(
        exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0)
    )
    return np.asarray(np.where(code & 128, size, -size) / 32768, np.float32)
