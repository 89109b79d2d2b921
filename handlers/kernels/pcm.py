"""Samples between files and blocks: convert, de-interleave, and quantise with dither.

Without any licence to round otherwise, not even by fused multiply-add: the same
sound gives the same bytes on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, ROWS, kernel

EXACT: frozenset[str] = frozenset()

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
INT16 = types.Array(types.int16, 1, "C", readonly=True)
INT32 = types.Array(types.int32, 1, "C", readonly=True)
INT32_ROWS = types.Array(types.int32, 2, "C", readonly=True)
DOUBLES = types.Array(types.float64, 1, "C", readonly=True)
OUT_BYTES = types.Array(types.uint8, 1, "C")
OUT_INT16 = types.Array(types.int16, 1, "C")
OUT_INT32 = types.Array(types.int32, 1, "C")

#: Whether a stretch lies on the target grid (and then takes no dither) is decided per so many
#: frames. It divides BLOCK_FRAMES, so the decision never depends on how a sound was cut.
GRID_FRAMES = 1024

_LARGEST = np.float32(3.4028235e38)
#: 1.0 as float bits.
_ONE_BITS = np.int32(0x3F800000)


@kernel((BYTES, ROW, OUT_ROWS), fast=EXACT)
def from_table(raw: NDArray[np.uint8], table: NDArray[np.float32], out: Samples) -> None:
    """8-bit samples, interleaved, through a table of 256 values into `out` `(channels, n)`."""
    channels, frames = out.shape
    for frame in range(frames):
        for channel in range(channels):
            out[channel, frame] = table[raw[frame * channels + channel]]


@kernel((INT16, types.float32, OUT_ROWS), (INT32, types.float32, OUT_ROWS), fast=EXACT)
def from_int(raw: NDArray[np.signedinteger[Any]], scale: np.float32, out: Samples) -> None:
    """int16 or int32 samples, interleaved, times `scale` into `out` `(channels, n)`."""
    channels, frames = out.shape
    if channels == 1:
        for frame in range(frames):
            out[0, frame] = np.float32(raw[frame]) * scale
    elif channels == 2:
        for frame in range(frames):
            out[0, frame] = np.float32(raw[2 * frame]) * scale
            out[1, frame] = np.float32(raw[2 * frame + 1]) * scale
    else:
        for frame in range(frames):
            for channel in range(channels):
                out[channel, frame] = np.float32(raw[frame * channels + channel]) * scale


@kernel((BYTES, types.boolean, OUT_INT32), fast=EXACT)
def unpack24(raw: NDArray[np.uint8], big_endian: bool, out: NDArray[np.int32]) -> None:
    """Packed 24-bit integers in the upper three bytes of int32, so the sign comes for free."""
    if big_endian:
        for i in range(out.shape[0]):
            high, middle, low = raw[3 * i], raw[3 * i + 1], raw[3 * i + 2]
            out[i] = np.int32(high) << 24 | np.int32(middle) << 16 | np.int32(low) << 8
    else:
        for i in range(out.shape[0]):
            low, middle, high = raw[3 * i], raw[3 * i + 1], raw[3 * i + 2]
            out[i] = np.int32(high) << 24 | np.int32(middle) << 16 | np.int32(low) << 8


@kernel((ROW, OUT_ROWS), (DOUBLES, OUT_ROWS), fast=EXACT)
def from_float(raw: NDArray[np.floating[Any]], out: Samples) -> None:
    """float32 or float64 samples, interleaved, into `out` `(channels, n)`, as they are."""
    channels, frames = out.shape
    if channels == 2:
        for frame in range(frames):
            out[0, frame] = np.float32(raw[2 * frame])
            out[1, frame] = np.float32(raw[2 * frame + 1])
    else:
        for frame in range(frames):
            for channel in range(channels):
                out[channel, frame] = np.float32(raw[frame * channels + channel])


@kernel((OUT_ROWS,), fast=EXACT)
def clean(samples: Samples) -> int:
    """Replace what is not finite by 0, in place; returns how many."""
    wrong = 0
    for channel in range(samples.shape[0]):
        for frame in range(samples.shape[1]):
            if not abs(samples[channel, frame]) <= _LARGEST:
                samples[channel, frame] = np.float32(0.0)
                wrong += 1
    return wrong


@kernel((types.uint32,), fast=EXACT)
def _noise(counter: np.uint32) -> np.float32:
    """Triangular noise in -1..1 that depends on `counter` alone.

    The difference of two uniform values is triangular. Both halves come from
    one 32-bit hash (Chris Wellons' lowbias32 constants).
    """
    x = np.uint32(counter)
    x ^= x >> np.uint32(16)
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x ^= x >> np.uint32(15)
    x = np.uint32(x * np.uint32(0x846CA68B))
    x ^= x >> np.uint32(16)
    # Through int32: only signed integers have a vector instruction to float.
    first = np.float32(np.int32(x & np.uint32(0xFFFF)))
    second = np.float32(np.int32(x >> np.uint32(16)))
    return (first - second) * np.float32(1.0 / 65536.0)


@kernel((INT32,), fast=EXACT)
def _largest_bits(bits: NDArray[np.int32]) -> np.int32:
    """The largest magnitude as float bits: they sort like the numbers, NaN above infinity.

    As integers, so that the loop is vectorised although NaN counts.
    """
    largest = np.int32(0)
    for i in range(bits.shape[0]):
        largest = max(largest, bits[i] & np.int32(0x7FFFFFFF))
    return largest


@kernel((ROW,), fast=EXACT)
def _count_over(samples: NDArray[np.float32]) -> tuple[np.float32, int, int]:
    peak = np.float32(0.0)
    over = 0
    wrong = 0
    for i in range(samples.shape[0]):
        size = abs(samples[i])
        if size <= _LARGEST:
            peak = max(peak, size)
            over += size > np.float32(1.0)
        else:
            wrong += 1
    return peak, over, wrong


@kernel((ROWS, INT32_ROWS), fast=EXACT)
def _survey(samples: Samples, bits: NDArray[np.int32]) -> tuple[np.int32, np.float32, int, int]:
    """Peak (as float bits and as a number: the larger holds), samples over, not finite."""
    peak_bits = np.int32(0)
    peak = np.float32(0.0)
    over = 0
    wrong = 0
    for channel in range(samples.shape[0]):
        largest = _largest_bits(bits[channel])
        if largest <= _ONE_BITS:
            peak_bits = max(peak_bits, largest)
        else:
            highest, more, bad = _count_over(samples[channel])
            peak = max(peak, highest)
            over += more
            wrong += bad
    return peak_bits, peak, over, wrong


@kernel((ROW, types.float32), fast=EXACT)
def _off_grid(samples: NDArray[np.float32], scale: np.float32) -> bool:
    """Whether a sample is no whole step; in short runs without an exit, for the vectoriser."""
    for begin in range(0, samples.shape[0], 64):
        run = samples[begin : begin + 64]
        off = 0
        for i in range(run.shape[0]):
            value = run[i] * scale
            off += value != np.floor(value)
        if off:
            return True
    return False


@kernel((ROWS, types.float32, OUT_ROW), fast=EXACT)
def _strengths(samples: Samples, scale: np.float32, dither: NDArray[np.float32]) -> None:
    """Per stretch of GRID_FRAMES: 0 where all samples are whole steps already, else 1."""
    for stretch in range(dither.shape[0]):
        begin = stretch * GRID_FRAMES
        dither[stretch] = np.float32(0.0)
        for channel in range(samples.shape[0]):
            if _off_grid(samples[channel][begin : begin + GRID_FRAMES], scale):
                dither[stretch] = np.float32(1.0)
                break


# Below, loops run from 0 over a slice: a start that might be negative costs the vectoriser.
@kernel((ROW, ROW, types.uint32, types.uint32, OUT_INT32), fast=EXACT)
def _steps16(
    samples: NDArray[np.float32],
    dither: NDArray[np.float32],
    first: np.uint32,
    stride: np.uint32,
    out: NDArray[np.int32],
) -> None:
    for stretch in range(dither.shape[0]):
        strength = dither[stretch]
        begin = stretch * GRID_FRAMES
        source = samples[begin : begin + GRID_FRAMES]
        target = out[begin : begin + GRID_FRAMES]
        start = np.uint32(first + np.uint32(begin) * stride)
        for i in range(source.shape[0]):
            noise = _noise(np.uint32(start + np.uint32(i) * stride)) * strength
            level = np.floor(source[i] * np.float32(32768.0) + noise + np.float32(0.5))
            target[i] = np.int32(min(max(level, np.float32(-32768.0)), np.float32(32767.0)))


@kernel((ROW, ROW, types.uint32, types.uint32, OUT_INT32), fast=EXACT)
def _steps24(
    samples: NDArray[np.float32],
    dither: NDArray[np.float32],
    first: np.uint32,
    stride: np.uint32,
    out: NDArray[np.int32],
) -> None:
    # In double: a 24-bit step and a dither below it do not fit float32's mantissa.
    for stretch in range(dither.shape[0]):
        strength = dither[stretch]
        begin = stretch * GRID_FRAMES
        source = samples[begin : begin + GRID_FRAMES]
        target = out[begin : begin + GRID_FRAMES]
        start = np.uint32(first + np.uint32(begin) * stride)
        for i in range(source.shape[0]):
            noise = _noise(np.uint32(start + np.uint32(i) * stride)) * strength
            level = np.floor(np.float64(source[i]) * 8388608.0 + np.float64(noise) + 0.5)
            target[i] = np.int32(min(max(level, -8388608.0), 8388607.0))


@kernel((INT32_ROWS, types.int64, OUT_INT16), (INT32_ROWS, types.int64, OUT_INT32), fast=EXACT)
def _interleave(levels: NDArray[np.int32], shift: int, out: NDArray[np.signedinteger[Any]]) -> None:
    channels, frames = levels.shape
    if channels == 2 and shift == 0:
        left, right = levels[0], levels[1]
        for i in range(frames):
            out[2 * i] = left[i]
            out[2 * i + 1] = right[i]
    else:
        for channel in range(channels):
            for i in range(frames):
                out[i * channels + channel] = levels[channel, i] << shift


def survey(samples: Samples) -> tuple[float, int, int]:
    """Largest finite magnitude, samples beyond full scale, and samples that are not finite."""
    peak_bits, peak, over, wrong = _survey(samples, samples.view(np.int32))
    return max(float(peak), float(np.int32(peak_bits).view(np.float32))), int(over), int(wrong)


def quantise(
    samples: Samples, bits: int, shift: int, position: int, out: NDArray[np.signedinteger[Any]]
) -> tuple[float, int, int]:
    """Clip, dither, round and interleave `(channels, n)` into `out` (n x channels integers).

    Dither is triangular, two steps wide, and depends on a sample's place in the
    sound alone (Lipshitz, Wannamaker and Vanderkooy, "Quantization and Dither",
    JAES 40(5), 1992). Stretches of `GRID_FRAMES` whose samples are whole steps
    already (silence, or a file of that depth that was only copied) take none,
    and so come out bit for bit.

    Args:
        bits: target depth, 16 or 24.
        shift: left shift of the result, for 24 bits in the upper part of 32.
        position: frame number of the first sample; a multiple of `GRID_FRAMES`.

    Returns:
        The largest magnitude, how many samples beyond full scale were clipped,
        and how many were not finite and became 0.
    """
    channels, frames = samples.shape
    # Not one kernel: LLVM vectorises these loops only as functions of their own (4 times faster).
    peak, clipped, wrong = survey(samples)
    if wrong:
        samples = samples.copy()
        clean(samples)
    dither = np.empty(-(-frames // GRID_FRAMES), np.float32)
    _strengths(samples, np.float32(2.0 ** (bits - 1)), dither)
    levels = np.empty((channels, frames), np.int32)
    steps = _steps16 if bits == 16 else _steps24
    for channel in range(channels):
        first = np.uint32((position * channels + channel) & 0xFFFFFFFF)
        steps(samples[channel], dither, first, np.uint32(channels), levels[channel])
    _interleave(levels, shift, out)
    return peak, clipped, wrong


@kernel((ROWS, OUT_ROW), fast=EXACT)
def interleave_floats(samples: Samples, out: NDArray[np.float32]) -> None:
    """`(channels, n)` into `out`, frame by frame."""
    channels, frames = samples.shape
    if channels == 2:
        left, right = samples[0], samples[1]
        for i in range(frames):
            out[2 * i] = left[i]
            out[2 * i + 1] = right[i]
    else:
        for channel in range(channels):
            for i in range(frames):
                out[i * channels + channel] = samples[channel, i]


def limited(samples: Samples, clip: bool, out: NDArray[np.float32]) -> tuple[float, int, int]:
    """Interleave `(channels, n)` into `out` as float32, clipped to full scale if asked.

    Returns:
        The largest magnitude, how many samples are beyond full scale, and how
        many were not finite and became 0.
    """
    peak, over, wrong = survey(samples)
    if wrong:
        samples = samples.copy()
        clean(samples)
    if clip and over:
        samples = np.clip(samples, np.float32(-1), np.float32(1))
    interleave_floats(samples, out)
    return peak, over, wrong


@kernel((INT32, types.boolean, OUT_BYTES), fast=EXACT)
def pack24(values: NDArray[np.int32], big_endian: bool, out: NDArray[np.uint8]) -> None:
    """24-bit integers in int32 as packed bytes, three per value."""
    low, high = (2, 0) if big_endian else (0, 2)
    for i in range(values.shape[0]):
        value = values[i]
        out[3 * i + low] = value & 0xFF
        out[3 * i + 1] = (value >> 8) & 0xFF
        out[3 * i + high] = (value >> 16) & 0xFF


@kernel((BYTES,), fast=EXACT)
def crc32_ogg(data: NDArray[np.uint8]) -> int:
    """CRC-32 of an Ogg page (polynomial 0x04c11db7, not reflected, RFC 3533 section 6)."""
    value = np.uint32(0)
    for i in range(data.shape[0]):
        value ^= np.uint32(data[i]) << np.uint32(24)
        for _ in range(8):
            top = value >> np.uint32(31)
            value = np.uint32(value << np.uint32(1)) ^ (np.uint32(0x04C11DB7) * top)
    return int(value)
