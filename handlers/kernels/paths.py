"""Likeliest paths through states that change now and then (Viterbi)."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import ROW, ROWS, kernel

_PATH = types.Array(types.int32, 1, "C")


@kernel(types.void(ROWS, ROW, ROWS, _PATH))
def steady_path(
    scores: Samples, change: Samples, moves: Samples, path: NDArray[np.int32]
) -> None:
    """The states whose scores add up to the most, where every change costs.

    Args:
        scores: `(frames, states)`, logarithms.
        change: `(frames,)`, what it costs to arrive at a frame with another state than before.
        moves: `(states, states)`, what is added for a change from one to another; its
            diagonal is not looked at.
        path: `(frames,)`, the result.

    Source: A. J. Viterbi, IEEE Transactions on Information Theory 13(2), 1967.
    """
    frames, states = scores.shape
    if frames == 0:
        return
    best = scores[0].astype(np.float64)
    after = np.empty(states)
    back = np.empty((frames, states), np.int16)
    for frame in range(1, frames):
        cost = change[frame]
        for state in range(states):
            value = best[state]
            came = state
            for other in range(states):
                if other != state:
                    reached = best[other] + moves[other, state] - cost
                    if reached > value:
                        value, came = reached, other
            after[state] = value + scores[frame, state]
            back[frame, state] = came
        best[:] = after
    state = int(np.argmax(best))
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        if frame:
            state = back[frame, state]
