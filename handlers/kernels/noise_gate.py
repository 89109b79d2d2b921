"""The inner loops of a spectral noise gate: a noise floor, a mask against it, its smoothing.

All arrays are `(frames, bins)` of one channel.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, ROWS, kernel

_OUT_SPECTRA = types.Array(types.complex64, 2, "C")


@kernel(types.void(ROWS, types.float32, OUT_ROW, OUT_ROWS))
def follow(size: Samples, share: float, state: Samples, out: Samples) -> None:
    """A one-pole average along time that goes on where `state`, `(bins,)`, left off."""
    for frame in range(size.shape[0]):
        for k in range(size.shape[1]):
            state[k] += share * (size[frame, k] - state[k])
            out[frame, k] = state[k]


@kernel(types.void(ROWS, ROWS, types.float32, types.float32, types.float32, OUT_ROWS))
def mask_above_floor(
    size: Samples, followed: Samples, share: float, above: float, slope: float, out: Samples
) -> None:
    """How far each spot stands out of the floor around it, as a share from 0 to 1.

    The floor is `followed`, averaged once more from the end to the beginning. A
    spot that is `1 + above` times the floor gets one half.

    Args:
        size: magnitudes.
        followed: their forward average, of the same shape.
        share: of a new frame in the average.
        above, slope: middle and steepness of the sigmoid.
        out: for the first frames of `size`.
    """
    state = followed[-1].copy()
    for frame in range(size.shape[0] - 1, -1, -1):
        for k in range(size.shape[1]):
            state[k] += share * (followed[frame, k] - state[k])
        if frame < out.shape[0]:
            for k in range(size.shape[1]):
                if state[k] <= 0:
                    out[frame, k] = 1
                    continue
                x = ((size[frame, k] - state[k]) / state[k] - above) * slope
                # Beyond 20 float32 knows nothing but 0 and 1.
                if x > 20:
                    out[frame, k] = 1
                elif x < -20:
                    out[frame, k] = 0
                else:
                    out[frame, k] = 1 / (1 + math.exp(-x))


@kernel(types.void(ROWS, ROW, OUT_ROWS))
def mask_above_threshold(size: Samples, threshold: Samples, out: Samples) -> None:
    """1 where a spot is louder than its bin's `threshold`, else 0."""
    for frame in range(size.shape[0]):
        for k in range(size.shape[1]):
            out[frame, k] = np.float32(1 if size[frame, k] > threshold[k] else 0)


@kernel(types.void(ROWS, ROW, ROW, types.int64, types.float32, _OUT_SPECTRA))
def apply_smoothed(
    mask: Samples,
    in_time: Samples,
    in_bins: Samples,
    first: int,
    depth: float,
    spectra: NDArray[np.complex64],
) -> None:
    """Multiply spectra by a smoothed mask.

    Beyond an edge there is nothing to average, so what is there counts for all:
    an open mask stays open at 0 Hz and in the first frame.

    Args:
        mask: 0 to 1; its frame `first` belongs to the first spectrum.
        in_time, in_bins: weights of the neighbours, of odd length.
        first: frames of `mask` before the first spectrum.
        depth: 1 takes all that the mask closes, 0 nothing.
        spectra: changed in place.
    """
    frames, bins = mask.shape
    reach_t, reach_b = in_time.size // 2, in_bins.size // 2
    row = np.empty(bins, np.float32)
    smooth = np.empty(bins, np.float32)
    norm = np.empty(bins, np.float32)
    norm[:] = 0
    for j in range(-reach_b, reach_b + 1):
        for k in range(max(0, -j), min(bins, bins - j)):
            norm[k] += in_bins[j + reach_b]
    for frame in range(spectra.shape[0]):
        at = frame + first
        row[:] = 0
        weight = np.float32(0)
        for j in range(max(-reach_t, -at), min(reach_t, frames - 1 - at) + 1):
            share = in_time[j + reach_t]
            weight += share
            for k in range(bins):
                row[k] += share * mask[at + j, k]
        smooth[:] = 0
        for j in range(-reach_b, reach_b + 1):
            share = in_bins[j + reach_b]
            for k in range(max(0, -j), min(bins, bins - j)):
                smooth[k] += share * row[k + j]
        for k in range(bins):
            open_ = smooth[k] / (norm[k] * weight)
            spectra[frame, k] *= np.float32(1) - depth * (np.float32(1) - open_)
