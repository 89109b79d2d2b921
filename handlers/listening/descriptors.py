"""What a sound is like in a few numbers: how bright, how strong, how restless."""

from __future__ import annotations

from typing import Any

import numpy as np

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Listened
from handlers.listening.frames import Frames

_SIZE, _HOP, _BATCH = 2048, 512, 64


class _Centroid:
    """The centre of gravity of the magnitude spectrum, averaged over frames."""

    def __init__(self, _form: Form) -> None:
        from handlers.spectral import hann

        self._frames = Frames(_SIZE, 2 * _HOP, _BATCH)
        self._window = hann(_SIZE)
        self._hertz = np.fft.rfftfreq(_SIZE, 1 / MONO_RATE)
        self._total, self._count = 0.0, 0

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        sizes = np.abs(fft.rfft(frames * self._window, axis=1))
        all_of_it = sizes.sum(axis=1)
        sounding = all_of_it > 1e-6
        self._total += float(((sizes @ self._hertz)[sounding] / all_of_it[sounding]).sum())
        self._count += int(sounding.sum())

    def done(self) -> float | None:
        for frames in self._frames.end():
            self._heard(frames)
        return self._total / self._count if self._count else None


class _Rms:
    """The root-mean-square level, averaged over frames."""

    def __init__(self, _form: Form) -> None:
        self._frames = Frames(_SIZE, _HOP, _BATCH)
        self._total, self._count = 0.0, 0

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def _heard(self, frames: Samples) -> None:
        self._total += float(np.sqrt(np.einsum("fn,fn->f", frames, frames) / _SIZE).sum())
        self._count += len(frames)

    def done(self) -> float:
        for frames in self._frames.end():
            self._heard(frames)
        return self._total / self._count if self._count else 0.0


class _Crossings:
    """How many of the steps from sample to sample change the sign."""

    def __init__(self, _form: Form) -> None:
        self._last = np.zeros(0, np.bool_)
        self._changes = self._steps = 0

    def add(self, piece: Samples) -> None:
        signs = np.concatenate((self._last, piece < 0))
        self._changes += int(np.count_nonzero(signs[1:] != signs[:-1]))
        self._steps += max(0, signs.size - 1)
        self._last = signs[-1:]

    def done(self) -> float:
        return self._changes / self._steps if self._steps else 0.0


def _feature(name: str, begin: Any) -> Listened[Any]:
    return Listened(name, version=1, stage=MONO, begin=begin)


CENTROID: Listened[float | None] = _feature("spectral centroid", _Centroid)
"""Hz, up to 11 kHz; None for silence."""

RMS: Listened[float] = _feature("frame rms", _Rms)
"""Full scale is 1; of the mean of all channels, over frames of 93 ms."""

ZERO_CROSSINGS: Listened[float] = _feature("zero crossings", _Crossings)
"""Share of the samples (of the mean of all channels at 22,050 Hz), 0 to 1."""
