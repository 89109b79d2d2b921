"""A room of comb and all-pass filters, in SoX's measures."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, kernel

#: Lengths at 44.1 kHz: no two share a factor, so that no echo piles up.
_COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
_ALL_PASSES = (225, 341, 441, 556)
#: How much longer and shorter, in turn, the filters of the right side are.
_APART = 12
_WET = 0.015
_DAMPING = 0.5 * 0.3 + 0.2

_LENGTHS = types.Array(types.int64, 1, "C")


class Room:
    """What one channel sounds like from one side of the room; goes on from block to block."""

    def __init__(self, rate: int, reverberance: float, room_scale: float, side: int) -> None:
        """`reverberance` and `room_scale` in percent; `side` is 0 for left, 1 for right.

        Source: Freeverb (Jezar at Dreampoint, public domain) with the measures of the
        `reverb` effect of SoX 14.4 (R. Sykes).
        """
        scale = room_scale / 100 * 0.9 + 0.1
        signs = np.resize((1, -1), len(_COMBS) + len(_ALL_PASSES)) * side * _APART
        sizes = np.array((*_COMBS, *_ALL_PASSES)) + signs
        scales = np.array([scale] * len(_COMBS) + [1.0] * len(_ALL_PASSES))
        self._sizes = np.maximum(1, (scales * rate / 44100 * sizes + 0.5).astype(np.int64))
        self._lines = np.zeros((len(self._sizes), int(self._sizes.max())), np.float32)
        self._places = np.zeros(len(self._sizes), np.int64)
        self._stores = np.zeros(len(_COMBS), np.float32)
        lowest = -1 / math.log(1 - 0.3)
        highest = 100 / (math.log(1 - 0.98) * lowest + 1)
        self._feedback = 1 - math.exp((reverberance - highest) / (lowest * highest))

    def heard(self, row: Samples) -> Samples:
        """What comes back of the next samples."""
        out = np.empty_like(row)
        echo(
            row, self._sizes, self._lines, self._places, self._stores, self._feedback, _DAMPING,
            _WET, out,
        )  # fmt: skip
        return out


@kernel(
    types.void(
        ROW, _LENGTHS, OUT_ROWS, _LENGTHS, OUT_ROW, types.float32, types.float32, types.float32,
        OUT_ROW,
    )
)  # fmt: skip
def echo(
    row: Samples,
    sizes: NDArray[np.int64],
    lines: Samples,
    places: NDArray[np.int64],
    stores: Samples,
    feedback: float,
    damping: float,
    gain: float,
    out: Samples,
) -> None:
    """Comb filters side by side, then all-passes one after another.

    Filter by filter over the block: a filter's line stays in the cache.

    Args:
        row: `(n,)`.
        sizes: of the delay lines, as many combs as there are `stores`, then all-passes.
        lines: the delay lines; changed.
        places: where each is; changed.
        stores: the combs' low-pass filters; changed.
        feedback, damping, gain: of the combs, of their low-pass, of the result.
        out: `(n,)`.
    """
    out[:] = 0
    for k in range(stores.size):
        size, place, store = sizes[k], places[k], stores[k]
        for i in range(row.size):
            value = lines[k, place]
            store = value + (store - value) * damping
            lines[k, place] = row[i] + store * feedback
            place = place + 1 if place + 1 < size else 0
            out[i] += value
        places[k] = place
        # A tail that rings out would sink into denormal numbers.
        stores[k] = store if abs(store) > 1e-20 else np.float32(0)
    for k in range(stores.size, sizes.size):
        size, place = sizes[k], places[k]
        for i in range(row.size):
            value = lines[k, place]
            lines[k, place] = out[i] + value * np.float32(0.5)
            place = place + 1 if place + 1 < size else 0
            out[i] = value - out[i]
        places[k] = place
    for i in range(row.size):
        out[i] *= gain
