"""Harmony and timbre at a glance: enough to hear when a chord changes, or that music returns."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import Form, Listened
from handlers.listening.flux import BANDS, FRAME_RATE, band_centers
from handlers.listening.frames import Bands
from handlers.listening.half import HALF, HALF_RATE

_SIZE, _HOP, _BATCH = 2048, 512, 32
CHROMA_RATE = HALF_RATE / _HOP
"""Frames of `CHROMA` per second."""

#: Frames of `BANDS` that one of `TIMBRE` is the mean of.
_JOINED = 5
TIMBRE_RATE = FRAME_RATE / _JOINED
"""Frames of `TIMBRE` per second."""

#: MIDI notes, 62 Hz to 2 kHz: below, bins are wider than semitones; above are overtones.
_LOWEST, _HIGHEST = 35, 95
_OCTAVES = _HIGHEST // 12 - _LOWEST // 12 + 1
_TIMBRES = 16
_TIMBRE_HZ = (50.0, 10000.0)


class _Chroma:
    def __init__(self, _form: Form) -> None:
        from handlers.listening.frames import Frames
        from handlers.spectral import hann

        self._frames = Frames(_SIZE, _HOP, _BATCH)
        self._window = hann(_SIZE)
        self._windowed = np.empty((_BATCH, _SIZE), np.float32)
        self._semitones = _semitones()
        self._chroma = [np.zeros((0, 12), np.float32)]

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def done(self) -> Samples:
        for frames in self._frames.end():
            self._heard(frames)
        return np.concatenate(self._chroma)

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        windowed = np.multiply(frames, self._window, out=self._windowed[: len(frames)])
        spectra = np.asarray(fft.rfft(windowed, axis=1))
        notes = self._semitones.of_spectra(spectra, root=True)
        padded = np.zeros((len(notes), _OCTAVES, 12), np.float32)
        padded.reshape(len(notes), -1)[:, _LOWEST % 12 : _LOWEST % 12 + notes.shape[1]] = notes
        self._chroma.append(padded.sum(axis=1))


class _Timbre:
    """Bands of a semitone joined to sixteen, and frames to fewer."""

    def __init__(self, _form: Form) -> None:
        edges = np.geomspace(*_TIMBRE_HZ, _TIMBRES + 1)
        which = np.searchsorted(edges, band_centers(), side="right") - 1
        self._joins = (which[:, None] == np.arange(_TIMBRES)).astype(np.float32)
        self._waiting = np.zeros((0, which.size), np.float32)
        self._made = [np.zeros((0, _TIMBRES), np.float32)]

    def add(self, piece: Samples) -> None:
        known = np.concatenate((self._waiting, piece))
        count = len(known) // _JOINED
        whole = known[: count * _JOINED].reshape(count, _JOINED, len(self._joins))
        self._made.append(np.asarray(whole.mean(axis=1) @ self._joins))
        self._waiting = known[count * _JOINED :]

    def done(self) -> Samples:
        if len(self._waiting):
            self._made.append(self._waiting.mean(axis=0, keepdims=True) @ self._joins)
        return np.concatenate(self._made)


@cache
def _semitones() -> Bands:
    """Notes from `_LOWEST` to `_HIGHEST`; a bin counts less, the further it lies from a note."""
    hertz: NDArray[np.float64] = np.arange(1, _SIZE // 2 + 1) * HALF_RATE / _SIZE
    pitch = 69 + 12 * np.log2(hertz / 440)
    rows = []
    for note in range(_LOWEST, _HIGHEST + 1):
        near = np.clip(1 - np.abs(pitch - note), 0, None) ** 2
        rows.append(np.concatenate(([0], near)))
    return Bands.of(rows)


CHROMA: Listened[Samples] = Listened("chroma", version=1, stage=HALF, begin=_Chroma)
"""Pitch classes from C up, float32 `(frames, 12)`, compressed by a square root.

Frame `k` is centred on `k / CHROMA_RATE` seconds.
"""

TIMBRE: Listened[Samples] = Listened("timbre", version=1, stage=BANDS, begin=_Timbre)
"""Magnitudes of 16 bands from 50 Hz to 10 kHz, float32 `(frames, 16)`.

Frame `k` begins at `k / TIMBRE_RATE` seconds.
"""
