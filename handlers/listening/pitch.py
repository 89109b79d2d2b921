"""The pitch of a single voice or instrument, frame by frame.

Source: pYIN, M. Mauch and S. Dixon, ICASSP 2014: candidates with probabilities from YIN's
difference function, one path through them. See `handlers.kernels.pitch`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Listened

HOP = 256
FRAME_S = HOP / MONO_RATE
"""Seconds from one frame to the next: 11.6 ms."""

LOWEST_HZ, HIGHEST_HZ = 20.0, 5000.0
"""What can be searched at all."""

_BATCH = 128
_WINDOW_S = 0.0464
AHEAD_S = 0.014
"""Tones ring on when the next one has begun: a frame looks this far ahead of its time."""
#: Cost of a leap by an octave between neighbouring frames, and of beginning or ending a tone.
_LEAP = 16.0
_SWITCH = 4.0
#: When a tone is let go; see `handlers.kernels.pitch.held`.
SPAN, _FALLS_DB, _BELOW_DB, _RISES_DB, _RANGE_DB = 5, 5.0, 8.0, 1.5, 34.0


@dataclass(frozen=True)
class Contour:
    """Pitch by frame; frame `i` is at second `i * FRAME_S`."""

    #: float32 `(frames,)`: Hz, 0 where nothing can be guessed.
    hertz: Samples
    #: bool `(frames,)`: whether a tone sounds. Pitches elsewhere are guesses.
    voiced: NDArray[np.bool_]
    #: float32 `(frames,)`: root-mean-square level around the frame.
    level: Samples
    #: float32 `(frames,)`: probability of the pitch, 0 where it is a guess.
    clarity: Samples


class _Follower:
    """Collects candidates of frames, then finds the path through them."""

    def __init__(self, form: Form, fmin: float, fmax: float) -> None:
        from scipy import fft

        self._rate = form.rate
        self._longest = math.ceil(form.rate / max(fmin, LOWEST_HZ)) + 1
        self._shortest = max(2, math.floor(form.rate / min(fmax, HIGHEST_HZ)))
        self._window = max(round(_WINDOW_S * form.rate), 2 * self._longest)
        self._size = self._window + self._longest + 1
        self._transform = int(fft.next_fast_len(self._size, real=True))
        # A lag of about the middle of the range has its two windows centred on the frame.
        middle = (self._window + self._longest // 2) // 2
        self._ahead = middle - round(AHEAD_S * form.rate)
        self._waiting = np.zeros(self._ahead, np.float32)
        self._frames = self._samples = 0
        self._hertz: list[Samples] = []
        self._chance: list[Samples] = []
        self._level: list[Samples] = []

    def add(self, piece: Samples) -> None:
        self._samples += piece.size
        self._waiting = np.concatenate((self._waiting, piece))
        while self._waiting.size >= self._size + (_BATCH - 1) * HOP:
            self._look(_BATCH)

    def _look(self, count: int) -> None:
        from scipy import fft

        from handlers.kernels.pitch import CANDIDATES, candidates

        frames = np.zeros((_BATCH, self._size), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, self._size)
        frames[:count] = windows[: count * HOP : HOP]
        first = fft.rfft(frames[:, : self._window], self._transform, axis=1)
        both = fft.rfft(frames, self._transform, axis=1)
        both *= first.conj()
        lags = fft.irfft(both, self._transform, axis=1)[:, : self._longest + 1]
        found = np.empty((_BATCH, CANDIDATES), np.float32)
        chance = np.empty((_BATCH, CANDIDATES), np.float32)
        candidates(
            frames, np.ascontiguousarray(lags), self._window, self._shortest, self._rate,
            found, chance,
        )  # fmt: skip
        middle = frames[:count, self._window // 2 - HOP : self._window // 2 + HOP]
        self._level.append(np.sqrt(np.square(middle).mean(axis=1)))
        self._hertz.append(found[:count])
        self._chance.append(chance[:count])
        self._frames += count
        self._waiting = self._waiting[count * HOP :]

    def done(self) -> Contour:
        from handlers.kernels.pitch import CANDIDATES, held, pitch_path

        left = (self._samples // HOP + 1 if self._samples else 0) - self._frames
        self._waiting = np.concatenate((self._waiting, np.zeros(self._size, np.float32)))
        while left > 0:
            count = min(left, _BATCH)
            missing = self._size + (count - 1) * HOP - self._waiting.size
            self._waiting = np.pad(self._waiting, (0, max(0, missing)))
            self._look(count)
            left -= count
        none = np.zeros((0, CANDIDATES), np.float32)
        found = np.concatenate(self._hertz or [none])
        chance = np.concatenate(self._chance or [none])
        level = np.concatenate(self._level or [np.zeros(0, np.float32)])
        path = np.empty(len(level), np.int16)
        pitch_path(found, chance, _LEAP, _SWITCH, path)
        pitched = path >= 0
        tone = np.empty(len(level), np.bool_)
        level_db = 20 * np.log10(np.maximum(level, np.float32(1e-7)))
        held(level_db, SPAN, _FALLS_DB, _BELOW_DB, _RISES_DB, _RANGE_DB, tone)
        guess = found[np.arange(len(path)), np.maximum(path, 0)]
        sure = np.where(pitched, chance[np.arange(len(path)), np.maximum(path, 0)], 0)
        return Contour(filled(guess, pitched), pitched & tone, level, sure)


def filled(hertz: Samples, pitched: NDArray[np.bool_]) -> Samples:
    """Pitches where there is none taken from near by.

    Rather from what comes than from what was: the noise of an attack belongs to its tone.
    """
    known = np.flatnonzero(pitched)
    if not known.size:
        return np.zeros_like(hertz)
    at = np.arange(len(hertz))
    later = np.searchsorted(known, at)
    before = known[np.maximum(later - 1, 0)]
    after = known[np.minimum(later, known.size - 1)]
    nearest = np.where(np.abs(at - before) < 0.25 * np.abs(after - at), before, after)
    return np.where(pitched, hertz, hertz[nearest])


@lru_cache(maxsize=32)
def single(fmin: float = 65.0, fmax: float = 2093.0) -> Listened[Contour]:
    """The feature that searches from `fmin` to `fmax` Hz for the pitch of one voice."""
    return Listened(
        f"pitch {fmin:g} to {fmax:g} Hz",
        version=1,
        stage=MONO,
        begin=lambda form: _Follower(form, fmin, fmax),
    )
