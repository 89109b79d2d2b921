"""Tempo, beats and downbeats of a whole recording."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO_RATE, Derived, Heard
from handlers.listening import pulse
from handlers.listening.bars import bars
from handlers.listening.color import CHROMA
from handlers.listening.flux import ENERGY_HOP, FLUX, FRAME_RATE, HOP, Flux
from handlers.listening.pulse import Accents, Candidate

Floats = NDArray[np.float64]

#: Seconds over which one reading of the pulse holds; a change of song is found to this.
_STRETCH_S = 45.0
#: What it costs in log-odds to go to another tempo or level from stretch to stretch.
_CHANGE = 3.0
_SAME = 0.1
#: How much a beat of the chosen reading is worth when all are joined.
_BONUS = 2.0
#: Beats over which a tempo is measured: 5 ms are a tenth of a percent then.
_SPAN = 8


@dataclass(frozen=True)
class Pulse:
    """What people tap to. Times are seconds; without a pulse there are none."""

    #: Beats per minute: of the middle one of all distances.
    tempo: float | None
    beats: Floats
    #: The place of each beat in its bar, from 0: the downbeats.
    places: NDArray[np.int64]
    beats_per_bar: int
    #: 0 to 1: that the tempo is right, and not a multiple of what people would tap.
    tempo_confidence: float
    #: 0 to 1: the F-measure that the beats can be expected to have.
    beats_confidence: float
    #: 0 to 1: that the first of each bar is the first.
    downbeats_confidence: float

    @property
    def downbeats(self) -> Floats:
        """Times of the downbeats."""
        return np.asarray(self.beats[self.places == 0], np.float64)


def pulse_of(flux: Flux, chroma: Samples, hint_bpm: float | None = None) -> Pulse:
    """Track tempo and beats.

    Args:
        flux, chroma: of the sound.
        hint_bpm: about the tempo, where somebody knows it.
    """
    heard = pulse.accents(flux.rises, chroma)
    spans = list(pulse.stretches(flux.frames, _STRETCH_S))
    readings = [_hinted(pulse.candidates(heard.part(*span)), hint_bpm) for span in spans]
    if not any(readings):
        return _NONE
    path = _path(readings)
    beats = _joined(heard, spans, path)
    if len(beats) < 2:
        return _NONE
    times = placed(beats, heard.all, flux)
    compound = float(np.mean([c.features[_THIRDS] - c.features[_HALVES] for c, _ in path if c]))
    found = bars(beats, heard, compound)
    clear, chance = _confidence(spans, path, heard)
    expected = _WRONG_F + (_RIGHT_F - _WRONG_F) * chance
    return Pulse(
        tempo=tempo_of(times),
        beats=times,
        places=found.places,
        beats_per_bar=found.beats_per_bar,
        tempo_confidence=clear * chance,
        beats_confidence=clear * expected,
        downbeats_confidence=clear * expected * found.confidence,
    )


_THIRDS, _HALVES = pulse.FEATURES.index("thirds"), pulse.FEATURES.index("halves")
_NONE = Pulse(None, np.zeros(0), np.zeros(0, np.int64), 4, 0.0, 0.0, 0.0)

#: Usual F-measure of beats at the right level, and at another one (every second beat is right).
_RIGHT_F, _WRONG_F = 0.98, 0.65

_Chosen = tuple[Candidate | None, float]
"""A reading and its probability, for each stretch."""


def _hinted(readings: list[Candidate], hint: float | None) -> list[Candidate]:
    """Readings near a tempo that was named; where there are none, all."""
    if hint is None:
        return readings
    near = [r for r in readings if abs(math.log(r.tempo / hint)) < 0.25]
    return near or readings


def _path(readings: list[list[Candidate]]) -> list[_Chosen]:
    """One reading per stretch: likely ones, and the same as before where that makes sense."""
    scores: list[Floats] = []
    back: list[NDArray[np.int64]] = []
    known: list[int] = [n for n, found in enumerate(readings) if found]
    chances = {n: pulse.likelihoods(readings[n]) for n in known}
    for number, n in enumerate(known):
        score = chances[n].copy()
        if number:
            before = readings[known[number - 1]]
            apart = np.abs(
                np.subtract.outer(
                    np.log([r.tempo for r in readings[n]]), np.log([r.tempo for r in before])
                )
            )
            total = scores[-1][None, :] - np.where(apart < _SAME, 0, _CHANGE)
            back.append(total.argmax(axis=1))
            score += total.max(axis=1)
        scores.append(score)
    chosen = [int(scores[-1].argmax())]
    for came in reversed(back):
        chosen.append(int(came[chosen[-1]]))
    chosen.reverse()
    path: list[_Chosen] = [(None, 0.0)] * len(readings)
    for n, index in zip(known, chosen, strict=True):
        reading = readings[n][index]
        alike = [abs(math.log(r.tempo / reading.tempo)) < _SAME / 2 for r in readings[n]]
        path[n] = (reading, float(np.exp(chances[n][alike]).sum()))
    return path


def _joined(heard: Accents, spans: list[tuple[int, int]], path: list[_Chosen]) -> NDArray[np.int64]:
    """One series of beats through all stretches."""
    strength = heard.all.copy()
    periods = np.empty(strength.size)
    period = next(60 * FRAME_RATE / c.tempo for c, _ in path if c)
    for (start, end), (reading, _) in zip(spans, path, strict=True):
        if reading is not None:
            period = 60 * FRAME_RATE / reading.tempo
            strength[start + reading.beats] += _BONUS
        periods[start:end] = period
    return pulse.trimmed(pulse.tracked(strength, periods), heard.all)


def _confidence(
    spans: list[tuple[int, int]], path: list[_Chosen], heard: Accents
) -> tuple[float, float]:
    """How clear the pulse is, and how probable the readings are, where there is something."""
    weights = np.array([float(heard.all[start:end].sum()) for start, end in spans])
    weights /= max(float(weights.sum()), 1e-9)
    clear = weights @ np.array([c.clarity if c else 0.0 for c, _ in path])
    chance = weights @ np.array([min(chance, 1.0) for _, chance in path])
    return float(clear), float(chance)


def tempo_of(times: Floats) -> float | None:
    """Beats per minute: the median over spans of some beats each."""
    span = min(_SPAN, len(times) - 1)
    if span < 1:
        return None
    return float(60 * span / np.median(times[span:] - times[:-span]))


#: An attack this sharp (natural logarithm of energy after over before) gives its own time.
_SHARP = 1.5
_REACH_S = 0.03
#: Energies compared on either side of an attack: 12 and 7 ms.
_BEFORE, _AFTER = 8, 5


def placed(frames: NDArray[np.int64], strength: Samples, flux: Flux) -> Floats:
    """Seconds of beats or onsets: at the attack nearby, else between frames where rise peaks."""
    from handlers.kernels.flux import attacks

    # A rise counts over two frames, so its peak comes half a frame late on average.
    coarse = (_summits(frames, strength) - _LATE) * HOP / MONO_RATE
    places, sharp = np.empty(frames.size), np.empty(frames.size)
    reach = round(_REACH_S * MONO_RATE / ENERGY_HOP)
    attacks(
        flux.energy, flux.offsets, ENERGY_HOP, coarse * MONO_RATE, reach, _BEFORE, _AFTER,
        places, sharp,
    )  # fmt: skip
    fine = places / MONO_RATE
    return np.maximum(np.where(sharp > _SHARP, fine, coarse), 0.0)


_LATE = 0.3


def _summits(frames: NDArray[np.int64], strength: Samples) -> Floats:
    """The top of a parabola through the highest frame within two of each, and its neighbours."""
    padded = np.pad(strength, 3)
    near = padded[frames[:, None] + np.arange(1, 6)]
    top = frames + near.argmax(axis=1) - 2
    left, middle, right = (padded[top + 3 + k].astype(np.float64) for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0.0)
    return np.asarray(np.where(middle > 0, top + np.clip(shift, -0.5, 0.5), frames), np.float64)


def _pulse(heard: Heard) -> Pulse:
    return pulse_of(heard[FLUX], heard[CHROMA])


PULSE = Derived("pulse", version=2, needs=(FLUX, CHROMA), compute=_pulse)
"""Tempo, beats and downbeats of the whole."""
