"""The inner loops of beat tracking: the best series of beats, the best series of bars."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import ROW, VECTOR, kernel

_COUNTS = types.Array(types.int64, 1, "C", readonly=True)
_OUT_COUNTS = types.Array(types.int64, 1, "C")
_OUT_STEPS = types.Array(types.int8, 2, "C")

_NEVER = -1e30
#: Periods that are compared side by side.
_WIDE = 8
#: The tempo may change by so many frames of period from beat to beat.
_STEPS = 4
#: Instead of a step: no beat came before; one of quite another period came before.
_BEGINS, _LEAPS = 127, 126
#: What it costs to go on at quite another tempo (the next song): some beats' worth.
_LEAP = 20.0


@kernel(
    types.int64(ROW, _COUNTS, _COUNTS, types.int64, types.float64, _OUT_STEPS, _OUT_COUNTS),
    fast=VECTOR,
)
def best_beats(
    strength: Samples,
    shortest: NDArray[np.int64],
    longest: NDArray[np.int64],
    floor: int,
    steadiness: float,
    steps: NDArray[np.int8],
    beats: NDArray[np.int64],
) -> int:
    """The series of beats whose strengths, less what changes of tempo cost, add up to most.

    A beat knows the period that led to it; from one to the next the period `p` may
    become `q` at the cost `steadiness * log(p / q) ** 2`, a quarter of that where they
    are neighbours (the true period lies between two frames), or any other at a fixed one.

    Args:
        strength: of a beat at each frame.
        shortest, longest: periods (frames) that are allowed at each frame.
        floor: the shortest period of all, at least 1.
        steadiness: see above.
        steps: room for `(frames, most periods at one frame)`.
        beats: receives the frames of the beats, at its end.

    Returns:
        the number of beats.
    """
    frames = strength.size
    top = longest.max()
    # A few periods too many, that no frame allows: what is left over of a core's width is slow.
    width = (top - floor + _WIDE) // _WIDE * _WIDE
    ring = top + 1
    logs = np.empty(width + 2 * _STEPS, np.float32)
    for i in range(logs.size):
        logs[i] = math.log(max(floor + i - _STEPS, 1))
    far = np.float32(steadiness)
    # Scores of beats at one frame, with nothing on either side; and for each frame that can
    # still be the beat before, the best score to go on from with each period, and its step.
    score = np.full(width + 2 * _STEPS, np.float32(_NEVER), np.float32)
    onward = np.full((ring, width), np.float32(_NEVER), np.float32)
    came = np.zeros((ring, width), np.float32)
    last = np.full((ring, width), np.float32(_NEVER), np.float32)
    # The best beat of any period at these frames, and its period.
    leading = np.full(ring, np.float32(_NEVER), np.float32)
    leader = np.empty(frames, np.int16)
    row = 0
    for t in range(frames):
        score[:] = _NEVER
        here_strength, first = strength[t], shortest[t]
        for period in range(first, longest[t] + 1):
            i = period - floor
            if t < period:
                score[_STEPS + i] = here_strength
                steps[t, period - first] = _BEGINS
                continue
            from_row = row - period
            from_row = from_row + ring if from_row < 0 else from_row
            leap = leading[from_row] - np.float32(_LEAP)
            go = onward[from_row, i]
            step = came[from_row, i]
            score[_STEPS + i] = here_strength + max(go, leap)
            steps[t, period - first] = np.int8(step if go > leap else np.float32(_LEAPS))
        here, step_here = onward[row], came[row]
        for i in range(width):
            # Unrolled by the compiler, so that neighbouring periods are compared side by side.
            best, step = np.float32(_NEVER), np.float32(0)
            for k in range(2 * _STEPS + 1):
                change = logs[i + k] - logs[i + _STEPS]
                weight = far if abs(k - _STEPS) > 1 else np.float32(0.25) * far
                value = score[i + k] - weight * change * change
                step = np.float32(k - _STEPS) if value > best else step
                best = max(value, best)
            here[i], step_here[i] = best, step
        last_row, top_score = last[row], np.float32(_NEVER)
        for i in range(width):
            last_row[i] = score[i + _STEPS]
            top_score = max(top_score, score[i + _STEPS])
        lead = 0
        while lead < width - 1 and last_row[lead] < top_score:
            lead += 1
        leading[row] = top_score
        leader[t] = floor + lead
        row = row + 1 if row + 1 < ring else 0
    end, at, period = np.float32(_NEVER), -1, 0
    for t in range(max(0, frames - top), frames):
        for p in range(shortest[t], longest[t] + 1):
            # The last beat is less than a period before the end.
            if t + p >= frames and last[t % ring, p - floor] > end:
                end, at, period = last[t % ring, p - floor], t, p
    count = 0
    while at >= 0:
        count += 1
        beats[beats.size - count] = at
        step = steps[at, period - shortest[at]]
        at -= period
        if step == _BEGINS:
            break
        period = int(leader[at]) if step == _LEAPS else period + step
    return count


@kernel(types.void(ROW, types.int64, types.float64, _OUT_COUNTS))
def best_bars(downbeat: Samples, length: int, switch: float, place: NDArray[np.int64]) -> None:
    """The place of each beat in bars of `length` beats, counted from 0.

    Args:
        downbeat: how much rather each beat is a downbeat than not (log-odds).
        length: beats per bar.
        switch: what it costs to count wrongly once.
        place: receives the places.
    """
    beats = downbeat.size
    score = np.zeros(length)
    back = np.zeros((beats, length), np.int8)
    for b in range(beats):
        fresh = np.empty(length)
        jump = int(score.argmax())
        for k in range(length):
            before = (k - 1) % length
            back[b, k] = before
            fresh[k] = score[before]
            if b and score[jump] - switch > fresh[k]:
                fresh[k] = score[jump] - switch
                back[b, k] = jump
            if k == 0:
                fresh[k] += downbeat[b]
        score = fresh
    k = int(score.argmax())
    for b in range(beats - 1, -1, -1):
        place[b] = k
        k = int(back[b, k])
