"""Which pitch stands out of many that sound at once."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, kernel

#: Partials that speak for a pitch, and what each counts of the one before.
_PARTIALS, _SHARE = 6, 0.65
#: How loud a partial is counts with this power; those this far below the loudest do not.
_POWER, _LEAST = 0.9, 0.03
#: What is far below this many Hz hardly counts, as in the ear.
_SOFT_HZ = 200.0
#: Steps per octave, and how many a partial reaches to either side: half a semitone.
_STEPS, _REACH = 60, 2.5
#: Tunes lie about C5, most within sixteen semitones of it.
_MIDDLE, _WIDTH = 72.0, 16.0

_SPECTRA = types.Array(types.complex64, 2, "C", readonly=True)
_REAL = types.float64


@kernel(types.void(_SPECTRA, _REAL, _REAL, _REAL, OUT_ROWS, OUT_ROWS))
def salient(
    spectra: NDArray[np.complex64], bin_hz: float, fmin: float, fmax: float,
    hertz: Samples, strength: Samples,
) -> None:  # fmt: skip
    """The pitches that stand out most in each frame.

    Args:
        spectra: `(frames, bins)`.
        bin_hz: distance of the bins.
        fmin, fmax: range of the pitches.
        hertz, strength: `(frames, n)`, the results; 0 where there are no more.

    Source: J. Salamon and E. Gómez, "Melody extraction from polyphonic music signals using
    pitch contour characteristics", IEEE TASLP 20(6), 2012 (sum over partials); M. Goto, "A
    real-time music-scene-description system", Speech Communication 43, 2004 (prior of range).
    """
    bins = spectra.shape[1]
    most = hertz.shape[1]
    steps = max(3, int(_STEPS * np.log2(fmax / fmin)) + 1)
    weight = np.empty(steps)
    for i in range(steps):
        apart = (69 + 12 * np.log2(fmin / 440) + 12 * i / _STEPS - _MIDDLE) / _WIDTH
        weight[i] = np.exp(-0.5 * apart * apart)
    share = np.empty(_PARTIALS + 1)
    lower = np.empty(_PARTIALS + 1)
    for partial in range(1, _PARTIALS + 1):
        share[partial] = _SHARE ** (partial - 1)
        lower[partial] = _STEPS * np.log2(partial)
    size = np.empty(bins)
    sums = np.empty(steps)
    for frame in range(spectra.shape[0]):
        hertz[frame] = 0
        strength[frame] = 0
        loudest = 0.0
        for k in range(bins):
            value = spectra[frame, k]
            size[k] = np.sqrt(np.float64(value.real * value.real + value.imag * value.imag))
            if 3 <= k < bins - 3:
                loudest = max(loudest, size[k])
        if loudest <= 1e-7:
            continue
        sums[:] = 0
        for k in range(3, bins - 3):
            here = size[k]
            if here < loudest * _LEAST or here <= size[k - 1] or here < size[k + 1]:
                continue
            a, b, c = np.log(size[k - 1] + 1e-12), np.log(here), np.log(size[k + 1] + 1e-12)
            bend = a - 2 * b + c
            freq = bin_hz * (k + (0.5 * (a - c) / bend if bend < 0 else 0.0))
            loud = here**_POWER * (freq / (freq + _SOFT_HZ))
            first = _STEPS * np.log2(freq / fmin)
            for partial in range(1, _PARTIALS + 1):
                place = first - lower[partial]
                if place < -_REACH:
                    break
                low = max(0, int(np.ceil(place - _REACH)))
                high = min(steps - 1, int(np.floor(place + _REACH)))
                for i in range(low, high + 1):
                    apart = (i - place) / _REACH
                    near = 1 - apart * apart
                    sums[i] += loud * share[partial] * near * near
        for i in range(steps):
            sums[i] *= weight[i]
        found = 0
        for i in range(1, steps - 1):
            if sums[i] <= 0 or sums[i] < sums[i - 1] or sums[i] <= sums[i + 1]:
                continue
            at = found
            if found < most:
                found += 1
            else:
                at = 0
                for k in range(1, most):
                    if strength[frame, k] < strength[frame, at]:
                        at = k
                if strength[frame, at] >= sums[i]:
                    continue
            bend = sums[i - 1] - 2 * sums[i] + sums[i + 1]
            moved = 0.5 * (sums[i - 1] - sums[i + 1]) / bend if bend < 0 else 0.0
            hertz[frame, at] = fmin * 2 ** ((i + moved) / _STEPS)
            strength[frame, at] = sums[i]
