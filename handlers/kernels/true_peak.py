"""The peak between the samples.

Source: ITU-R BS.1770-5, Annex 2: oversample to at least 192 kHz at studio
rates (four times below 96 kHz, twice below 192 kHz) and take the largest
magnitude. The interpolator is a sinc under a Kaiser window, twice as long as
the standard's example: within 0.05 dB up to 0.45 of the sample rate.
"""

from __future__ import annotations

import numpy as np
from numba import types

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, ROW, ROWS, VECTOR, kernel

TAPS = 24
"""Samples that one point between two samples is computed from: 12 before it, 12 after."""

BEFORE = TAPS // 2 - 1
"""Samples before the one that an interpolated point follows."""

_BETA = 5.0
#: Samples that are compared side by side.
_WIDE = 16
#: Frames that are looked at together: if even their largest sample cannot make a new peak
#: between samples, none of them is interpolated.
_PATCH = 128


def interpolators(rate: int, finer: int = 1) -> Samples:
    """Filters for the points between two samples: float32, `(points, TAPS)`.

    Point `k` of row `r` over `x[i - BEFORE : i - BEFORE + TAPS]` lies
    `(r + 1) / (points + 1)` of the way from sample `i` to the next. No rows
    at 192 kHz and above, where the samples are dense enough. `finer` times as
    many points as the standard's where there are any.
    """
    times = 4 * finer if rate < 96000 else 2 * finer if rate < 192000 else 1
    taps = np.arange(TAPS) - BEFORE
    rows = np.empty((times - 1, TAPS), np.float32)
    for row in range(times - 1):
        away = taps - (row + 1) / times
        window = np.i0(_BETA * np.sqrt(1 - (away / (TAPS / 2)) ** 2))
        filter_ = np.sinc(away) * window
        rows[row] = filter_ / filter_.sum()
    return rows


def reach(filters: Samples) -> float:
    """How far beyond the largest sample an interpolated point can lie, as a factor."""
    return float(np.abs(filters).sum(axis=1).max(initial=1.0))


class TruePeak:
    """Finds the true peak of a sound, block by block, over all channels."""

    def __init__(self, rate: int, channels: int) -> None:
        """For a sound of `channels` at `rate`."""
        self._filters = interpolators(rate)
        self._reach = reach(self._filters)
        self._past = np.zeros((channels, TAPS - 1), np.float32)
        self._peak = 0.0

    def add(self, block: Samples) -> None:
        """Look at the next block `(channels, n)`."""
        joined = np.concatenate((self._past, block), axis=1)
        self._peak = highest(joined, self._filters, self._reach, self._peak)
        self._past = joined[:, -(TAPS - 1) :].copy()

    @property
    def peak(self) -> float:
        """The largest magnitude so far, 1.0 being full scale; the sound may end here or go on."""
        ending = np.pad(self._past, ((0, 0), (0, TAPS - 1)))
        return float(highest(ending, self._filters, self._reach, self._peak))


@kernel(types.float32(ROW), fast=VECTOR)
def largest(row: Samples) -> np.float32:
    """The largest magnitude in a row."""
    # One maximum for each place of a vector register; a single one would not be vectorised.
    tops = np.zeros(_WIDE, np.float32)
    whole = row.size // _WIDE * _WIDE
    for at in range(0, whole, _WIDE):
        wide = row[at : at + _WIDE]
        for i in range(_WIDE):
            size = abs(wide[i])
            tops[i] = size if size > tops[i] else tops[i]
    top = np.float32(0)
    for size in tops:
        top = max(top, size)
    for at in range(whole, row.size):
        top = max(top, abs(row[at]))
    return top


@kernel(types.float64(ROWS, ROWS, types.float64, types.float64), fast=VECTOR)
def highest(sound: Samples, filters: Samples, reach: float, floor: float) -> float:
    """The largest magnitude of samples and points between them, if above `floor`.

    Args:
        sound: `(channels, n)`; points are computed where all their samples are in it.
        filters: see `interpolators`.
        reach: see the function of that name.
        floor: what is known to be reached already.
    """
    top = np.float32(floor)
    points = np.empty(_PATCH, np.float32)
    for channel in range(sound.shape[0]):
        row = sound[channel]
        count = row.size - TAPS + 1
        for at in range(0, count, _PATCH):
            width = min(_PATCH, count - at)
            size = largest(row[at : at + width + TAPS - 1])
            top = max(top, size)
            if size * reach <= top:
                continue
            for point in range(filters.shape[0]):
                points[:] = 0
                for tap in range(0, TAPS, 4):
                    a, b, c, d = filters[point, tap : tap + 4]
                    w = row[at + tap : at + tap + width]
                    x = row[at + tap + 1 : at + tap + width + 1]
                    y = row[at + tap + 2 : at + tap + width + 2]
                    z = row[at + tap + 3 : at + tap + width + 3]
                    for i in range(width):
                        points[i] += a * w[i] + b * x[i] + c * y[i] + d * z[i]
                top = max(top, largest(points[:width]))
    return np.float64(top)


@kernel(types.void(ROWS, ROWS, types.float64, types.float64, OUT_ROW), fast=VECTOR)
def envelope(sound: Samples, filters: Samples, reach: float, care: float, out: Samples) -> None:
    """For each sample the largest magnitude from the one before to the one after, over channels.

    Args:
        sound: `(channels, len(out) + TAPS)`; sample `i` of `out` is sample `i + BEFORE + 1`.
        care: peaks up to this size need no accuracy; where only such are possible,
            the samples' own magnitudes are given.
        filters, reach: as for `highest`.
    """
    count = out.size
    points = np.empty(_PATCH + 1, np.float32)
    out[:] = 0
    for channel in range(sound.shape[0]):
        row = sound[channel]
        own = row[BEFORE + 1 : BEFORE + 1 + count]
        for i in range(count):
            out[i] = max(out[i], abs(own[i]))
        for at in range(0, count, _PATCH):
            width = min(_PATCH, count - at)
            if largest(row[at : at + width + TAPS]) * reach <= care:
                continue
            patch = out[at : at + width]
            for point in range(filters.shape[0]):
                # Points after each of the samples `at - 1` to `at + width - 1`.
                points[:] = 0
                for tap in range(0, TAPS, 4):
                    a, b, c, d = filters[point, tap : tap + 4]
                    w = row[at + tap : at + tap + width + 1]
                    x = row[at + tap + 1 : at + tap + width + 2]
                    y = row[at + tap + 2 : at + tap + width + 3]
                    z = row[at + tap + 3 : at + tap + width + 4]
                    for i in range(width + 1):
                        points[i] += a * w[i] + b * x[i] + c * y[i] + d * z[i]
                later = points[1:]
                for i in range(width):
                    patch[i] = max(patch[i], abs(points[i]), abs(later[i]))
