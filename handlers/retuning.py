"""Pitch that is put right note by note, in a sound that is read piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.listening.melody import Tone
from handlers.listening.pitch import AHEAD_S, FRAME_S, Contour

#: Tones whose periods are less alike than this (a noise, a chord) stay as they are.
_CLEAR = 0.5
#: Frames over which the correction of one note goes over into the next one's.
_GLIDE = 5
#: Samples that are worked on at a time.
_SIZE = 32768
#: Periods at the end of a stretch over which the sound itself comes back.
_FADE = 3


@dataclass(frozen=True)
class _Stretch:
    """Tones without a gap; positions in samples, the rest by frame from the first on."""

    begin: float
    end: float
    #: Where the first frame lies.
    first: float
    periods: Samples
    ratios: Samples


def clear(contour: Contour, tones: Sequence[Tone]) -> list[Tone]:
    """Those of the tones that can be moved: their periods are alike."""
    return [tone for tone in tones if float(np.median(contour.clarity[_frames(tone)])) >= _CLEAR]


def _frames(tone: Tone) -> slice:
    return slice(round(tone.start / FRAME_S), round(tone.end / FRAME_S))


def retuned(sound: Blocks, contour: Contour, tones: Sequence[Tone], strength: float) -> Blocks:
    """The sound with its notes nearer to their semitones.

    Each note is moved as a whole, so that vibrato and glides stay. What is no clear tone
    passes unchanged, as does everything at strength 0. Keeps rate, channels, length and
    formants; all channels are moved alike.

    Args:
        sound: a single voice or instrument.
        contour: what was heard in it.
        tones: those of its notes that are to be moved; see `clear`.
        strength: share of the way to the semitone, 0 to 1.

    Source: `handlers.kernels.psola`.
    """
    moves = np.full(len(contour.hertz), np.nan, np.float32)
    for tone in tones:
        moves[_frames(tone)] = strength * (round(tone.exact) - tone.exact)
    stretches = _stretches(contour, moves, sound.rate)
    return sound.like(lambda: _passing(sound, stretches)) if stretches else sound


def _stretches(contour: Contour, moves: Samples, rate: int) -> list[_Stretch]:
    edges = np.flatnonzero(np.diff(np.isfinite(moves).astype(np.int8), prepend=0, append=0))
    frame = FRAME_S * rate
    made = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        # What comes to nothing (a tone in tune) needs no work.
        if not np.abs(moves[first:last]).max() > 1e-3:
            continue
        periods = (rate / contour.hertz[first:last]).astype(np.float32)
        at = (first * FRAME_S + AHEAD_S) * rate
        end = at + (last - first - 1) * frame
        if end - at > 8 * periods.max():
            smooth = _smoothed(moves[first:last])
            ratios = (2.0 ** (smooth / 12)).astype(np.float32)
            made.append(_Stretch(at, end, at, periods, ratios))
    return made


def _smoothed(values: Samples) -> NDArray[np.float64]:
    """Running mean over `_GLIDE` values, the first and the last held beyond the ends."""
    padded = np.pad(values.astype(np.float64), _GLIDE // 2, mode="edge")
    return np.convolve(padded, np.full(_GLIDE, 1 / _GLIDE), mode="valid")


class _Work:
    """One stretch that is being worked on."""

    def __init__(self, stretch: _Stretch) -> None:
        self.stretch = stretch
        #: Where the result begins to take the place of the sound; known with the first mark.
        self.begin = math.inf
        self._marks = np.zeros((64, 3))
        self._count = 0

    def marks(self, mono: Samples, start: int, until: float, since: float) -> NDArray[np.float64]:
        """Periods whose places in the result lie near `since` to `until`."""
        from handlers.kernels.psola import mark

        stretch = self.stretch
        if self._count == 0:
            length = float(stretch.periods[0])
            low = round(stretch.begin) - start
            # The strongest point of a period: a voice's pulse, a string's pluck.
            heard = start + low + int(np.abs(mono[low : low + math.ceil(length)]).argmax())
            self._marks[0] = heard, heard, length
            self._count, self.begin = 1, float(heard)
        longest = float(stretch.periods.max())
        # A period more than the end, so that windows cover all of the stretch.
        target = min(until + longest, stretch.end + 2 * longest)
        room = self._count + math.ceil(
            2 * max(0.0, target - self._marks[self._count - 1, 1]) / float(stretch.periods.min())
        )
        kept = self._marks[: self._count]
        # The last one is where to go on from, whatever it covers.
        kept = np.concatenate((kept[:-1][kept[:-1, 1] + kept[:-1, 2] > since], kept[-1:]))
        grown = np.zeros((len(kept) + room + 2, 3))
        grown[: len(kept)] = kept
        self._marks = grown
        self._count = int(
            mark(
                mono, start, stretch.periods, stretch.ratios, self._frame, stretch.first,
                target, len(kept), grown,
            )
        )  # fmt: skip
        return grown[: self._count]

    @property
    def _frame(self) -> float:
        stretch = self.stretch
        return (stretch.end - stretch.first) / max(1, len(stretch.periods) - 1)

    def share(self, places: NDArray[np.float64]) -> Samples:
        """How much of the result to take at each place, against the sound itself."""
        stretch = self.stretch
        rise = (places - self.begin) / stretch.periods[0]
        fall = (stretch.end - places) / (_FADE * stretch.periods[-1])
        return np.asarray(np.clip(np.minimum(rise, fall), 0, 1), np.float32)


def _passing(sound: Blocks, stretches: Sequence[_Stretch]) -> Iterator[Samples]:
    from handlers.kernels.psola import TAPS, between_samples, overlay
    from handlers.streams import surrounded

    longest = max((math.ceil(float(s.periods.max())) for s in stretches), default=0)
    margin = 5 * longest + TAPS
    sincs = between_samples()
    waiting = list(reversed(stretches))
    work: list[_Work] = []
    at = 0
    for window, count in surrounded(sound, _SIZE, margin, margin):
        end = at + count
        while waiting and waiting[-1].begin < end:
            work.append(_Work(waiting.pop()))
        block = window[:, margin : margin + count].copy()
        mono = window[0] if len(window) == 1 else window.mean(axis=0)
        for each in work:
            marks = each.marks(mono, at - margin, end, at)
            made = np.zeros_like(block)
            weight = np.zeros(count, np.float32)
            overlay(window, at - margin, np.ascontiguousarray(marks), sincs, at, made, weight)
            share = each.share(np.arange(at, end, dtype=np.float64))
            share[weight < 0.05] = 0
            made /= np.maximum(weight, np.float32(0.05))
            block += share * (made - block)
        work = [each for each in work if each.stretch.end > end]
        at = end
        yield block
