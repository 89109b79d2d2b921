"""The parts of a piece, and which of them return.

Bars (or beats, or seconds, where there are none) are compared with each other
in harmony, bass and colour. Parts begin where a return begins or stops, where
the level or the colour turns, and where cymbals say so; rather after 4 or 8
bars than after 3 or 5. Parts that are alike bar by bar share a letter.

Sources: J. Serrà et al., IEEE Transactions on Multimedia 16(5), 2014 (borders by
what returns); A. Marmoret, J. E. Cohen and F. Bimbot, "Barwise music structure
analysis with the correlation block-matching segmentation algorithm", TISMIR
6(1), 2023 (bars as the unit, the best segmentation by dynamic programming,
lengths in multiples of 4 bars preferred); J. Paulus and A. Klapuri, "Music
structure analysis using a probabilistic fitness measure and a greedy search
algorithm", IEEE TASLP 17(6), 2009 (letters by likeness along the diagonal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.listening.color import TIMBRE_RATE
from handlers.listening.notes import FRAME_RATE, Harmony

#: More units than these are joined in twos, fours, ...: three hours are compared in a second.
_MOST = 1500
#: Parts of a unit that are looked at one by one, so that the order of chords counts.
_PARTS = 2
#: How much harmony, bass and colour count.
_BASS, _COLOR = 0.5, 0.3
#: Two bars are alike that differ by less than this share of what bars usually differ by.
_ALIKE = 0.3
#: How much each sign of a border counts, in its standard deviations or, where it hardly varies,
#: in this: a share, and decibels.
_RETURNS, _CYMBALS, _LEVEL = (1.0, 0.1), (0.7, 3.0), (0.4, 1.5)
_AGAINST = 0.0
#: Bars before and after a border that are compared.
_WIDTH = 2
#: Bars of the longest loop that is no part of its own.
_LOOP = 4
#: What a part of an odd number of bars costs, of 2 and of 4 (8 cost nothing).
_ODD, _TWO, _FOUR = 1.0, 0.6, 0.3
SHORTEST = 2
"""Units of the shortest part."""
#: Fewer bars than these say nothing about parts; beats may.
_FEWEST = 12
#: What a further part has to be worth where the music decides how many there are.
_PRICE = 0.5
#: Parts are the same whose bars are alike by this on average.
_SAME = 0.5
_RANGE_DB = 80.0


@dataclass(frozen=True)
class Part:
    """A part of a piece; what has the same number is the same music."""

    start: float
    end: float
    number: int

    @property
    def letter(self) -> str:
        """A for the first, then B, ..., Z, AA, ..."""
        text, left = "", self.number + 1
        while left:
            left, digit = divmod(left - 1, 26)
            text = chr(ord("A") + digit) + text
        return text


def units(
    duration: float, downbeats: Sequence[float], beats: Sequence[float], least: int
) -> NDArray[np.float64]:
    """Edges of the units to compare, from 0 to `duration`: bars, else beats, else seconds.

    The coarsest of them that there are `least` of. Where there are too few of any, only the ends.
    """
    seconds = np.arange(1.0, duration, 1.0)
    for places in (np.array(downbeats, float), np.array(beats, float), seconds):
        if places.size + 1 >= max(least, _FEWEST):
            inner = _inside(places, duration)
            while inner.size >= _MOST:
                inner = inner[::2]
            return np.concatenate(([0.0], inner, [duration]))
    return np.array([0.0, duration])


def _inside(inner: NDArray[np.float64], duration: float) -> NDArray[np.float64]:
    """Without what would leave less than half a unit before the first or after the last."""
    half = float(np.median(np.diff(inner))) / 2 if inner.size > 1 else 0.0
    return inner[(inner > half) & (inner < duration - half)]


def parts(
    edges: NDArray[np.float64], harmony: Harmony, timbre: Samples, count: int, *, exactly: bool
) -> list[Part]:
    """The parts, one after the other, from the first edge to the last.

    Args:
        edges: of the units, in seconds; see `units`.
        harmony, timbre: what was heard, at `FRAME_RATE` and at `TIMBRE_RATE`.
        count: how many parts at most.
        exactly: as many as that, if there are units enough; else as many as there are signs of.
    """
    from handlers.kernels.structure import best_borders

    bars = len(edges) - 1
    if bars < 2 * SHORTEST:
        return [Part(float(edges[0]), float(edges[-1]), 0)]
    levels = np.log10(np.maximum(timbre, 1e-7)) * 20
    levels = np.maximum(levels, levels.max(initial=-_RANGE_DB) - _RANGE_DB)
    likeness = _likeness(_described(edges, harmony, levels))
    gain = _signs(edges, likeness, levels)
    lengths = np.arange(bars + 1)
    cost = np.full(bars + 1, _ODD)
    cost[lengths % 2 == 0], cost[lengths % 4 == 0], cost[lengths % 8 == 0] = _TWO, _FOUR, 0.0
    most = min(count, bars // SHORTEST)
    price = np.arange(1, most + 1, dtype=np.float64) * _PRICE
    if exactly:
        price[:-1] = np.inf
    borders = np.empty(most + 1, np.int32)
    best_borders(gain, cost, SHORTEST, price, borders)
    cuts = borders[borders >= 0].tolist()
    numbers = _numbers(likeness, cuts)
    return [
        Part(float(edges[begin]), float(edges[end]), number)
        for (begin, end), number in zip(pairwise(cuts), numbers, strict=True)
    ]


def _described(edges: NDArray[np.float64], harmony: Harmony, levels: Samples) -> Samples:
    """A row for each unit, in which differences count as they are heard."""
    fine = np.concatenate(
        [np.linspace(a, b, _PARTS, endpoint=False) for a, b in pairwise(edges)] + [edges[-1:]]
    )
    rows = len(edges) - 1
    treble = _unit(_means(np.log1p(3 * harmony.treble), FRAME_RATE, fine).reshape(rows, -1))
    bass = _unit(_means(harmony.bass, FRAME_RATE, fine).reshape(rows, -1))
    color = _means(levels, TIMBRE_RATE, edges)
    color = color - color.mean(axis=0)
    color /= max(float(color.std()), 1e-6) * np.sqrt(color.shape[1])
    parts = (treble - treble.mean(axis=0), _BASS * (bass - bass.mean(axis=0)), _COLOR * color)
    return np.concatenate(parts, axis=1).astype(np.float32)


def _means(frames: Samples, rate: float, edges: NDArray[np.float64]) -> Samples:
    """Mean of the frames between each two edges, at least one."""
    last = max(len(frames) - 1, 0)
    at = np.minimum(np.rint(edges * rate).astype(np.int64), last)
    total = np.concatenate((np.zeros((1, frames.shape[1])), np.cumsum(frames, 0, np.float64)))
    begin, end = at[:-1], np.maximum(at[1:], at[:-1] + 1)
    return np.asarray((total[end] - total[begin]) / (end - begin)[:, None], np.float32)


def _unit(rows: Samples) -> Samples:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def _likeness(rows: Samples) -> Samples:
    """How alike each two units are, 0 to 1."""
    square = np.square(rows).sum(axis=1)
    apart = np.maximum(square[:, None] + square[None, :] - 2 * rows @ rows.T, 0)
    usual = float(np.median(apart[np.triu_indices(len(rows), 1)]))
    return np.ascontiguousarray(np.exp(-apart / max(_ALIKE * usual, 1e-9)), np.float32)


def _signs(edges: NDArray[np.float64], likeness: Samples, levels: Samples) -> NDArray[np.float64]:
    """What speaks for a border before each unit."""
    from handlers.kernels.structure import breaks

    bars = len(likeness)
    returns = np.empty(bars, np.float32)
    breaks(likeness, _WIDTH, _LOOP, returns)
    # The upper quarter of the bands, in the half second after each edge.
    high = levels[:, -levels.shape[1] // 4 :].mean(axis=1, keepdims=True)
    begins = np.column_stack((edges[:-1], np.minimum(edges[:-1] + 0.55, edges[1:])))
    cymbals = np.array([float(_means(high, TIMBRE_RATE, begin)[0, 0]) for begin in begins])
    level = _means(levels, TIMBRE_RATE, edges).mean(axis=1)
    turns = np.abs(np.diff(level, prepend=level[0]))
    gain = np.zeros(bars)
    for (weight, least), sign in ((_RETURNS, returns), (_CYMBALS, cymbals), (_LEVEL, turns)):
        inner = sign[1:].astype(np.float64)
        above = (inner - inner.mean()) / max(float(inner.std()), least)
        # That no cymbal is struck, or nothing turns, speaks against no border.
        gain[1:] += weight * (above if sign is returns else np.maximum(above, _AGAINST))
    return gain


def _numbers(likeness: Samples, cuts: Sequence[int]) -> list[int]:
    """The same number for parts that are alike, counted in the order of their first."""
    numbers: list[int] = []
    spans = list(pairwise(cuts))
    for at, span in enumerate(spans):
        known = [(_alike(likeness, spans[other], span), -other) for other in range(at)]
        best, other = max(known, default=(0.0, 0))
        numbers.append(numbers[-other] if best > _SAME else max(numbers, default=-1) + 1)
    return numbers


def _alike(likeness: Samples, one: tuple[int, int], other: tuple[int, int]) -> float:
    """Mean likeness bar by bar, the shorter part laid where it fits the longer one best."""
    block = likeness[one[0] : one[1], other[0] : other[1]]
    short, long = sorted(block.shape)
    if 2 * short < long:
        return 0.0
    if block.shape[0] > block.shape[1]:
        block = block.T
    return max(float(np.diagonal(block, lag)[:short].mean()) for lag in range(long - short + 1))
