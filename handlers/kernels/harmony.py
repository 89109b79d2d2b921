"""Which notes sound: spectra on a musical scale, and the notes that explain them."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, ROWS, STATE, VECTOR, kernel

_SPECTRA = types.Array(types.complex64, 2, "C", readonly=True)


@kernel(types.void(ROW, ROW, OUT_ROW), fast=VECTOR)
def halved(samples: Samples, taps: Samples, out: Samples) -> None:
    """Every second sample of a sound that a half-band filter has passed.

    Args:
        samples: `2 * out.size - 1`, and `2 * taps.size - 1` more on either side.
        taps: of the filter, at 1, 3, 5, ... samples from its middle, which is a half; those
            between are zero.
        out: what is kept.
    """
    # Apart, so that neighbours in memory are summed side by side.
    beside = np.empty(out.size + 2 * taps.size - 1, np.float32)
    for i in range(beside.size):
        beside[i] = samples[2 * i]
    middle = 2 * taps.size - 1
    for i in range(out.size):
        out[i] = np.float32(0.5) * samples[2 * i + middle]
    for k in range(taps.size):
        before = beside[taps.size - 1 - k : taps.size - 1 - k + out.size]
        after = beside[taps.size + k : taps.size + k + out.size]
        weight = taps[k]
        for i in range(out.size):
            out[i] += weight * (before[i] + after[i])


@kernel(types.void(_SPECTRA, types.int64, types.int64, types.float64, STATE))
def mistuning(
    spectra: NDArray[np.complex64], lowest: int, highest: int, bin_hz: float,
    turn: NDArray[np.float64],
) -> None:  # fmt: skip
    """Adds to `turn` how far spectral peaks lie from the semitones of A = 440 Hz.

    Each peak between bins `lowest` and `highest` adds its size at the angle
    `2 pi` times its distance, in semitones; the angle of the sum is the tuning.
    Peaks below a tenth of the frame's largest do not count.
    """
    row = np.empty(highest + 1, np.float32)
    for frame in range(spectra.shape[0]):
        largest = np.float32(0)
        for k in range(lowest - 1, highest + 1):
            value = spectra[frame, k]
            row[k] = np.sqrt(value.real * value.real + value.imag * value.imag)
            largest = max(largest, row[k])
        least = max(largest * np.float32(0.1), np.float32(1e-6))
        for k in range(lowest, highest):
            here = row[k]
            if here < least or here <= row[k - 1] or here < row[k + 1]:
                continue
            # A parabola through the logarithms, exact for a Gaussian peak and near for Hann's.
            a = np.log(row[k - 1] + 1e-12)
            b = np.log(here + 1e-12)
            c = np.log(row[k + 1] + 1e-12)
            bend = a - 2 * b + c
            place = k + (0.5 * (a - c) / bend if bend < 0 else 0.0)
            angle = 2 * np.pi * 12 * np.log2(place * bin_hz / 440.0)
            turn[0] += here * np.cos(angle)
            turn[1] += here * np.sin(angle)


@kernel(types.void(ROWS, types.int64, OUT_ROWS))
def standing_out(spectra: Samples, reach: int, out: Samples) -> None:
    """What of each spectrum stands out of its surroundings, in their standard deviations.

    Args:
        spectra: `(frames, bins)`.
        reach: bins to either side that are looked at, fewer at the ends; the nearer half
            of them counts twice.
        out: as `spectra`; 0 where a bin is not above the mean around it.
    """
    # Two boxes, one in the other, are as good as a Hamming window and need running sums only;
    # a single one is not: partials at its edges come and go.
    bins = spectra.shape[1]
    total = np.zeros(bins + 1)
    square = np.zeros(bins + 1)
    near = reach // 2
    for frame in range(spectra.shape[0]):
        for k in range(bins):
            value = np.float64(spectra[frame, k])
            total[k + 1] = total[k] + value
            square[k + 1] = square[k] + value * value
        for k in range(bins):
            low, high = max(0, k - reach), min(bins, k + reach + 1)
            inner, outer = max(0, k - near), min(bins, k + near + 1)
            count = high - low + outer - inner
            mean = (total[high] - total[low] + total[outer] - total[inner]) / count
            mean_square = (square[high] - square[low] + square[outer] - square[inner]) / count
            variance = mean_square - mean * mean
            above = spectra[frame, k] - mean
            out[frame, k] = above / np.sqrt(variance) if above > 0 and variance > 1e-16 else 0.0


@kernel(types.void(ROWS, ROWS, types.int64, OUT_ROWS), fast=VECTOR)
def explained(gram: Samples, right: Samples, sweeps: int, out: Samples) -> None:
    """Non-negative least squares by coordinate descent, one problem per row.

    Minimises `|E x - b|` over `x >= 0` given `gram = E'E` `(n, n)` and
    `right = E'b` `(frames, n)`; `out` `(frames, n)` holds the `x`.

    Source: V. Franc, V. Hlavac and M. Navara, "Sequential coordinate-wise
    algorithm for the non-negative least squares problem", CAIP 2005.
    """
    n = gram.shape[0]
    slope = np.empty(n, np.float32)
    for frame in range(right.shape[0]):
        x = out[frame]
        largest = np.float32(0)
        for k in range(n):
            x[k] = 0
            slope[k] = -right[frame, k]
            largest = max(largest, right[frame, k])
        small = largest * np.float32(1e-4)
        for _ in range(sweeps):
            moved = np.float32(0)
            for k in range(n):
                better = max(np.float32(0), x[k] - slope[k] / gram[k, k])
                step = better - x[k]
                if step != 0:
                    x[k] = better
                    for i in range(n):
                        slope[i] += step * gram[k, i]
                    moved = max(moved, abs(step) * gram[k, k])
            if moved <= small:
                break
