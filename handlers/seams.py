"""Places where one part of a sound can be followed by another without a click."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handlers.artifacts import Blocks, Samples
from handlers.streams import sections

#: How far the end may move for the waves to lie upon each other; how much of them is compared.
_SHIFT_S, _COMPARED_S = 0.02, 0.03
#: How far both together may move, to where the step is least.
_MOVE_S = 0.004


@dataclass(frozen=True)
class Seam:
    """A jump, in frames: what would be sample `end` is sample `start`."""

    start: int
    end: int


def seamless(sound: Blocks, seams: Sequence[Seam]) -> list[Seam]:
    """The same jumps, moved by milliseconds to where the wave goes on as smoothly as it can.

    First the end moves to where the wave around it is most like that around the start
    (cross-correlation), then both together to where value and slope differ least.
    Costs one pass over the sound.
    """
    rate = sound.rate
    shift, compared, move = (math.ceil(s * rate) for s in (_SHIFT_S, _COMPARED_S, _MOVE_S))
    reach = compared + shift + move + 2
    places = sorted({place for seam in seams for place in (seam.start, seam.end)})
    around = dict(zip(places, _windows(sound, places, reach), strict=True))
    made = []
    for seam in seams:
        start, end = around[seam.start], around[seam.end]
        moved = _aligned(start, end, reach, shift, compared)
        step = _smoothest(start, end, reach, moved, move)
        first, last = seam.start + step, seam.end + moved + step
        made.append(Seam(max(first, 0), min(max(last, first + 1), sound.frames)))
    return made


def _windows(sound: Blocks, places: Sequence[int], reach: int) -> list[Samples]:
    """`(channels, 2 * reach)` around each place; zeros beyond both ends of the sound."""
    frames = sound.frames
    bounds = [(max(place - reach, 0), min(place + reach, frames)) for place in places]
    made = []
    for place, (low, high), part in zip(places, bounds, sections(sound, bounds), strict=True):
        window = np.zeros((sound.channels, 2 * reach), np.float32)
        window[:, low - place + reach : high - place + reach] = part.whole().samples
        made.append(window)
    return made


def _aligned(start: Samples, end: Samples, reach: int, shift: int, compared: int) -> int:
    """How far to move the end for the waves around both to be most alike."""
    from scipy import fft

    wanted = start[:, reach - compared : reach + compared].astype(np.float64)
    searched = end[:, reach - compared - shift : reach + compared + shift].astype(np.float64)
    size = fft.next_fast_len(searched.shape[1], real=True)
    product = fft.rfft(searched, size, axis=1) * np.conj(fft.rfft(wanted, size, axis=1))
    likeness = fft.irfft(product.sum(axis=0), size)[: 2 * shift + 1]
    energy = np.cumsum(np.pad(np.square(searched).sum(axis=0), (1, 0)))
    scale = np.sqrt(np.maximum(energy[2 * compared :] - energy[: -2 * compared], 1e-12))
    found = np.asarray(likeness / scale)
    # Of equally good places (silence, a steady tone) the nearest.
    far = np.abs(np.arange(found.size) - shift)
    best = found.max()
    return int(np.where(found >= best - 1e-6 * abs(best), far, far.size).argmin()) - shift


def _smoothest(start: Samples, end: Samples, reach: int, moved: int, move: int) -> int:
    """How far to move both for the step in value and in slope to be least."""
    steps = np.arange(-move, move + 1)
    value = np.zeros(steps.size)
    for before, after in ((0, 0), (-1, -1)):
        apart = end[:, reach + moved + steps + before] - start[:, reach + steps + after]
        value = np.maximum(value, np.abs(apart).max(axis=0))
    # Nearer is better where it makes no difference.
    return int(steps[(value + 1e-7 * np.abs(steps)).argmin()])
