"""Which beats are downbeats, and how many beats a bar has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.listening.color import CHROMA_RATE
from handlers.listening.flux import FRAME_RATE
from handlers.listening.pulse import Accents, around

_LENGTHS = (2, 3, 4)
#: Log-odds of a downbeat from harmony's change and the four groups of accents (bass, body,
#: snare, cymbals) on the beat itself, the one before and the one after, each in standard
#: deviations: logistic regression on rendered pieces of other seeds than the bench's.
_WEIGHTS = np.array([
    1.18, 0.86, 0.54, 0.24, 0.23,
    -0.58, -0.26, -0.14, 0.16, 0.12,
    -0.71, -0.40, -0.06, 0.08, -0.37,
])  # fmt: skip
_OFFSET = -1.45
#: To count wrongly once costs as much as this in log-odds.
_SWITCH = 8.0
#: Beats in three parts speak for bars of two beats (6/8), by so much per beat.
_COMPOUND = 1 / 8


@dataclass(frozen=True)
class Bars:
    """How beats are grouped."""

    beats_per_bar: int
    #: The place of each beat in its bar, from 0.
    places: NDArray[np.int64]
    #: 0 to 1: the mean probability of the places.
    confidence: float


def bars(beats: NDArray[np.int64], heard: Accents, compound: float) -> Bars:
    """Group beats (frames) into bars of one length; a cut or an added beat is allowed for.

    Args:
        beats: at least two.
        heard: the accents of the whole sound.
        compound: how much stronger thirds of a beat are than its halves (logarithm).

    Source: places in the bar as states that follow each other, N. Whiteley, A. Cemgil and
    S. Godsill, "Bayesian Modelling of Temporal Structure in Musical Audio", ISMIR 2006;
    harmony's change as the sign of a downbeat, M. Goto, JNMR 30(2), 2001.
    """
    from handlers.kernels.beats import best_bars

    odds = _odds(beats, heard)
    found = []
    for length in _LENGTHS:
        places = np.empty(beats.size, np.int64)
        best_bars(odds.astype(np.float32), length, _SWITCH, places)
        score = float(odds[places == 0].sum())
        if length == 2:
            score += max(compound, -1.0) * beats.size * _COMPOUND
        found.append((score, length, places))
    _, length, places = max(found, key=lambda entry: entry[0])
    return Bars(length, places, _confidence(odds, places, length))


def _odds(beats: NDArray[np.int64], heard: Accents) -> NDArray[np.float64]:
    rises = around(np.minimum(heard.bands, 4), 2)
    color = np.rint(beats / FRAME_RATE * CHROMA_RATE).astype(np.int64)
    change = around(heard.harmony[None].astype(np.float32), 2)[0]
    rows = np.vstack((
        change[np.clip(color, 0, change.size - 1)],
        rises[:, np.clip(beats, 0, rises.shape[1] - 1)],
    ))  # fmt: skip
    rows = (rows - rows.mean(axis=1, keepdims=True)) / (rows.std(axis=1, keepdims=True) + 1e-6)
    near = np.pad(rows, ((0, 0), (1, 1)), mode="edge")
    known = np.vstack((rows, near[:, :-2], near[:, 2:]))
    return np.asarray(_WEIGHTS @ known + _OFFSET, np.float64)


def _confidence(odds: NDArray[np.float64], places: NDArray[np.int64], length: int) -> float:
    """How much rather this counting is right than one that is shifted by some beats."""
    scores = np.array([float(odds[places == shift].sum()) for shift in range(length)])
    # Neighbouring bars repeat each other, so their evidence is worth less than its sum.
    scores = (scores - scores.max()) / np.sqrt(max(1, places.size / length))
    return float(1 / np.exp(scores).sum())
