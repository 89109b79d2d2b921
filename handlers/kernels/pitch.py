"""The pitch of single tones, frame by frame."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROW, ROWS, kernel

CANDIDATES = 6
"""Pitches that a frame may have at most."""

#: Least chances of there being no pitch, and of a candidate.
_RAREST, _LEAST = 0.02, 1e-6
_PATH = types.Array(types.int16, 1, "C")
_FLAGS = types.Array(types.boolean, 1, "C")


@kernel(types.void(ROWS, ROWS, types.int64, types.int64, types.float64, OUT_ROWS, OUT_ROWS))
def candidates(
    frames: Samples, correlation: Samples, window: int, shortest: int, rate: float,
    hertz: Samples, chance: Samples,
) -> None:  # fmt: skip
    """Pitches that each frame may have, and how probable each is.

    Args:
        frames: `(n, window + longest + 1)` samples.
        correlation: `(n, longest + 1)`, of the first `window` samples with those later by each lag.
        window: samples that are compared with later ones.
        shortest: smallest lag that counts; the largest is the last of `correlation`.
        rate: samples per second.
        hertz, chance: `(n, CANDIDATES)`, the results; 0 where there are no more.

    Source: A. de Cheveigné and H. Kawahara, "YIN", JASA 111(4), 2002 (the normalised
    difference, steps 2, 3 and 5); M. Mauch and S. Dixon, "pYIN", ICASSP 2014: instead of one
    threshold a distribution of them, Beta(2, 18), here summed in closed form.
    """
    lags = correlation.shape[1]
    normal = np.empty(lags)
    for n in range(frames.shape[0]):
        row = frames[n]
        first = 0.0
        for i in range(window):
            first += np.float64(row[i]) * row[i]
        hertz[n] = 0
        chance[n] = 0
        if first <= window * 1e-12:
            continue
        later = first
        total = 0.0
        normal[0] = 1.0
        for lag in range(1, lags):
            gone, come = np.float64(row[lag - 1]), np.float64(row[lag - 1 + window])
            later += come * come - gone * gone
            apart = max(first + later - 2 * correlation[n, lag], 0.0)
            total += apart
            normal[lag] = apart * lag / total if total > 0 else 1.0
        found = 0
        # Share of the thresholds that no earlier minimum has passed.
        left = 1.0
        lowest = 2.0
        for lag in range(max(2, shortest), lags - 1):
            here = normal[lag]
            if here >= 1 or here > normal[lag - 1] or here >= normal[lag + 1]:
                continue
            if here >= lowest:
                continue
            lowest = here
            a, c = normal[lag - 1], normal[lag + 1]
            bend = a - 2 * here + c
            place = lag + (0.5 * (a - c) / bend if bend > 0 else 0.0)
            passed = (1 - here) ** 18 * (1 + 18 * here)
            share = passed - (1 - left)
            if share <= 1e-5:
                continue
            left -= share
            if found == CANDIDATES:
                # The least probable makes room.
                least = 0
                for k in range(1, CANDIDATES):
                    if chance[n, k] < chance[n, least]:
                        least = k
                if chance[n, least] >= share:
                    continue
                hertz[n, least], chance[n, least] = rate / place, share
            else:
                hertz[n, found], chance[n, found] = rate / place, share
                found += 1


@kernel(types.void(ROWS, ROWS, types.float64, types.float64, _PATH))
def pitch_path(
    hertz: Samples, chance: Samples, leap: float, switch: float, path: NDArray[np.int16]
) -> None:
    """The likeliest sequence of candidates, or of none of them (-1).

    Args:
        hertz, chance: of `candidates`, `(frames, CANDIDATES)`.
        leap: cost of an octave from one frame to the next.
        switch: cost of beginning or ending a tone.
        path: `(frames,)`, the result.

    Source: dynamic programming as in D. Talkin, "A robust algorithm for pitch tracking
    (RAPT)", in Speech Coding and Synthesis, 1995.
    """
    frames, count = hertz.shape
    states = count + 1
    best = np.zeros(states)
    after = np.zeros(states)
    back = np.zeros((frames, states), np.int8)
    place = np.zeros(count)
    before = np.zeros(count)
    for n in range(frames):
        sure = 0.0
        for k in range(count):
            sure += chance[n, k]
            place[k] = np.log2(hertz[n, k]) if hertz[n, k] > 0 else 0.0
        for state in range(states):
            if state < count and hertz[n, state] <= 0:
                after[state] = -np.inf
                continue
            top = -np.inf
            for other in range(states):
                if n == 0:
                    value = 0.0
                elif other < count and hertz[n - 1, other] <= 0:
                    continue
                elif state == count or other == count:
                    value = best[other] - (0.0 if state == other else switch)
                else:
                    apart = abs(place[state] - before[other])
                    # A leap costs no more than to end a tone and begin another.
                    value = best[other] - min(leap * apart, 2 * switch)
                if value > top:
                    top = value
                    back[n, state] = other
            if state == count:
                after[state] = top + np.log(max(1 - sure, _RAREST))
            else:
                after[state] = top + np.log(max(np.float64(chance[n, state]), _LEAST))
        best[:] = after
        before[:] = place
    if frames == 0:
        return
    state = int(np.argmax(best))
    for n in range(frames - 1, -1, -1):
        path[n] = state if state < count else -1
        state = back[n, state]


@kernel(
    types.void(ROW, types.int64, types.float64, types.float64, types.float64, types.float64, _FLAGS)
)
def held(
    level_db: Samples, span: int, falls: float, below: float, rises: float, range_db: float,
    tone: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Whether a tone is held at each frame, or only rings on, told by its level.

    A tone that is let go, or damped, falls faster than one that dies away by itself. It
    counts again when its level has risen.

    Args:
        level_db: `(frames,)`.
        span: frames over which a fall is looked at.
        falls, below: a tone ends that has fallen so much within the span, in dB, and is so
            far below its peak.
        rises: above the lowest level since then, a tone begins.
        range_db: what is so far below the loudest frame is no tone.
        tone: `(frames,)`, the result.
    """
    loudest = -1e9
    for n in range(level_db.shape[0]):
        loudest = max(loudest, level_db[n])
    least = loudest - range_db
    on = False
    peak = lowest = -1e9
    for n in range(level_db.shape[0]):
        here = level_db[n]
        if on:
            peak = max(peak, here)
            fell = level_db[max(0, n - span)] - here
            if (fell > falls and here < peak - below) or here < least:
                on, lowest = False, here
        else:
            lowest = min(lowest, here)
            if here > lowest + rises and here >= least:
                on, peak = True, here
        tone[n] = on
