"""A compander: a level follower, and a curve that says what to do at each level."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROWS, STATE, TABLES, kernel

Pieces = NDArray[np.float64]
"""float64, `(n, 4)`: where a piece begins (natural logarithm of the level), the gain there (the
same), and how the gain bends and climbs after it: `gain + x (climb + bend x)`."""


def transfer_curve(points: list[tuple[float, float]], knee_db: float) -> Pieces:
    """The pieces of a curve through `(in, out)` points in dB, its corners rounded.

    Below the first point the gain stays what it is there; the curve ends at 0 dB in.

    Args:
        points: rising in their first number, none above 0 dB.
        knee_db: radius of the rounding.

    Source: the `compand` effect of SoX 14.4 (R. Sykes), whose curve this is.
    """
    to_log = math.log(10) / 20
    corners = [(x, y - x) for x, y in points]
    if corners[-1][0] != 0:
        corners.append((0.0, 0.0))
    corners.insert(0, (corners[0][0] - 2 * knee_db, corners[0][1]))
    straight: list[tuple[float, float]] = []
    for corner in corners:
        # A corner on the line between its neighbours is none.
        if len(straight) > 1 and _on_one_line(straight[-2], straight[-1], corner):
            straight.pop()
        straight.append(corner)
    line = [(x * to_log, y * to_log) for x, y in straight]
    radius = knee_db * to_log
    pieces: list[tuple[float, float, float, float]] = []
    start = line[0]
    for corner, end in pairwise(line[1:]):
        before = _towards(corner, start, radius, 1.0)
        after = _towards(corner, end, radius, 0.5)
        climb = (corner[1] - start[1]) / (corner[0] - start[0])
        pieces.append((*start, 0.0, climb))
        middle = tuple((a + b + c) / 3 for a, b, c in zip(before, corner, after, strict=True))
        x1, y1 = middle[0] - before[0], middle[1] - before[1]
        x2, y2 = after[0] - before[0], after[1] - before[1]
        bend = (y2 / x2 - y1 / x1) / (x2 - x1)
        pieces.append((*before, bend, y1 / x1 - bend * x1))
        start = after
    end = line[-1]
    pieces.append((*start, 0.0, (end[1] - start[1]) / (end[0] - start[0])))
    pieces.append((*end, 0.0, 0.0))
    return np.array(pieces)


def _on_one_line(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - b[0]) == (c[1] - b[1]) * (b[0] - a[0])


def _towards(
    corner: tuple[float, float], other: tuple[float, float], radius: float, share: float
) -> tuple[float, float]:
    """The point `radius` from a corner, at most `share` of the way to the next one."""
    x, y = other[0] - corner[0], other[1] - corner[1]
    length = math.hypot(x, y)
    far = min(radius, share * length) / length
    return corner[0] + far * x, corner[1] + far * y


@kernel(types.void(ROWS, TABLES, types.float64, types.float64, STATE, OUT_ROWS))
def compand(
    block: Samples, pieces: Pieces, attack: float, decay: float, level: NDArray[np.float64],
    out: Samples,
) -> None:  # fmt: skip
    """Turn all channels by what the curve says to the level of the loudest.

    Args:
        block: `(channels, n)`.
        pieces: of `transfer_curve`.
        attack, decay: share of the way to a higher or lower level that is gone per sample.
        level: `(1,)`, linear; changed.
        out: as `block`.
    """
    channels, frames = block.shape
    heard = level[0]
    lowest = math.exp(pieces[1, 0])
    below = math.exp(pieces[1, 1])
    last = pieces.shape[0] - 1
    for i in range(frames):
        loudest = 0.0
        for channel in range(channels):
            loudest = max(loudest, abs(np.float64(block[channel, i])))
        apart = loudest - heard
        heard += apart * (attack if apart > 0 else decay)
        gain = below
        if heard > lowest:
            at = math.log(heard)
            k = 1
            while k < last and at > pieces[k + 1, 0]:
                k += 1
            x = at - pieces[k, 0]
            gain = math.exp(pieces[k, 1] + x * (pieces[k, 2] * x + pieces[k, 3]))
        for channel in range(channels):
            out[channel, i] = block[channel, i] * gain
    level[0] = heard
