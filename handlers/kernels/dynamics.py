"""Gain that follows level: compressors and transient shapers.

Everything that depends on level is reckoned in decibels (octaves of amplitude,
inside). Logarithms and powers are polynomials over short rows, which a core
does eight at a time; only the smoothing in between goes sample by sample.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import FUSED, OUT_ROW, ROWS, STATE, kernel

#: Samples that are reckoned together; the rows between two loops stay in the first-level cache.
_ROW = 512
#: 20 log10(x) = _DB_PER_OCTAVE log2(x)
_DB_PER_OCTAVE = 20 * math.log10(2)
#: Keeps a decaying state from sinking into denormal numbers, which are slow. Far below rounding.
_BIAS = 1e-15


class Compressor:
    """Reckons, block after block, by what factor a compressor turns a sound down.

    The level is the largest magnitude over all channels, so all of them move
    together. The static curve (hard knee) comes first, then the smoothing, in
    decibels: a release that lets go at once below the threshold, and behind it
    an attack without a corner.

    Source: D. Giannoulis, M. Massberg and J. D. Reiss, "Digital Dynamic Range
    Compressor Design: A Tutorial and Analysis", JAES 60(6), 2012: log-domain
    feed-forward, equation 4 with W = 0, smooth decoupled detector (17).
    """

    def __init__(
        self, rate: int, threshold_db: float, ratio: float, attack_ms: float, release_ms: float
    ) -> None:
        """Times are those to 63 % of the way; `ratio` is 1 or more."""
        self._numbers = (
            threshold_db,
            1 - 1 / ratio,
            _pole(attack_ms, rate),
            _pole(release_ms, rate),
        )
        self._state = np.zeros(2)

    def gains(self, block: Samples) -> Samples:
        """Factors from 0 to 1, `(n,)`, for the next `(channels, n)` that is listened to."""
        out = np.empty(block.shape[1], np.float32)
        compress(block, *self._numbers, self._state, out)
        return out


class TransientShaper:
    """Reckons, block after block, the gain that lifts or lowers attacks and tails.

    Three envelopes tell them apart: where the one that follows the sound is
    above one that rises slowly, the sound sets in; where it is below one that
    falls slowly, the sound fades. Only their distance in decibels counts, so it
    works alike at any level, and a steady tone is left alone.

    Source: the differential envelopes of SPL's "Transient Designer", 1998.
    """

    #: The gain should precede the sound by so much, to be there when a hit begins.
    AHEAD_MS = 1.5
    _RELEASE_MS = 60
    _ATTACK_MS = 20
    _TAIL_MS = 500
    _SMOOTH_MS = 0.5

    def __init__(self, rate: int, attack_db: float, sustain_db: float) -> None:
        """`attack_db` and `sustain_db` are the most that is added, or taken away if negative."""
        self._numbers = (
            attack_db,
            sustain_db,
            _pole(self._RELEASE_MS, rate),
            _pole(self._ATTACK_MS, rate),
            _pole(self._TAIL_MS, rate),
            _pole(self._SMOOTH_MS, rate),
        )
        self._state = np.array([_FLOOR, _FLOOR, _FLOOR, 0])

    def gains(self, block: Samples) -> Samples:
        """Factors `(n,)` for the next block `(channels, n)`."""
        out = np.empty(block.shape[1], np.float32)
        shape(block, *self._numbers, self._state, out)
        return out


#: Below this distance in dB two envelopes count as equal: so much they ripple on a bass note.
_DEAD_DB = 2.0
#: At this distance beyond it the whole gain is given.
_FULL_DB = 10.0
#: -100 dBFS is added to each level, so that silence has neither attack nor tail.
_FLOOR = 1e-5


def _pole(time_ms: float, rate: int) -> float:
    """The feedback of a one-pole filter that is 63 % there after `time_ms`; 0 follows at once."""
    return math.exp(-1000 / (time_ms * rate)) if time_ms > 0 else 0.0


def _fitted(
    values: NDArray[np.float64], at: NDArray[np.float64], degree: int
) -> tuple[np.float32, ...]:
    """A polynomial through `values` at `at`, highest power first."""
    return tuple(np.float32(c) for c in np.polyfit(at, values, degree))


# Chebyshev nodes keep the largest error small; an even number of them leaves out 0.
_NODES = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
#: log2(1 + t) / t for t from 0 to 1, within 2e-6: 1 has the logarithm 0 exactly.
_LOG = _fitted(np.log2(1.5 + _NODES / 2) / (0.5 + _NODES / 2), 0.5 + _NODES / 2, 8)
#: (2^t - 1) / t for t from -1/2 to 1/2, within 2e-7: the power of 0 is 1 exactly.
_EXP = _fitted((np.exp2(_NODES / 2) - 1) / (_NODES / 2), _NODES / 2, 5)

_inlined = njit(nogil=True, error_model="numpy", fastmath=set(FUSED), inline="always")


@_inlined
def _log2(values: Samples, bits: NDArray[np.int32], count: int) -> None:
    """Base-2 logarithms in place; 0 gives -127. `bits` is an int32 view of `values`."""
    # One by one: a loop over the tuple would keep the other from being vectorised.
    a8, a7, a6, a5, a4, a3, a2, a1, a0 = _LOG
    for i in range(count):
        whole = np.float32((bits[i] >> 23) - 127)
        bits[i] = (bits[i] & 0x7FFFFF) | 0x3F800000
        t = values[i] - np.float32(1)
        p = ((((a8 * t + a7) * t + a6) * t + a5) * t + a4) * t + a3
        values[i] = whole + t * (((p * t + a2) * t + a1) * t + a0)


@_inlined
def _exp2(values: Samples, bits: NDArray[np.int32], count: int) -> None:
    """Powers of two in place, for exponents from -126 to 126."""
    b5, b4, b3, b2, b1, b0 = _EXP
    for i in range(count):
        x = min(max(values[i], np.float32(-126)), np.float32(126))
        whole = np.floor(x + np.float32(0.5))
        t = x - whole
        p = ((((b5 * t + b4) * t + b3) * t + b2) * t + b1) * t + b0
        values[i] = p * t + np.float32(1)
        bits[i] += np.int32(whole) << 23


@_inlined
def _magnitudes(block: Samples, start: int, count: int, row: Samples) -> None:
    """The largest magnitude over channels, for `count` frames from `start`."""
    for i in range(count):
        row[i] = abs(block[0, start + i])
    for channel in range(1, block.shape[0]):
        for i in range(count):
            row[i] = max(row[i], abs(block[channel, start + i]))


_NUMBER = types.float64


@kernel(types.void(ROWS, _NUMBER, _NUMBER, _NUMBER, _NUMBER, STATE, OUT_ROW))
def compress(
    block: Samples,
    threshold_db: float,
    slope: float,
    attack: float,
    release: float,
    state: NDArray[np.float64],
    out: Samples,
) -> None:
    """The factors of a compressor for `block` `(channels, n)`.

    Args:
        slope: 1 - 1/ratio.
        attack, release: poles of the two smoothing filters.
        state: reduction in dB behind the release, and behind the attack too; updated.
        out: `(n,)`.
    """
    frames = block.shape[1]
    row = np.empty(_ROW, np.float32)
    bits = row.view(np.int32)
    octave = np.float32(_DB_PER_OCTAVE * slope)
    corner = np.float32(threshold_db * slope)
    held, smooth = state[0], state[1]
    for start in range(0, frames, _ROW):
        count = min(_ROW, frames - start)
        _magnitudes(block, start, count, row)
        _log2(row, bits, count)
        for i in range(count):
            row[i] = max(row[i] * octave - corner, np.float32(0))
        for i in range(count):
            over = np.float64(row[i]) + _BIAS
            held = max(over, release * held + (1 - release) * over)
            smooth = attack * smooth + (1 - attack) * held
            row[i] = smooth * (-1 / _DB_PER_OCTAVE)
        _exp2(row, bits, count)
        for i in range(count):
            out[start + i] = row[i]
    state[0], state[1] = held, smooth


@kernel(types.void(ROWS, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER, STATE, OUT_ROW))
def shape(
    block: Samples,
    attack_db: float,
    sustain_db: float,
    release: float,
    attack: float,
    tail: float,
    smoothing: float,
    state: NDArray[np.float64],
    out: Samples,
) -> None:
    """The factors of a transient shaper for `block` `(channels, n)`.

    Args:
        attack_db, sustain_db: full gains.
        release, attack, tail, smoothing: poles of the envelopes, and of the gain.
        state: following, slow-rising and slow-falling envelope, gain in octaves; updated.
        out: `(n,)`.
    """
    frames = block.shape[1]
    row = np.empty(_ROW, np.float32)
    rising = np.empty(_ROW, np.float32)
    fading = np.empty(_ROW, np.float32)
    bits, rising_bits, fading_bits = (
        row.view(np.int32),
        rising.view(np.int32),
        fading.view(np.int32),
    )
    here, slow, long, gain = state[0], state[1], state[2], state[3]
    dead = np.float32(_DEAD_DB / _DB_PER_OCTAVE)
    full = np.float32(_DB_PER_OCTAVE / _FULL_DB)
    lift = np.float32(attack_db / _DB_PER_OCTAVE)
    stay = np.float32(sustain_db / _DB_PER_OCTAVE)
    for start in range(0, frames, _ROW):
        count = min(_ROW, frames - start)
        _magnitudes(block, start, count, row)
        for i in range(count):
            level = np.float64(row[i]) + _FLOOR
            here = max(level, release * here)
            slow = min(here, attack * slow + (1 - attack) * here)
            long = max(here, tail * long)
            rising[i] = here / slow
            fading[i] = long / here
        _log2(rising, rising_bits, count)
        _log2(fading, fading_bits, count)
        for i in range(count):
            begun = min(max((rising[i] - dead) * full, np.float32(0)), np.float32(1))
            faded = min(max((fading[i] - dead) * full, np.float32(0)), np.float32(1))
            row[i] = begun * lift + faded * stay
        for i in range(count):
            gain = smoothing * gain + (1 - smoothing) * (np.float64(row[i]) + _BIAS)
            row[i] = gain
        _exp2(row, bits, count)
        for i in range(count):
            out[start + i] = row[i]
    state[0], state[1], state[2], state[3] = here, slow, long, gain
