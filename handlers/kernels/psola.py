"""Another pitch for a single voice: its periods set closer together or further apart.

Source: TD-PSOLA, E. Moulines and F. Charpentier, "Pitch-synchronous waveform
processing techniques for text-to-speech synthesis using diphones", Speech
Communication 9, 1990. Each period keeps its shape, so formants stay where they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, ROWS, STATES, TABLES, VECTOR, kernel

TAPS = 16
PHASES = 512
#: How far from where it is expected the next period is looked for, as a share of its length.
_SEARCH = 0.06

_INT = types.int64
_REAL = types.float64


def between_samples() -> Samples:
    """Kaiser-windowed sincs that read a sound between its samples, `(PHASES + 1, TAPS)`."""
    at = np.arange(TAPS)[None, :] - (TAPS // 2 - 1) - np.arange(PHASES + 1)[:, None] / PHASES
    inside = np.sqrt(np.maximum(0, 1 - (at / (TAPS / 2)) ** 2))
    made = np.sinc(at) * np.i0(8.0 * inside) / np.i0(8.0)
    return np.asarray(made / made.sum(axis=1, keepdims=True), np.float32)


@njit(nogil=True, inline="always")
def _at(values: Samples, place: float) -> float:
    """A value between two of a curve's points."""
    low = min(max(int(place), 0), values.shape[0] - 1)
    high = min(low + 1, values.shape[0] - 1)
    share = min(max(place - low, 0.0), 1.0)
    return float(values[low] + share * (values[high] - values[low]))


@njit(nogil=True, fastmath=set(VECTOR))
def _step(mono: Samples, at: int, length: int, reach: int) -> float:
    """How far from `at` the period after it lies, about `length`: where both are most alike."""
    if at - length < 0 or at + 2 * length + reach + 1 >= mono.shape[0]:
        return float(length)
    best = np.float32(-np.inf)
    likes = np.zeros(2 * reach + 1, np.float32)
    found = reach
    for shift in range(-reach, reach + 1):
        other = at + length + shift
        total = np.float32(0)
        square = np.float32(1e-12)
        for i in range(-length, length):
            total += mono[at + i] * mono[other + i]
            square += mono[other + i] * mono[other + i]
        like = total / np.sqrt(square)
        likes[shift + reach] = like
        if like > best:
            best, found = like, shift + reach
    place = float(found)
    if 0 < found < 2 * reach:
        bend = likes[found - 1] - 2 * likes[found] + likes[found + 1]
        if bend < 0:
            place += 0.5 * (likes[found - 1] - likes[found + 1]) / bend
    return length + place - reach


@kernel(types.int64(ROW, _INT, ROW, ROW, _REAL, _REAL, _REAL, _INT, STATES))
def mark(
    mono: Samples, start: int, periods: Samples, ratios: Samples, frame: float, first: float,
    until: float, count: int, marks: NDArray[np.float64],
) -> int:  # fmt: skip
    """Go on through a voiced stretch, period by period, in the sound and in the result.

    Args:
        mono: what is in hand; its first sample is number `start` of the sound.
        periods, ratios: by frame: samples of the sound, and new over old pitch.
        frame, first: samples from one frame to the next; where frame 0 lies.
        until: go as far as this in the result.
        count: rows of `marks` that are filled, one at least; the last one is gone on from.
        marks: `(n, 3)`: a period's middle in the sound, its middle in the result, its length.

    Returns:
        Rows that are filled then.
    """
    heard, placed = marks[count - 1, 0], marks[count - 1, 1]
    while placed < until and count < marks.shape[0]:
        place = (placed - first) / frame
        placed += _at(periods, place) / _at(ratios, place)
        while True:
            length = _at(periods, (heard - first) / frame)
            # Of two periods the nearer one.
            if heard + 0.5 * length > placed:
                break
            whole = int(length + 0.5)
            middle = int(heard + 0.5) - start
            heard += _step(mono, middle, whole, max(1, int(_SEARCH * whole)))
        marks[count, 0], marks[count, 1], marks[count, 2] = heard, placed, length
        count += 1
    return count


@kernel(types.void(ROWS, _INT, TABLES, ROWS, _INT, OUT_ROWS, OUT_ROW), fast=VECTOR)
def overlay(
    sound: Samples, start: int, marks: NDArray[np.float64], sincs: Samples, begin: int,
    out: Samples, weight: Samples,
) -> None:  # fmt: skip
    """Add up periods at their new places.

    Args:
        sound: `(channels, n)`, what is in hand; its first sample is number `start`.
        marks: `(count, 3)`, as `mark` makes them.
        sincs: of `between_samples`.
        begin: number of the first sample of `out`.
        out: `(channels, m)`, added to.
        weight: `(m,)`, added to: what the windows add up to.
    """
    taps = np.empty(TAPS, np.float32)
    for k in range(marks.shape[0]):
        heard, placed, length = marks[k, 0], marks[k, 1], marks[k, 2]
        low = max(int(np.ceil(placed - length)), begin)
        high = min(int(np.floor(placed + length)), begin + out.shape[1] - 1)
        moved = heard - placed
        whole = int(np.floor(moved))
        phase = (moved - whole) * PHASES
        row = int(phase)
        share = np.float32(phase - row)
        for tap in range(TAPS):
            taps[tap] = sincs[row, tap] + share * (sincs[row + 1, tap] - sincs[row, tap])
        for n in range(low, high + 1):
            at = n + whole - (TAPS // 2 - 1) - start
            if at < 0 or at + TAPS > sound.shape[1]:
                continue
            w = np.float32(0.5 + 0.5 * np.cos(np.pi * (n - placed) / length))
            weight[n - begin] += w
            for channel in range(sound.shape[0]):
                total = np.float32(0)
                for tap in range(TAPS):
                    total += taps[tap] * sound[channel, at + tap]
                out[channel, n - begin] += w * total
