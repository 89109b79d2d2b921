"""How much a sound rises, band by band: what onsets, tempo and beats are found in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Listened
from handlers.listening.frames import Bands

SIZE, HOP = 1024, 220
"""46 ms of sound, a hundred times a second."""

FRAME_RATE = MONO_RATE / HOP
"""Frames per second."""

ENERGY_HOP = 32
"""Samples per value of `Flux.energy`: 1.5 ms."""

GROUPS_HZ = (200.0, 1000.0, 4000.0)
"""Borders of the four groups of bands: bass and kick; body; snare and consonants; cymbals."""

_BATCH = 128
_LAG = 2
_COMPRESSION = 300.0
#: Loudness that everything is measured against falls so much per batch (1.3 s) of silence:
#: to a tenth within 75 s.
_FORGET = 0.9623
#: Magnitude below which all is silence: a tone at -80 dBFS.
_SILENCE = 0.02


@dataclass(frozen=True)
class Flux:
    """What `FLUX` hears."""

    #: Rise of level by group of bands, float32 `(4, frames)`; frame `k` is `k / FRAME_RATE` s.
    rises: Samples
    #: Energy of attacks every `ENERGY_HOP` samples of the mono sound.
    energy: Samples
    #: Where in each of these the energy begins, in samples.
    offsets: NDArray[np.uint8]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.rises.shape[1])


def band_centers() -> NDArray[np.float64]:
    """Hz: single bins as long as they lie wider than a semitone apart, then semitones."""
    width = MONO_RATE / SIZE
    centers = [k * width for k in range(1, 18)]
    while centers[-1] * 2 ** (1 / 12) < 10400:
        centers.append(centers[-1] * 2 ** (1 / 12))
    return np.array(centers)


def group_of_bands() -> NDArray[np.int64]:
    """Which group each band belongs to."""
    return np.searchsorted(GROUPS_HZ, band_centers(), side="right").astype(np.int64)


def _triangles() -> Bands:
    """Triangles between the neighbours' centers; one bin where these lie too close."""
    centers = band_centers()
    edges = np.concatenate(([centers[0] / 2], centers, [centers[-1] * 2 ** (1 / 12)]))
    hertz = np.arange(SIZE // 2 + 1) * MONO_RATE / SIZE
    rows = []
    for low, middle, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
        row = np.clip(np.minimum(rising, falling), 0, None)
        if not row.any():
            row[np.abs(hertz - middle).argmin()] = 1
        rows.append(row)
    return Bands.of(rows)


class Riser:
    """Turns magnitudes of bands, batch after batch, into rises."""

    def __init__(self) -> None:
        self._groups = group_of_bands()
        self._before = np.zeros((_LAG, self._groups.size), np.float32)
        self._loudest = _SILENCE

    def add(self, sizes: Samples) -> Samples:
        """`(frames, bands)` to `(4, frames)`; all batches but the last have 128 frames."""
        from handlers.kernels.flux import rises

        peak = float(sizes.max(initial=0))
        self._loudest = max(self._loudest * _FORGET, peak, _SILENCE)
        known = np.concatenate((self._before, sizes))
        out = np.empty((len(GROUPS_HZ) + 1, len(sizes)), np.float32)
        rises(known, _COMPRESSION / self._loudest, _LAG, self._groups, out)
        self._before = known[-_LAG:]
        return out


class _Listener:
    def __init__(self, _form: Form) -> None:
        from handlers.listening.frames import Frames
        from handlers.spectral import hann

        self._frames = Frames(SIZE, HOP, _BATCH)
        self._window = hann(SIZE)
        self._bands = _triangles()
        self._riser = Riser()
        self._rises = [np.zeros((len(GROUPS_HZ) + 1, 0), np.float32)]
        self._rest = np.zeros(0, np.float32)
        self._state = np.zeros(1)
        self._energy = [np.zeros(0, np.float32)]
        self._offsets = [np.zeros(0, np.uint8)]

    def add(self, piece: Samples) -> None:
        from handlers.kernels.flux import energies

        for frames in self._frames.add(piece):
            self._heard(frames)
        samples = np.concatenate((self._rest, piece)) if self._rest.size else piece
        count = samples.size // ENERGY_HOP
        out, offsets = np.empty(count, np.float32), np.empty(count, np.uint8)
        energies(np.ascontiguousarray(samples), ENERGY_HOP, self._state, out, offsets)
        self._energy.append(out)
        self._offsets.append(offsets)
        self._rest = samples[count * ENERGY_HOP :]

    def done(self) -> Flux:
        for frames in self._frames.end():
            self._heard(frames)
        return Flux(
            np.concatenate(self._rises, axis=1),
            np.concatenate(self._energy),
            np.concatenate(self._offsets),
        )

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        spectra = np.asarray(fft.rfft(frames * self._window, axis=1))
        self._rises.append(self._riser.add(self._bands.of_spectra(spectra)))


FLUX = Listened("flux", version=1, stage=MONO, begin=_Listener)
"""Rises by group of bands, and the energy of attacks.

Source: S. Böck and G. Widmer, "Maximum Filter Vibrato Suppression for Onset Detection",
DAFx 2013; levels compressed against the loudest that was heard, after D. Stowell and
M. Plumbley, "Adaptive Whitening for Improved Real-Time Audio Onset Detection", ICMC 2007.
"""
