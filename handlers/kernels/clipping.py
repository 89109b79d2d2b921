"""Rebuilds peaks that were cut off."""

from __future__ import annotations

import numpy as np
from numba import njit, types

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROWS, kernel

#: A sample of this magnitude or more is taken for clipped.
CLIPPED = 0.999
#: A rebuilt peak is at most about so far beyond the clipped ones, as an amplitude (+12 dB in all):
#: next to a click, or a square wave, the slopes promise more than any sound holds.
_HIGHEST = 3.0


@njit(nogil=True, inline="always")
def _slope(last: float, before: float, second: float) -> float:
    """How steeply, per sample, the sound climbs where it reaches `last`; 0 if it falls.

    The smaller of the first- and the second-order difference: on the shoulder of a wave the
    second is right, in a rough sound it exaggerates.
    """
    return max(min(last - before, (3 * last - 4 * before + second) / 2), 0.0)


@kernel(types.void(ROWS, types.int64, types.int64, OUT_ROWS))
def rebuild(sound: Samples, around: int, longest: int, out: Samples) -> None:
    """Replace runs of clipped samples by a cubic Hermite curve.

    It leads from the sample before to the sample after, along the slopes there.
    Single samples and runs of more than `longest` are no cut-off peaks and stay
    as they are. A rebuilt sample is never nearer to zero than the clipped one.

    Args:
        sound: `(channels, around + n + around)`; `around` is at least `longest` + 3.
        out: `(channels, n)`, what lies in the middle.
    """
    channels, width = sound.shape
    count = out.shape[1]
    limit = np.float32(CLIPPED)
    for channel in range(channels):
        row = sound[channel]
        for i in range(count):
            out[channel, i] = row[around + i]
        largest = np.float32(0)
        for sample in row:
            largest = max(largest, abs(sample))
        if largest < limit:
            continue
        i = 3
        while i < width - 3:
            if abs(row[i]) < limit:
                i += 1
                continue
            sign = np.float64(1 if row[i] > 0 else -1)
            first = i
            while i < width and row[i] * sign >= limit:
                i += 1
            run = i - first
            # One sample alone is a peak as any normalised sound has it.
            if run < 2 or run > longest or i + 2 > width:
                continue
            # Seen with the peak upwards, and as if the curve lay over 0..1.
            begin, end = sign * row[first - 1], sign * row[i]
            length = run + 1
            up = _slope(begin, sign * row[first - 2], sign * row[first - 3]) * length
            down = _slope(end, sign * row[i + 1], sign * row[min(i + 2, width - 1)]) * length
            # The curve rises above its ends by an eighth of both at its middle.
            steep = (up + down) / 8
            if steep > _HIGHEST:
                up, down = up * _HIGHEST / steep, down * _HIGHEST / steep
            for k in range(first, i):
                at = k - around
                if 0 <= at < count:
                    t = (k - first + 1) / length
                    r = 1 - t
                    value = (
                        r * r * (1 + 2 * t) * begin
                        + t * t * (1 + 2 * r) * end
                        + r * r * t * up
                        + t * t * r * down
                    )
                    out[channel, at] = sign * max(value, sign * row[k])
