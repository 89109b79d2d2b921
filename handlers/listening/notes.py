"""Which notes sound when: the spectra of the lower five octaves, and the chroma made from them.

Source: M. Mauch and S. Dixon, "Approximate note transcription for the improved
identification of difficult chords", ISMIR 2010 (NNLS chroma): a spectrum on a
musical scale, freed of its envelope, explained by the fewest notes with their
overtones. Here the notes' spectra are computed for the sound's own tuning and
for the window's true shape, where the paper shifts the spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import Form, Listened
from handlers.listening.frames import Bands, Frames
from handlers.listening.half import HALF, HALF_RATE

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
"""Pitch classes, sharps only."""

_SIZE, _HOP, _BATCH = 4096, 1024, 32
FRAME_RATE = HALF_RATE / _HOP
"""Spectra per second: 10.8, each over 372 ms."""

_BIN_HZ = HALF_RATE / _SIZE
_TUNED_BINS = (round(110 / _BIN_HZ), round(1760 / _BIN_HZ))
"""Where the tuning is told: lower bins are too wide for it, higher partials out of tune."""
_PER_SEMITONE = 3
#: MIDI notes that may sound (A0 to G#7), and the scale's range, a semitone more on either side.
_LOWEST, _HIGHEST = 24, 104
_SCALE = np.arange(_LOWEST - 1, _HIGHEST + 1 + 1e-9, 1 / _PER_SEMITONE)


def hertz(note: Any) -> Any:
    """Frequency of a MIDI note (a number or an array) where A is 440 Hz."""
    return 440.0 * 2.0 ** ((np.asarray(note, np.float64) - 69) / 12)


@lru_cache(maxsize=1)
def _scale() -> Bands:
    """How bins add up to the scale: raised cosines two thirds of a semitone wide.

    At the low end, where bins are further apart than that, they are as wide as two bins.
    """
    bins = np.arange(_SIZE // 2 + 1)
    rows = []
    for note in _SCALE:
        middle = float(hertz(note)) / _BIN_HZ
        width = max(middle * (2 ** (1 / (12 * _PER_SEMITONE)) - 1), 1.0)
        near = np.abs(bins - middle) < width
        shape = np.where(near, 0.5 + 0.5 * np.cos(np.pi * (bins - middle) / width), 0)
        rows.append(shape / width)
    return Bands.of(rows)


def loudness(magnitudes: Samples) -> Samples:
    """The fourth root, which brings partials near to each other as hearing does.

    Sums of notes are no sums of these any more, yet chords are found far better than from
    magnitudes (and better than from square roots): no instrument drowns the others.
    """
    return np.asarray(np.sqrt(np.sqrt(magnitudes)))


NOTES = np.arange(_LOWEST, _HIGHEST)
"""MIDI numbers of the notes that are looked for."""

_PARTIALS = 16
_ROLLOFF = 0.7


@lru_cache(maxsize=8)
def note_spectra(cents: int) -> Samples:
    """What each of `NOTES` looks like on the scale, `(notes, scale)`, rows of length 1.

    Args:
        cents: how far above 440 Hz the A is.

    Each partial has `_ROLLOFF` of the one before (Mauch and Dixon).
    """
    bins = np.arange(_SIZE // 2 + 1)
    spectra = np.zeros((NOTES.size, bins.size), np.float32)
    for row, note in zip(spectra, NOTES, strict=True):
        for partial in range(1, _PARTIALS + 1):
            place = float(hertz(note + cents / 100)) * partial / _BIN_HZ
            if place > bins[-1] - 3:
                break
            near = np.arange(max(0, round(place) - 3), round(place) + 4)
            row[near] += _ROLLOFF ** (partial - 1) * _hann_lobe(near - place)
    found = loudness(_scale().of_spectra(spectra.astype(np.complex64)))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _hann_lobe(distance: NDArray[np.floating]) -> NDArray[np.floating]:
    """The spectrum of a Hann window, `distance` bins off its middle, 1 there."""
    inside = np.abs(distance) < 2
    d = np.where(inside, distance, 0)
    shape = np.sinc(d) / np.maximum(1 - d * d, 1e-9)
    shape = np.where(np.abs(np.abs(d) - 1) < 1e-6, 0.5, shape)
    return np.where(inside, np.abs(shape), 0)


@dataclass(frozen=True)
class Harmony:
    """Chroma, C first, `FRAME_RATE` per second."""

    #: float32 `(frames, 12)`: what melody and chords sound, and what the bass does.
    treble: Samples
    bass: Samples
    #: float32 `(frames,)`: level, windowed as the spectra are.
    level: Samples
    #: Cents above A = 440 Hz, -50 to 50.
    tuning: float


#: Weights of notes: the bass below C3, the treble from there up, with half an octave between.
def _ramp(low: float, high: float) -> NDArray[np.float64]:
    return np.clip((NOTES - low) / (high - low), 0, 1)


_BASS = (1 - _ramp(45, 57)).astype(np.float32)
_TREBLE = (_ramp(43, 55) * (1 - _ramp(70, 88))).astype(np.float32)
#: How many frames are held until their tuning is settled: two minutes.
_HELD = 40 * _BATCH
#: Steps of the scale that a bin has to stand out of, on either side: seven semitones.
_SURROUNDINGS = 21


class _Hearing:
    """Collects the frames of a stretch, tunes, and turns them into chroma."""

    def __init__(self, _form: Form) -> None:
        from handlers.spectral import hann

        self._frames = Frames(_SIZE, _HOP, _BATCH)
        self._window = hann(_SIZE) * np.float32(4 / _SIZE)
        self._turn = np.zeros(2)
        self._total = np.zeros(2)
        self._held: list[Samples] = []
        self._count = 0
        self._treble: list[Samples] = []
        self._bass: list[Samples] = []
        self._level: list[Samples] = []

    def add(self, piece: Samples) -> None:
        for frames in self._frames.add(piece):
            self._heard(frames)

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        from handlers.kernels.harmony import mistuning

        # Always as many, so that each is computed in the same way whatever the blocks were.
        windowed = np.zeros((_BATCH, _SIZE), np.float32)
        np.multiply(frames, self._window, out=windowed[: len(frames)])
        spectra = np.asarray(fft.rfft(windowed, axis=1))[: len(frames)]
        turn = np.zeros(2)
        mistuning(spectra, *_TUNED_BINS, _BIN_HZ, turn)
        self._turn += turn
        self._total += turn
        self._level.append(np.sqrt(np.square(windowed[: len(frames)]).sum(axis=1)))
        self._held.append(_scale().of_spectra(spectra))
        self._count += len(frames)
        if self._count >= _HELD:
            self._settle()
            # A long recording may change its tuning; what was before still counts a half.
            self._turn *= 0.5

    def _settle(self) -> None:
        from handlers.kernels.harmony import explained, standing_out

        dictionary = note_spectra(5 * round(_cents(self._turn) / 5))
        gram = dictionary @ dictionary.T
        for scale in self._held:
            sharp = np.empty_like(scale)
            standing_out(loudness(scale), _SURROUNDINGS, sharp)
            notes = np.empty((scale.shape[0], NOTES.size), np.float32)
            explained(gram, sharp @ dictionary.T, 60, notes)
            self._treble.append(_folded(notes * _TREBLE))
            self._bass.append(_folded(notes * _BASS))
        self._held, self._count = [], 0

    def done(self) -> Harmony:
        for frames in self._frames.end():
            self._heard(frames)
        self._settle()
        return Harmony(
            treble=np.concatenate(self._treble or [np.zeros((0, 12), np.float32)]),
            bass=np.concatenate(self._bass or [np.zeros((0, 12), np.float32)]),
            level=np.concatenate(self._level or [np.zeros(0, np.float32)]),
            tuning=_cents(self._total),
        )


def _folded(notes: Samples) -> Samples:
    """All octaves of `(frames, notes)` in one, C first."""
    padded = np.zeros((notes.shape[0], 84), np.float32)
    padded[:, _LOWEST % 12 : _LOWEST % 12 + NOTES.size] = notes
    return np.asarray(padded.reshape(-1, 7, 12).sum(axis=1))


def _cents(turn: NDArray[np.float64]) -> float:
    return 100 * math.atan2(turn[1], turn[0]) / (2 * math.pi) if turn.any() else 0.0


HARMONY: Listened[Harmony] = Listened("harmony", version=2, stage=HALF, begin=_Hearing)
"""Chroma of treble and bass, and the tuning."""
