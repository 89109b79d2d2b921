"""Likeliest paths through states that change now and then (Viterbi).

Source: A. J. Viterbi, IEEE Transactions on Information Theory 13(2), 1967.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import ROW, ROWS, STATE, kernel

_BACK = types.Array(types.int16, 2, "C")
_BACK_READ = types.Array(types.int16, 2, "C", readonly=True)
_PATH = types.Array(types.int32, 1, "C")


@kernel(types.void(ROWS, ROW, STATE, _BACK))
def advance(
    scores: Samples, change: Samples, best: NDArray[np.float64], back: NDArray[np.int16]
) -> None:
    """Go on through frames in which a change from any state to any other costs the same.

    Args:
        scores: `(frames, states)`, logarithms.
        change: `(frames,)`, the cost of arriving there with another state than before.
        best: `(states,)`, the score of the best path that ends in each; 0 at first; changed.
        back: `(frames, states)`, where the best path to each state came from; written.
    """
    for frame in range(scores.shape[0]):
        top = 0
        for state in range(1, best.shape[0]):
            if best[state] > best[top]:
                top = state
        highest = best[top]
        changed = highest - change[frame]
        for state in range(best.shape[0]):
            if best[state] >= changed:
                back[frame, state] = state
                reached = best[state]
            else:
                back[frame, state] = top
                reached = changed
            # Only differences matter; so the numbers stay small on a sound of any length.
            best[state] = reached - highest + scores[frame, state]


@kernel(types.void(_BACK_READ, types.int64, _PATH))
def trace(back: NDArray[np.int16], last: int, path: NDArray[np.int32]) -> None:
    """Follow `back` from state `last` in the last frame to the first; `path` is `(frames,)`."""
    state = last
    for frame in range(back.shape[0] - 1, -1, -1):
        path[frame] = state
        state = back[frame, state]
