"""Where something begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.hearing import Derived, Heard
from handlers.listening.flux import FLUX, Flux
from handlers.listening.pulse import around, moving_mean
from handlers.listening.rhythm import placed

#: An onset is the highest within this reach, stands this far above the mean of what is
#: closely around it, relative to the mean of some seconds; and keeps this distance.
_HIGHEST, _CLOSE, _AROUND = 3, 17, 803
_ABOVE = 0.4
#: And this far at least: what a vibrato leaves is smaller.
_LEAST = 0.7
_APART = 3


@dataclass(frozen=True)
class Onsets:
    """Beginnings of notes and hits."""

    #: Seconds, rising.
    times: NDArray[np.float64]
    #: 0 to 1; 1 is the strongest of the recording.
    strengths: NDArray[np.float64]


def onsets_of(flux: Flux) -> Onsets:
    """Pick the peaks of the rises.

    Source: S. Böck, F. Krebs and M. Schedl, "Evaluating the Online Capabilities of Onset
    Detection Methods", ISMIR 2012, with a threshold that follows the music's level.
    """
    strength = flux.rises.sum(axis=0)
    rows = strength[None]
    close, usual = moving_mean(rows, _CLOSE)[0], moving_mean(rows, _AROUND)[0]
    highest = around(rows, _HIGHEST)[0]
    above = strength - close
    peaks = np.flatnonzero((strength >= highest) & (above > _ABOVE * usual + _LEAST))
    kept: list[int] = []
    for peak in peaks.tolist():
        if not kept or peak - kept[-1] >= _APART:
            kept.append(peak)
    frames = np.array(kept, np.int64)
    times = placed(frames, strength, flux)
    loudest = float(above[frames].max(initial=0)) or 1.0
    return Onsets(np.maximum.accumulate(times), np.clip(above[frames] / loudest, 0, 1))


def _onsets(heard: Heard) -> Onsets:
    return onsets_of(heard[FLUX])


ONSETS = Derived("onsets", version=1, needs=(FLUX,), compute=_onsets)
"""Onsets with their strengths."""
