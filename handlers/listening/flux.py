"""How much a sound rises, band by band: what onsets, tempo and beats are found in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Derived, Form, Listened, Stage
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


@cache
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


class _Bander:
    """Magnitudes of the bands, `(frames, bands)`; all batches but the last have 128 frames."""

    def __init__(self, _form: Form) -> None:
        from handlers.listening.frames import Frames
        from handlers.spectral import hann

        self.form = Form(FRAME_RATE, band_centers().size)
        self._frames = Frames(SIZE, HOP, _BATCH)
        self._window = hann(SIZE)
        self._windowed = np.empty((_BATCH, SIZE), np.float32)
        self._bands = _triangles()

    def add(self, piece: Samples) -> Iterator[Samples]:
        """What can be said after this piece."""
        yield from map(self._heard, self._frames.add(piece))

    def end(self) -> Iterator[Samples]:
        """The rest."""
        yield from map(self._heard, self._frames.end())

    def _heard(self, frames: Samples) -> Samples:
        from scipy import fft

        windowed = np.multiply(frames, self._window, out=self._windowed[: len(frames)])
        return self._bands.of_spectra(np.asarray(fft.rfft(windowed, axis=1)))


BANDS = Stage("bands", MONO, _Bander)
"""Magnitudes of bands a semitone wide, float32 `(n, bands)`, a hundred times a second."""


class _Riser:
    """Turns magnitudes of bands, batch after batch, into rises."""

    def __init__(self, _form: Form) -> None:
        self._ends = np.cumsum(np.bincount(group_of_bands())).astype(np.int64)
        self._before = np.zeros((_LAG, self._ends[-1]), np.float32)
        self._loudest = _SILENCE
        self._rises = [np.zeros((self._ends.size, 0), np.float32)]

    def add(self, piece: Samples) -> None:
        """The next `(frames, bands)`; all but the last have 128 frames."""
        from handlers.kernels.flux import rises

        peak = float(piece.max(initial=0))
        self._loudest = max(self._loudest * _FORGET, peak, _SILENCE)
        known = np.concatenate((self._before, piece))
        out = np.empty((self._ends.size, len(piece)), np.float32)
        rises(known, _COMPRESSION / self._loudest, _LAG, self._ends, out)
        self._before = known[-_LAG:]
        self._rises.append(out)

    def done(self) -> Samples:
        """All rises, `(4, frames)`."""
        return np.concatenate(self._rises, axis=1)


class _Energies:
    def __init__(self, _form: Form) -> None:
        self._rest = np.zeros(0, np.float32)
        self._state = np.zeros(1)
        self._energy = [np.zeros(0, np.float32)]
        self._offsets = [np.zeros(0, np.uint8)]

    def add(self, piece: Samples) -> None:
        from handlers.kernels.flux import energies

        samples = np.concatenate((self._rest, piece)) if self._rest.size else piece
        count = samples.size // ENERGY_HOP
        out, offsets = np.empty(count, np.float32), np.empty(count, np.uint8)
        energies(np.ascontiguousarray(samples), ENERGY_HOP, self._state, out, offsets)
        self._energy.append(out)
        self._offsets.append(offsets)
        self._rest = samples[count * ENERGY_HOP :]

    def done(self) -> tuple[Samples, NDArray[np.uint8]]:
        return np.concatenate(self._energy), np.concatenate(self._offsets)


_RISES: Listened[Samples] = Listened("rises", version=2, stage=BANDS, begin=_Riser)
_ENERGIES: Listened[tuple[Samples, NDArray[np.uint8]]] = Listened(
    "energies", version=1, stage=MONO, begin=_Energies
)
FLUX = Derived(
    "flux",
    version=2,
    needs=(_RISES, _ENERGIES),
    compute=lambda heard: Flux(heard[_RISES], *heard[_ENERGIES]),
)
"""Rises by group of bands, and the energy of attacks.

Source: S. Böck and G. Widmer, "Maximum Filter Vibrato Suppression for Onset Detection",
DAFx 2013; levels compressed against the loudest that was heard, after D. Stowell and
M. Plumbley, "Adaptive Whitening for Improved Real-Time Audio Onset Detection", ICMC 2007.
"""
