"""Stretches of a sound in which samples reach a threshold."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import ROW, ROWS, STATE, STATES, kernel


@kernel(types.int64(ROWS, types.float64, types.int64, STATE, STATES))
def loud_runs(
    sound: Samples,
    threshold: float,
    gap: int,
    state: NDArray[np.float64],
    ended: NDArray[np.float64],
) -> int:
    """Find where any channel reaches the threshold; runs closer than `gap` frames are one.

    Args:
        sound: the next block, `(channels, n)`.
        threshold: the least magnitude that counts.
        gap: frames between two runs, at least 1.
        state: frames before this block, and first and last frame of the run that
            may go on, -1 without one; starts as `(0, -1, -1)`.
        ended: `(n // (gap + 1) + 1, 2)` or more rows; filled with first and last
            frame of each run that is over.

    Returns:
        How many runs are over.
    """
    count = 0
    before, first, last = int(state[0]), int(state[1]), int(state[2])
    for i in range(sound.shape[1]):
        loud = False
        for channel in range(sound.shape[0]):
            if abs(sound[channel, i]) >= threshold:
                loud = True
                break
        if loud:
            at = before + i
            if first < 0:
                first = at
            elif at - last > gap:
                ended[count, 0] = first
                ended[count, 1] = last
                count += 1
                first = at
            last = at
    state[0] = before + sound.shape[1]
    state[1] = first
    state[2] = last
    return count


#: What `places` knows of a place: first and last frame, samples that reach the threshold, how
#: many of them at most are next to each other, and the largest magnitude.
FIRST, LAST, SAMPLES, LONGEST, PEAK = range(5)


@kernel(types.int64(ROW, types.float64, types.int64, types.int64, STATE, STATES))
def places(
    row: Samples,
    threshold: float,
    gap: int,
    before: int,
    state: NDArray[np.float64],
    ended: NDArray[np.float64],
) -> int:
    """Find where one channel reaches the threshold; what is closer than `gap` frames is one place.

    Args:
        row: the next samples.
        threshold: the least magnitude that counts.
        gap: frames between two places, at least 1.
        before: frames before these.
        state: the place that may go on, as `FIRST` to `PEAK` say, and the length
            of its last run; starts as zeros.
        ended: `(n // (gap + 1) + 1, 5)` or more rows; filled with each place that is over.

    Returns:
        How many places are over.
    """
    count = 0
    for i in range(row.size):
        size = abs(row[i])
        if size < threshold:
            continue
        at = before + i
        if state[SAMPLES] > 0 and at - state[LAST] > gap:
            for what in range(5):
                ended[count, what] = state[what]
            count += 1
            state[SAMPLES] = 0
        if state[SAMPLES] == 0:
            state[:] = 0
            state[FIRST] = at
        run = state[5] + 1 if at == state[LAST] + 1 else 1.0
        state[5] = run
        state[LAST] = at
        state[SAMPLES] += 1
        state[LONGEST] = max(state[LONGEST], run)
        state[PEAK] = max(state[PEAK], np.float64(size))
    return count
