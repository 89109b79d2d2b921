"""Where the parts of a piece begin, told by what returns and when it stops returning."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, ROWS, TABLE, VECTOR, kernel

_COUNTS = types.Array(types.int32, 1, "C")


@kernel(types.void(ROWS, types.int64, OUT_ROW), fast=VECTOR)
def breaks(likeness: Samples, width: int, out: Samples) -> None:
    """How much a return begins or stops at each bar: the largest change over all distances.

    Args:
        likeness: `(bars, bars)`, 0 to 1.
        width: bars before and after that are compared, fewer at the ends.
        out: `(bars,)`; `out[i]` is about the border before bar `i`; the first is 0.

    Source: J. Serrà, M. Müller, P. Grosche and J. L. Arcos, "Unsupervised music structure
    annotation by time series structure features and segment similarity", IEEE Transactions
    on Multimedia 16(5), 2014: novelty of rows of the time-lag matrix, here their largest
    difference, so that one long return counts and many chance likenesses do not.
    """
    bars = likeness.shape[0]
    out[0] = 0
    for border in range(1, bars):
        low, high = max(0, border - width), min(bars, border + width)
        largest = np.float32(0)
        for lag in range(1 - bars, bars):
            if lag == 0:
                continue
            before = np.float32(0)
            after = np.float32(0)
            for bar in range(low, border):
                if 0 <= bar + lag < bars:
                    before += likeness[bar, bar + lag]
            for bar in range(border, high):
                if 0 <= bar + lag < bars:
                    after += likeness[bar, bar + lag]
            change = abs(before / (border - low) - after / (high - border))
            largest = max(largest, change)
        out[border] = largest


@kernel(types.void(TABLE, TABLE, types.int64, TABLE, _COUNTS))
def best_borders(
    gain: NDArray[np.float64], cost: NDArray[np.float64], least: int, price: NDArray[np.float64],
    borders: NDArray[np.int32],
) -> None:  # fmt: skip
    """The borders whose gains, less what the lengths between them cost, add up to the most.

    Args:
        gain: `(bars,)`, of a border before each bar.
        cost: `(bars + 1,)`, of a part of each length.
        least: bars of the shortest part.
        price: `(most,)`, taken off for 1, 2, ... parts; infinite where that is not wanted.
        borders: `(most + 1,)`, the result: 0, the first bar of each further part, then the
            number of bars; -1 fills what is left.
    """
    bars = gain.shape[0]
    most = price.shape[0]
    best = np.full((most + 1, bars + 1), -np.inf)
    came = np.zeros((most + 1, bars + 1), np.int32)
    best[0, 0] = 0.0
    for parts in range(1, most + 1):
        for end in range(parts * least, bars + 1):
            for start in range((parts - 1) * least, end - least + 1):
                before = best[parts - 1, start]
                if before == -np.inf:
                    continue
                # The last part ends where the sound does, not where a phrase is complete.
                value = before if end == bars else before + gain[end] - cost[end - start]
                if value > best[parts, end]:
                    best[parts, end] = value
                    came[parts, end] = start
    count = 0
    highest = -np.inf
    for parts in range(1, most + 1):
        value = best[parts, bars] - price[parts - 1]
        if value > highest:
            highest, count = value, parts
    borders[:] = -1
    at = bars
    for parts in range(count, 0, -1):
        borders[parts] = at
        at = came[parts, at]
    borders[0] = 0
