"""What a sound is like in a few numbers: how bright, how strong, how restless."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        self._windowed = np.empty((_BATCH, _SIZE), np.float32)
        self._total, self._count = 0.0, 0

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        from handlers.kernels.flux import balance

        windowed = np.multiply(frames, self._window, out=self._windowed[: len(frames)])
        spectra = np.asarray(fft.rfft(windowed, axis=1))
        sizes = np.empty((len(spectra), 2), np.float32)
        balance(spectra.view(np.float32), sizes)
        sounding = sizes[sizes[:, 0] > 1e-6].astype(np.float64)
        self._total += float((sounding[:, 1] / sounding[:, 0]).sum()) * MONO_RATE / _SIZE
        self._count += len(sounding)

    def done(self) -> float | None:
        for frames in self._frames.end():
            self._heard(frames)
        return self._total / self._count if self._count else None


class _Rms:
    """The root-mean-square level, averaged over frames."""

    def __init__(self, _form: Form) -> None:
        self._rest = np.zeros(0, np.float32)
        self._energies: list[NDArray[np.float32]] = []
        self._samples = 0

    def add(self, piece: Samples) -> None:
        known = np.concatenate((self._rest, piece))
        hops = known[: known.size // _HOP * _HOP].reshape(-1, _HOP)
        self._energies.append(np.einsum("fn,fn->f", hops, hops))
        self._rest = known[hops.size :]
        self._samples += piece.size

    def done(self) -> float:
        if not self._samples:
            return 0.0
        count = self._samples // _HOP + 1
        # A frame is centred on a hop's beginning: as many hops before as after.
        reach = _SIZE // _HOP // 2
        self.add(np.zeros(-self._samples % _HOP, np.float32))
        hops = np.pad(np.concatenate(self._energies), reach).astype(np.float64)
        frames = np.convolve(hops, np.ones(2 * reach), "valid")[:count]
        return float(np.sqrt(np.maximum(frames, 0) / _SIZE).mean())


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
