"""A look-ahead limiter that holds a true-peak ceiling.

The gain that each sample needs is known a few milliseconds before it is due:
its minimum over that window, released slowly and smoothed by two moving
averages that together span the window, is never above what is needed, has no
steps and no corners.

Source: D. Giannoulis, M. Massberg and J. D. Reiss, "Digital Dynamic Range
Compressor Design", JAES 60(6), 2012, for the smoothing; true peaks as in
`true_peak`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, ROW, STATE, kernel
from handlers.kernels.true_peak import BEFORE, TAPS, envelope, interpolators, reach

_LOOK_AHEAD = 0.005
_RELEASE = 0.06
#: The ceiling is aimed at from below: other meters interpolate a little differently.
_MARGIN_DB = 0.1
#: So are its points: a meter of four times the rate can miss 0.6 dB, and another one's four
#: points lie elsewhere.
_FINER = 2

#: Gain this close to 1 is 1.
_UNITY = 1e-6


class Limiter:
    """Limits block after block; all channels move together.

    What goes in comes out later, so blocks that come out differ in length
    from those that went in; `rest` gives what is still inside at the end. In
    all, out is as long as in, and in step with it.
    """

    def __init__(
        self, rate: int, channels: int, *, ceiling_dbtp: float, gain_db: float = 0.0
    ) -> None:
        """`gain_db` is applied first."""
        self._gain = np.float32(10 ** (gain_db / 20))
        self._ceiling = 10 ** ((ceiling_dbtp - _MARGIN_DB) / 20)
        self._filters = interpolators(rate, _FINER)
        self._reach = reach(self._filters)
        first = max(round(_LOOK_AHEAD * rate / 2), 1)
        # Two averages of equal length: together a triangle over the window.
        window = 2 * first - 1
        self._release = 1 - math.exp(-1 / (_RELEASE * rate))
        self._windows = np.zeros((2, window))
        self._rings = np.ones((2, first))
        #: Time, place in the queue and its length, place in the rings, samples since all was 1.
        self._counts = np.zeros(5, np.int64)
        self._counts[4] = 2 * window
        #: Gain after the release; sums of the rings.
        self._levels = np.array([1.0, first, first])
        self._lowest = 1.0
        self._delay = window - 1 + BEFORE + 1
        self._inside = np.zeros((channels, self._delay + BEFORE + 1), np.float32)
        self._to_skip = self._delay

    @property
    def reduction_db(self) -> float:
        """How much the gain was reduced at most so far, in dB; 0 if never."""
        return 20 * math.log10(1 / self._lowest)

    def limited(self, block: Samples) -> Samples:
        """Put in the next block; what comes out may be shorter, even empty."""
        frames = block.shape[1]
        inside = np.concatenate((self._inside, block * self._gain), axis=1)
        self._inside = inside[:, frames:].copy()
        peaks = np.empty(frames, np.float32)
        newest = np.ascontiguousarray(inside[:, -(frames + TAPS) :])
        envelope(newest, self._filters, self._reach, self._ceiling, peaks)
        gains = np.empty(frames, np.float32)
        lowest = glide(
            *(peaks, self._ceiling, self._release, self._windows, self._rings),
            *(self._counts, self._levels, gains),
        )
        self._lowest = min(self._lowest, lowest)
        begin = BEFORE + 1
        out = inside[:, begin : begin + frames]
        out = out * gains if lowest < 1 else out
        skipped = min(self._to_skip, frames)
        self._to_skip -= skipped
        return np.ascontiguousarray(out[:, skipped:])

    def rest(self) -> Samples:
        """What is still inside when the sound has ended."""
        return self.limited(np.zeros((self._inside.shape[0], self._delay), np.float32))


_COUNTS = types.Array(types.int64, 1, "C")
_RINGS = types.Array(types.float64, 2, "C")


@kernel(
    types.float64(ROW, types.float64, types.float64, _RINGS, _RINGS, _COUNTS, STATE, OUT_ROW)
)  # fmt: skip
def glide(
    peaks: Samples,
    ceiling: float,
    release: float,
    queue: NDArray[np.float64],
    rings: NDArray[np.float64],
    counts: NDArray[np.int64],
    levels: NDArray[np.float64],
    gains: Samples,
) -> float:
    """Gain for each of `peaks`, `window - 1` samples later; returns the lowest.

    Args:
        peaks: magnitudes, float32 `(n,)`.
        release: share of the way back that is gone per sample.
        queue: `(2, window)`: gains that may yet be the minimum, rising, and their times.
        rings: `(2, m)`: the last inputs of the two moving averages; `window` is `2 m - 1`.
        counts, levels: see `Limiter`.
        gains: out, `(n,)`.
    """
    now, head, count, place, idle = counts
    gain, first, second = levels
    window = queue.shape[1]
    length = rings.shape[1]
    lowest = 1.0
    for i in range(peaks.size):
        needed = 1.0 if peaks[i] <= ceiling else ceiling / peaks[i]
        if needed == 1.0 and idle >= 2 * window:
            gains[i] = 1.0
            continue
        if idle >= 2 * window:
            # Everything has been 1 for long: start afresh, without the rounding of the sums.
            count, gain, first, second = 0, 1.0, float(length), float(length)
            rings[:] = 1.0
        now += 1
        if count and queue[1, head] <= now - window:
            head = head + 1 if head + 1 < window else 0
            count -= 1
        while count:
            last = head + count - 1
            last = last if last < window else last - window
            if queue[0, last] < needed:
                break
            count -= 1
        last = head + count
        last = last if last < window else last - window
        queue[0, last], queue[1, last] = needed, now
        count += 1
        least = queue[0, head]
        gain = min(least, gain + (least - gain) * release)
        if least - gain < _UNITY:
            gain = least
        idle = idle + 1 if gain == 1.0 else 0
        first += gain - rings[0, place]
        rings[0, place] = gain
        second += first / length - rings[1, place]
        rings[1, place] = first / length
        place = place + 1 if place + 1 < length else 0
        gains[i] = second / length
        lowest = min(lowest, second / length)
    counts[0], counts[1], counts[2], counts[3], counts[4] = now, head, count, place, idle
    levels[0], levels[1], levels[2] = gain, first, second
    return lowest
