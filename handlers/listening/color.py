"""Harmony and timbre at a glance: enough to hear when a chord changes, or that music returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Listened

_SIZE, _HOP, _BATCH = 4096, 1024, 32
COLOR_RATE = MONO_RATE / _HOP
"""Frames per second."""

_LOW_HZ, _HIGH_HZ = 60.0, 2000.0
_TIMBRES = 16
_TIMBRE_HZ = (50.0, 10000.0)


@dataclass(frozen=True)
class Color:
    """What `COLOR` hears; frame `k` is centred on `k / COLOR_RATE` seconds."""

    #: Pitch classes from C up, float32 `(frames, 12)`, compressed by a square root.
    chroma: Samples
    #: Magnitudes of 16 bands from 50 Hz to 10 kHz, float32 `(frames, 16)`.
    timbre: Samples


class _Listener:
    def __init__(self, _form: Form) -> None:
        from handlers.listening.frames import Frames
        from handlers.spectral import hann

        self._frames = Frames(_SIZE, _HOP, _BATCH)
        self._window = hann(_SIZE)
        self._classes, self._from, self._to = _pitch_classes()
        self._bands = _bands()
        self._chroma: list[Samples] = []
        self._timbre: list[Samples] = []

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def done(self) -> Color:
        for frames in self._frames.end():
            self._heard(frames)
        return Color(np.concatenate(self._chroma), np.concatenate(self._timbre))

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        sizes = np.abs(fft.rfft(frames * self._window, axis=1))
        self._chroma.append(np.sqrt(sizes[:, self._from : self._to]) @ self._classes)
        self._timbre.append(sizes @ self._bands)


def _pitch_classes() -> tuple[Samples, int, int]:
    """Weights `(bins, 12)` of the bins from the first to before the second number."""
    hertz = np.arange(1, _SIZE // 2 + 1) * MONO_RATE / _SIZE
    inside = np.flatnonzero((hertz > _LOW_HZ) & (hertz < _HIGH_HZ))
    weights = np.zeros((inside.size, 12))
    pitch = 69 + 12 * np.log2(hertz[inside] / 440)
    for step in (0, 1):
        near = np.floor(pitch).astype(int) + step
        weights[np.arange(inside.size), near % 12] += (1 - np.abs(pitch - near)) ** 2
    first = int(inside[0]) + 1
    return weights.astype(np.float32), first, first + inside.size


def _bands() -> NDArray[np.float32]:
    hertz = np.arange(_SIZE // 2 + 1) * MONO_RATE / _SIZE
    edges = np.geomspace(*_TIMBRE_HZ, _TIMBRES + 1)
    band = np.searchsorted(edges, hertz, side="right") - 1
    weights = np.zeros((hertz.size, _TIMBRES), np.float32)
    inside = (band >= 0) & (band < _TIMBRES)
    weights[np.flatnonzero(inside), band[inside]] = 1
    return weights


COLOR = Listened("color", version=1, stage=MONO, begin=_Listener)
"""Chroma and timbre, 21.5 times a second."""
