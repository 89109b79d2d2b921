"""Stretches of whole bars after which the music could go on where they began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.listening.color import CHROMA_RATE, TIMBRE_RATE
from handlers.listening.rhythm import Pulse

#: Bars; longer loops are not looked for, nor starts beyond the first so many bars.
_LONGEST, _STARTS = 128, 4096
#: Frames at which harmony and timbre are compared, per beat.
_PARTS = 2
#: Of equally good loops the one of 4, 8, 16 ... bars.
_ROUND = 0.01


@dataclass(frozen=True)
class Loop:
    """From second to second, so many bars, how much alike its ends are (0 to 1)."""

    start: float
    end: float
    bars: int
    score: float


def loops(
    pulse: Pulse, chroma: Samples, timbre: Samples, duration: float, least: int, most: int
) -> list[Loop]:
    """At most `most` loops of `least` bars or more, best first, no two nearly the same."""
    downbeats = pulse.downbeats
    bars = len(downbeats) - 1
    if bars < least:
        return []
    alike = _bars(downbeats, chroma, timbre)
    found: list[tuple[float, float, int, int]] = []
    for length in range(least, min(bars, _LONGEST) + 1):
        starts = np.arange(min(bars - length + 1, _STARTS))
        ends = starts + length
        # What comes after the end is what comes after the start; likewise what comes before.
        after = _likeness(alike, starts, ends)
        before = _likeness(alike, starts - 1, ends - 1)
        one = np.where(np.isnan(after), before, after)
        other = np.where(np.isnan(before), after, before)
        score = np.nan_to_num((one + other) / 2)
        ranked = score + _ROUND * (length & (length - 1) == 0)
        # The best few of each length are enough: no more are offered in all.
        best = np.argsort(-ranked, kind="stable")[:most].tolist()
        found += [(float(ranked[i]), float(score[i]), int(starts[i]), length) for i in best]
    found.sort(key=lambda entry: (-entry[0], entry[3], entry[2]))
    kept: list[Loop] = []
    taken: list[tuple[int, int]] = []
    for _, score_of, start, length in found:
        if all(abs(start - s) + abs(start + length - e) > 1 for s, e in taken):
            taken.append((start, start + length))
            end = min(float(downbeats[start + length]), duration)
            kept.append(Loop(float(downbeats[start]), end, length, min(max(score_of, 0.0), 1.0)))
        if len(kept) == most:
            break
    return kept


def _bars(downbeats: NDArray[np.float64], chroma: Samples, timbre: Samples) -> Samples:
    """Harmony and timbre of each bar, `(bars, features)`, each half of unit length."""
    level = np.log1p(timbre / (1e-3 * timbre.max(initial=0) + 1e-9))
    heard = (
        (chroma - chroma.mean(axis=1, keepdims=True), CHROMA_RATE),
        (level - level.mean(axis=0), TIMBRE_RATE),
    )
    parts = _PARTS * 4
    edges = downbeats[:-1, None] + np.diff(downbeats)[:, None] * np.arange(parts) / parts
    edges = np.append(edges.ravel(), downbeats[-1])
    rows = []
    for values, rate in heard:
        at = np.clip(np.rint(edges * rate).astype(np.int64), 0, len(values))
        total = np.cumsum(np.pad(values.astype(np.float64), ((1, 0), (0, 0))), axis=0)
        count = np.maximum(np.diff(at), 1)[:, None]
        means = ((total[at[1:]] - total[at[:-1]]) / count).reshape(len(downbeats) - 1, -1)
        rows.append(means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-9))
    return np.asarray(np.hstack(rows) / np.sqrt(2), np.float32)


def _likeness(
    bars: Samples, ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosine of pairs of bars; NaN where one of them does not exist."""
    known = (ones >= 0) & (others < len(bars))
    found = np.full(ones.size, np.nan)
    found[known] = (bars[ones[known]] * bars[others[known]]).sum(axis=1)
    return found
