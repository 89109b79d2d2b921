"""Harmony and timbre at a glance: enough to hear when a chord changes, or that music returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Listened
from handlers.listening.frames import Bands

_SIZE, _HOP, _BATCH = 4096, 1024, 32
COLOR_RATE = MONO_RATE / _HOP
"""Frames per second."""

#: MIDI notes, 62 Hz to 2 kHz: below, bins are wider than semitones; above are overtones.
_LOWEST, _HIGHEST = 35, 95
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
        self._semitones, self._bands = _semitones(), _bands()
        self._chroma = [np.zeros((0, 12), np.float32)]
        self._timbre = [np.zeros((0, _TIMBRES), np.float32)]

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def done(self) -> Color:
        for frames in self._frames.end():
            self._heard(frames)
        return Color(np.concatenate(self._chroma), np.concatenate(self._timbre))

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        spectra = np.asarray(fft.rfft(frames * self._window, axis=1))
        notes = self._semitones.of_spectra(spectra, root=True)
        chroma = np.zeros((len(notes), 12), np.float32)
        for note in range(notes.shape[1]):
            chroma[:, (_LOWEST + note) % 12] += notes[:, note]
        self._chroma.append(chroma)
        self._timbre.append(self._bands.of_spectra(spectra))


def _semitones() -> Bands:
    """Notes from `_LOWEST` to `_HIGHEST`; a bin counts less, the further it lies from a note."""
    hertz = np.arange(1, _SIZE // 2 + 1) * MONO_RATE / _SIZE
    pitch = 69 + 12 * np.log2(hertz / 440)
    rows = []
    for note in range(_LOWEST, _HIGHEST + 1):
        near = np.clip(1 - np.abs(pitch - note), 0, None) ** 2
        rows.append(np.concatenate(([0], near)))
    return Bands.of(rows)


def _bands() -> Bands:
    hertz = np.arange(_SIZE // 2 + 1) * MONO_RATE / _SIZE
    edges = np.geomspace(*_TIMBRE_HZ, _TIMBRES + 1)
    band = np.searchsorted(edges, hertz, side="right") - 1
    return Bands.of([(band == k).astype(np.float32) for k in range(_TIMBRES)])


COLOR = Listened("color", version=1, stage=MONO, begin=_Listener)
"""Chroma and timbre, 21.5 times a second."""
