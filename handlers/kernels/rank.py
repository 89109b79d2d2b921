"""Running medians."""

from __future__ import annotations

import numpy as np
from numba import types

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROWS, VECTOR, kernel

_LANES = 64


@kernel(types.void(ROWS, types.int64, OUT_ROWS), fast=VECTOR - {"ninf"})
def running_median(columns: Samples, width: int, out: Samples) -> None:
    """The median of every `width` neighbours down each column; `width` is odd.

    A column's neighbours are kept sorted. One leaves and one comes without a
    branch, so that 64 columns go through the processor's vector unit together:
    with `t` the sorted rest, the new value `n` makes position `i` the middle one
    of `t[i - 1]`, `t[i]` and `n`.

    Args:
        columns: float32, `(frames + width - 1, n)`.
        width: how many neighbours.
        out: float32, `(frames, n)`; `out[k]` is the median of `columns[k : k + width]`.
    """
    middle = width // 2
    ordered = np.empty((width + 1, _LANES), np.float32)
    gone = np.empty(_LANES, np.float32)
    new = np.zeros(_LANES, np.float32)
    rest = np.empty(_LANES, np.float32)
    for left in range(0, columns.shape[1], _LANES):
        lanes = min(_LANES, columns.shape[1] - left)
        ordered[:] = np.inf
        gone[:] = np.inf
        for at in range(columns.shape[0]):
            for lane in range(lanes):
                new[lane] = columns[at, left + lane]
            # While the first `width` come in, it is one of the infinities that leaves.
            if at >= width:
                for lane in range(lanes):
                    gone[lane] = columns[at - width, left + lane]
            rest[:] = -np.inf
            for i in range(width):
                for lane in range(_LANES):
                    here, above = ordered[i, lane], ordered[i + 1, lane]
                    kept = here if here < gone[lane] else above
                    low = new[lane] if new[lane] < kept else kept
                    ordered[i, lane] = rest[lane] if rest[lane] > low else low
                    rest[lane] = kept
            if at >= width - 1:
                for lane in range(lanes):
                    out[at - width + 1, left + lane] = ordered[middle, lane]
