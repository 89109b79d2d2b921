"""Where the parts of a piece begin, told by what returns and when it stops returning."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, ROWS, TABLE, VECTOR, kernel

_COUNTS = types.Array(types.int32, 1, "C")


@kernel(types.void(ROWS, types.int64, types.int64, OUT_ROW), fast=VECTOR)
def breaks(likeness: Samples, width: int, loop: int, out: Samples) -> None:
    """How much a return begins or stops at each bar: the largest change over all distances.

    A short loop is like itself later on at first, and like itself before at last; where the
    one gives way to the other, in its middle, nothing begins.

    Args:
        likeness: `(bars, bars)`, 0 to 1.
        width: bars before and after that are compared, fewer at the ends.
        loop: bars of the longest loop that is no part of its own.
        out: `(bars,)`; `out[i]` is about the border before bar `i`; the first is 0.

    Source: J. Serrà, M. Müller, P. Grosche and J. L. Arcos, "Unsupervised music structure
    annotation by time series structure features and segment similarity", IEEE Transactions
    on Multimedia 16(5), 2014: novelty of rows of the time-lag matrix, here their largest
    difference, so that one long return counts and many chance likenesses do not.
    """
    bars = likeness.shape[0]
    out[:] = 0
    later = np.empty(bars, np.float32)
    earlier = np.empty(bars, np.float32)
    for lag in range(1, bars):
        for bar in range(bars):
            later[bar] = likeness[bar, bar + lag] if bar + lag < bars else 0
            earlier[bar] = likeness[bar, bar - lag] if bar >= lag else 0
        for border in range(1, bars):
            low, high = max(0, border - width), min(bars, border + width)
            rise_later = np.float32(0)
            rise_earlier = np.float32(0)
            rise_either = np.float32(0)
            for bar in range(low, border):
                share = np.float32(1) / (border - low)
                rise_later -= later[bar] * share
                rise_earlier -= earlier[bar] * share
                rise_either -= max(later[bar], earlier[bar]) * share
            for bar in range(border, high):
                share = np.float32(1) / (high - border)
                rise_later += later[bar] * share
                rise_earlier += earlier[bar] * share
                rise_either += max(later[bar], earlier[bar]) * share
            change = max(abs(rise_later), abs(rise_earlier))
            if lag <= loop and rise_later < 0 < rise_earlier:
                change = abs(rise_either)
            out[border] = max(out[border], change)


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
