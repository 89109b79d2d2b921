"""Samples between files and blocks: convert, de-interleave, and quantise with dither.

Every kernel releases the GIL and is compiled for exactly the types named in
`warm`, so that a warm cache serves all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handlers.artifacts import Samples

#: Whether a stretch lies on the target grid (and then takes no dither) is decided per so many
#: frames. It divides BLOCK_FRAMES, so the decision never depends on how a sound was cut.
GRID_FRAMES = 1024

_LARGEST = np.float32(3.4028235e38)
#: 1.0 as float bits.
_ONE_BITS = np.int32(0x3F800000)


@njit(cache=True, nogil=True)
def from_table(raw: NDArray[np.uint8], table: NDArray[np.float32], out: Samples) -> None:
    """8-bit samples, interleaved, through a table of 256 values into `out` `(channels, n)`."""
    channels, frames = out.shape
    for frame in range(frames):
        for channel in range(channels):
            out[channel, frame] = table[raw[frame * channels + channel]]


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def from_int24(raw: NDArray[np.uint8], big_endian: bool, out: Samples) -> None:
    """Packed 24-bit samples, interleaved, over 2^23 into `out` `(channels, n)`."""
    channels, frames = out.shape
    low, high = (2, 0) if big_endian else (0, 2)
    scale = np.float32(1.0 / 2147483648.0)
    at = 0
    for frame in range(frames):
        for channel in range(channels):
            # Placed in the upper three bytes of an int32, so the sign comes for free.
            value = (
                (np.int32(raw[at + high]) << 24)
                | (np.int32(raw[at + 1]) << 16)
                | (np.int32(raw[at + low]) << 8)
            )
            out[channel, frame] = np.float32(np.int32(value)) * scale
            at += 3


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def clean(samples: Samples) -> int:
    """Replace what is not finite by 0, in place; returns how many."""
    wrong = 0
    for channel in range(samples.shape[0]):
        for frame in range(samples.shape[1]):
            if not abs(samples[channel, frame]) <= _LARGEST:
                samples[channel, frame] = np.float32(0.0)
                wrong += 1
    return wrong


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _largest_bits(bits: NDArray[np.int32]) -> int:
    """The largest magnitude as float bits: they sort like the numbers, NaN above infinity.

    As integers, so that the loop is vectorised although NaN counts.
    """
    largest = np.int32(0)
    for i in range(bits.shape[0]):
        largest = max(largest, bits[i] & np.int32(0x7FFFFFFF))
    return largest


@njit(cache=True, nogil=True)
def _count_over(samples: NDArray[np.float32]) -> tuple[float, int, int]:
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


@njit(cache=True, nogil=True)
def _survey(samples: Samples, bits: NDArray[np.int32]) -> tuple[int, float, int, int]:
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
    peak_bits, peak, clipped, wrong = _survey(samples, samples.view(np.int32))
    peak = max(peak, float(np.int32(peak_bits).view(np.float32)))
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
    return float(peak), int(clipped), int(wrong)


@njit(cache=True, nogil=True)
def limited(samples: Samples, clip: bool, out: NDArray[np.float32]) -> tuple[float, int, int]:
    """Interleave `(channels, n)` into `out` as float32, clipped to full scale if asked.

    Returns:
        The largest magnitude, how many samples were clipped, and how many were
        not finite and became 0.
    """
    channels, frames = samples.shape
    one = np.float32(1.0)
    peak = np.float32(0.0)
    clipped = 0
    wrong = 0
    for frame in range(frames):
        for channel in range(channels):
            value = samples[channel, frame]
            size = abs(value)
            if not size <= _LARGEST:
                value = np.float32(0.0)
                size = np.float32(0.0)
                wrong += 1
            peak = max(peak, size)
            if clip and size > one:
                clipped += 1
                value = min(max(value, -one), one)
            out[frame * channels + channel] = value
    return float(peak), clipped, wrong


@njit(cache=True, nogil=True)
def pack24(values: NDArray[np.int32], big_endian: bool, out: NDArray[np.uint8]) -> None:
    """24-bit integers in int32 as packed bytes, three per value."""
    low, high = (2, 0) if big_endian else (0, 2)
    for i in range(values.shape[0]):
        value = values[i]
        out[3 * i + low] = value & 0xFF
        out[3 * i + 1] = (value >> 8) & 0xFF
        out[3 * i + high] = (value >> 16) & 0xFF


@njit(cache=True, nogil=True)
def crc16(data: NDArray[np.uint8], crc: int) -> int:
    """CRC-16/ARC (polynomial 0x8005, reflected) of `data`, going on from `crc`.

    The checksum of the LAME tag (Gabriel Bouvigne, "Mp3 info tag revision 1").
    """
    value = np.uint32(crc)
    for i in range(data.shape[0]):
        value ^= np.uint32(data[i])
        for _ in range(8):
            value = (value >> np.uint32(1)) ^ (np.uint32(0xA001) * (value & np.uint32(1)))
    return int(value)


@njit(cache=True, nogil=True)
def crc32_ogg(data: NDArray[np.uint8]) -> int:
    """CRC-32 of an Ogg page (polynomial 0x04c11db7, not reflected, RFC 3533 section 6)."""
    value = np.uint32(0)
    for i in range(data.shape[0]):
        value ^= np.uint32(data[i]) << np.uint32(24)
        for _ in range(8):
            top = value >> np.uint32(31)
            value = np.uint32(value << np.uint32(1)) ^ (np.uint32(0x04C11DB7) * top)
    return int(value)


def warm() -> None:
    """Compile every kernel, or load it from the cache, for each type that is used."""
    out = np.zeros((2, 4), np.float32)
    raw = np.zeros(24, np.uint8)
    from_table(raw, np.zeros(256, np.float32), out)
    for integers in (np.int16, np.int32):
        from_int(np.zeros(8, integers), np.float32(1), out)
        for bits in (16, 24):
            quantise(out, bits, 0, 0, np.zeros(8, integers))
    from_int24(raw, False, out)
    for floats in (np.float32, np.float64):
        from_float(np.zeros(8, floats), out)
    clean(out)
    limited(out, True, np.zeros(8, np.float32))
    pack24(np.zeros(8, np.int32), False, raw)
    crc16(raw, 0)
    crc32_ogg(raw)
