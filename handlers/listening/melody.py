"""The melody: of a single voice its pitch, of a mix the pitch that stands out; and its notes.

Sources: see `handlers.listening.pitch` for a single voice, `handlers.kernels.salience` for
a mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Derived, Form, Heard, Listened
from handlers.listening.frames import Frames
from handlers.listening.notes import NAMES
from handlers.listening.pitch import (
    AHEAD_S,
    FRAME_S,
    HIGHEST_HZ,
    HOP,
    LOWEST_HZ,
    SPAN,
    Contour,
    filled,
    single,
)

_SIZE, _BATCH = 2048, 64
#: A mix is looked at at every second frame: its pitches are not told apart so fast.
_EVERY = 2
#: The most salient pitches of a frame, and how much more the stronger ones count.
_CANDIDATES, _CONTRAST = 6, 2.0
#: Share of the chances that there is no pitch at all, and costs as for a single voice.
_NONE = 0.03
_LEAP, _SWITCH = 16.0, 4.0
#: A tune is heard where it stands out by the mean less this many standard deviations.
_HEARD = 0.5


class _Leader:
    """Follows the pitch that stands out of a mix."""

    def __init__(self, _form: Form, fmin: float, fmax: float) -> None:
        from handlers.spectral import hann

        # A frame looks ahead: what the first ones would look at before the sound is left out.
        self._skip = round(AHEAD_S * MONO_RATE)
        self._frames = Frames(_SIZE, _EVERY * HOP, _BATCH)
        self._window = hann(_SIZE) * np.float32(4 / _SIZE)
        self._samples = 0
        self._range = (max(fmin, LOWEST_HZ), min(fmax, HIGHEST_HZ))
        self._hertz: list[Samples] = []
        self._strength: list[Samples] = []

    def add(self, piece: Samples) -> None:
        self._samples += piece.size
        skipped = min(self._skip, piece.size)
        self._skip -= skipped
        for frames in self._frames.add(piece[skipped:]):
            self._heard(frames)

    def _heard(self, frames: Samples) -> None:
        from scipy import fft

        from handlers.kernels.salience import salient

        # Always as many, so that each is computed in the same way whatever the blocks were.
        windowed = np.zeros((_BATCH, _SIZE), np.float32)
        np.multiply(frames, self._window, out=windowed[: len(frames)])
        spectra = np.asarray(fft.rfft(windowed, axis=1))[: len(frames)]
        found = np.empty((2, len(frames), _CANDIDATES), np.float32)
        salient(spectra, MONO_RATE / _SIZE, *self._range, found[0], found[1])
        self._hertz.append(found[0])
        self._strength.append(found[1])

    def done(self) -> Contour:
        from handlers.kernels.pitch import pitch_path

        count = self._samples // (_EVERY * HOP) + 1 if self._samples else 0
        for frames in (*self._frames.add(np.zeros(_SIZE, np.float32)), *self._frames.end()):
            self._heard(frames)
        none = np.zeros((0, _CANDIDATES), np.float32)
        found = np.concatenate(self._hertz or [none])[:count]
        strength = np.concatenate(self._strength or [none])[:count]
        chance = strength**_CONTRAST
        chance *= (1 - _NONE) / np.maximum(chance.sum(axis=1, keepdims=True), 1e-12)
        path = np.empty(len(found), np.int16)
        pitch_path(found, chance.astype(np.float32), _LEAP, _SWITCH, path)
        at = np.arange(len(path))
        pitched = path >= 0
        heard = np.where(pitched, strength[at, np.maximum(path, 0)], 0)
        known = heard[pitched]
        least = float(known.mean() - _HEARD * known.std()) if known.size else 0.0
        guess = filled(found[at, np.maximum(path, 0)], pitched)
        # As many frames as for a single voice.
        single = self._samples // HOP + 1 if self._samples else 0
        hertz, voiced, stands_out = (
            np.repeat(row, _EVERY)[:single] for row in (guess, pitched & (heard > least), heard)
        )
        return Contour(hertz, voiced, stands_out, stands_out)


@lru_cache(maxsize=32)
def leading(fmin: float = 65.0, fmax: float = 2093.0) -> Listened[Contour]:
    """The feature that searches from `fmin` to `fmax` Hz for the tune of a mix.

    Its `level` and `clarity` are how much the pitch stands out.
    """
    return Listened(
        f"leading pitch {fmin:g} to {fmax:g} Hz",
        version=2,
        stage=MONO,
        begin=lambda form: _Leader(form, fmin, fmax),
    )


#: Share of the time with a level in which one pitch explains nearly everything, from which
#: on a sound is a single voice.
_SINGLE = 0.5
_CLEAR = 0.3


def alone(contour: Contour) -> float:
    """The share of what sounds, by energy, that is one clear pitch: 1 for a single voice."""
    energy = np.square(contour.level.astype(np.float64))
    total = float(energy.sum())
    return float(energy[contour.clarity > _CLEAR].sum()) / total if total > 0 else 0.0


@lru_cache(maxsize=32)
def melody(fmin: float = 65.0, fmax: float = 2093.0) -> Derived[Contour]:
    """The feature that searches from `fmin` to `fmax` Hz, in whichever way suits the sound."""
    one, many = single(fmin, fmax), leading(fmin, fmax)

    def compute(heard: Heard) -> Contour:
        return heard[one] if alone(heard[one]) >= _SINGLE else heard[many]

    return Derived(f"melody {fmin:g} to {fmax:g} Hz", version=1, needs=(one, many), compute=compute)


@dataclass(frozen=True)
class Tone:
    """A note of the melody."""

    start: float
    end: float
    #: MIDI number of the nearest semitone, and the pitch itself on the same scale.
    pitch: int
    exact: float


#: A new note is further than this from the middle of the one before, and stays within this of
#: a pitch of its own for so many frames.
_NEAR_SEMITONES = 0.6
_NEW_FRAMES = 5
_SHORTEST_S = 0.06
#: A level that rises by so much within `SPAN` frames strikes the same note again.
_STRUCK_DB = 6.0


def tones(contour: Contour) -> list[Tone]:
    """The melody as notes: a note lasts while its pitch stays near one semitone."""
    with np.errstate(divide="ignore"):
        scale = 69 + 12 * np.log2(np.where(contour.hertz > 0, contour.hertz, 440) / 440)
    level_db = 20 * np.log10(np.maximum(contour.level, 1e-7))
    struck = np.zeros(len(level_db), bool)
    struck[SPAN:] = level_db[SPAN:] - level_db[:-SPAN] > _STRUCK_DB
    edges = np.flatnonzero(np.diff(np.concatenate(([False], contour.voiced, [False]))))
    made: list[Tone] = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for first, last in _notes(scale[begin:end], struck[begin:end]):
            exact = float(np.median(scale[begin + first : begin + last]))
            start, stop = (begin + first) * FRAME_S, (begin + last) * FRAME_S
            if stop - start >= _SHORTEST_S:
                made.append(Tone(start, stop, round(exact), exact))
    return made


def _notes(scale: NDArray[np.float64], struck: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where notes begin and end within one stretch of pitch."""
    ahead = np.lib.stride_tricks.sliding_window_view(
        np.pad(scale, (0, _NEW_FRAMES - 1), constant_values=1e9), _NEW_FRAMES
    )
    # The middle one of an odd number.
    coming = np.sort(ahead, axis=1)[:, _NEW_FRAMES // 2]
    settled = np.abs(ahead - coming[:, None]).max(axis=1) < _NEAR_SEMITONES
    again = struck & ~np.concatenate(([False], struck[:-1]))
    found = []
    begin = 0
    for at in np.flatnonzero(settled | again).tolist():
        if at - begin < (_NEW_FRAMES if again[at] else 1):
            continue
        # From the note's own middle: a vibrato about a wrong pitch is still one note.
        middle = np.median(scale[begin:at])
        moved = min(abs(coming[at] - middle), abs(scale[at] - middle)) > _NEAR_SEMITONES
        if again[at] or (settled[at] and moved):
            found.append((begin, at))
            begin = at
    found.append((begin, len(scale)))
    return found


def note_name(pitch: int) -> str:
    """`C4` for 60."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"
