"""The inner loops of onset detection: bands of a spectrum, how much they rise, how sharp it is."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, ROWS, STATE, VECTOR, kernel

_COUNTS = types.Array(types.int64, 1, "C", readonly=True)
_PLACES = types.Array(types.float64, 1, "C", readonly=True)
_OUT_PLACES = types.Array(types.float64, 1, "C")
_OFFSETS = types.Array(types.uint8, 1, "C", readonly=True)
_OUT_OFFSETS = types.Array(types.uint8, 1, "C")

#: The root of a half as the bits of a float32, for logarithms.
_ROOT_HALF = np.int32(0x3F3504F3)
_LOG_2, _TWICE_LOG_E = np.float32(math.log10(2)), np.float32(2 * math.log10(math.e))


@kernel(types.void(ROWS, _COUNTS, _COUNTS, ROW, types.boolean, OUT_ROWS), fast=VECTOR)
def bands(
    spectra: Samples,
    first: NDArray[np.int64],
    ends: NDArray[np.int64],
    weights: Samples,
    root: bool,
    out: Samples,
) -> None:
    """Weighted sums of magnitudes.

    Args:
        spectra: `(frames, 2 * bins)`, real and imaginary parts in turn.
        first: the first bin of each band, rising.
        ends: where each band's weights end in `weights`, which holds all of them in a row.
        weights: of the bins of each band.
        root: add up square roots of magnitudes.
        out: `(frames, bands)`.
    """
    low = first[0]
    high = first[-1] + ends[-1] - (ends[-2] if ends.size > 1 else 0)
    size = np.empty(high - low, np.float32)
    for frame in range(spectra.shape[0]):
        # Parts from 0 on: indices that might be negative keep the compiler from going wide.
        pairs = spectra[frame, 2 * low : 2 * high]
        for k in range(size.size):
            size[k] = pairs[2 * k] * pairs[2 * k] + pairs[2 * k + 1] * pairs[2 * k + 1]
        for k in range(size.size):
            size[k] = math.sqrt(size[k])
        if root:
            for k in range(size.size):
                size[k] = math.sqrt(size[k])
        start = 0
        for band in range(first.size):
            shape = weights[start : ends[band]]
            part = size[first[band] - low :]
            total = np.float32(0)
            for i in range(shape.size):
                total += shape[i] * part[i]
            out[frame, band] = total
            start = ends[band]


@kernel(types.void(ROWS, OUT_ROWS), fast=VECTOR)
def balance(spectra: Samples, out: Samples) -> None:
    """Sums of magnitudes, and of magnitudes times their bins.

    Args:
        spectra: `(frames, 2 * bins)`, real and imaginary parts in turn.
        out: `(frames, 2)`.
    """
    size = np.empty(spectra.shape[1] // 2, np.float32)
    for frame in range(spectra.shape[0]):
        pairs = spectra[frame]
        for k in range(size.size):
            size[k] = pairs[2 * k] * pairs[2 * k] + pairs[2 * k + 1] * pairs[2 * k + 1]
        total = np.float32(0)
        moment = np.float32(0)
        for k in range(size.size):
            magnitude = np.float32(math.sqrt(size[k]))
            total += magnitude
            moment += np.float32(k) * magnitude
        out[frame, 0], out[frame, 1] = total, moment


@kernel(types.void(ROWS, types.float32, types.int64, _COUNTS, OUT_ROWS), fast=VECTOR)
def rises(size: Samples, scale: float, lag: int, ends: NDArray[np.int64], out: Samples) -> None:
    """How much the level of bands rises within `lag` frames, added up by group of bands.

    What rises in a band is counted against the highest of it and its two neighbours:
    a voice that wavers does not begin anew (the maximum filter of SuperFlux).

    Args:
        size: `(lag + frames, bands)` magnitudes; the first `lag` only to compare with.
        scale: magnitudes are multiplied by it and compressed to `log10(1 + x)`.
        lag: frames.
        ends: where the bands of each group end.
        out: `(groups, frames)`.
    """
    frames, count = size.shape
    # A column of silence on either side: what rises there is counted against nothing more.
    level = np.zeros((frames, count + 2), np.float32)
    high = np.empty(count, np.float32)
    bits, mantissa = high.view(np.int32), np.empty(count, np.int32)
    reduced = mantissa.view(np.float32)
    for frame in range(frames):
        for band in range(count):
            high[band] = np.float32(1) + scale * size[frame, band]
        for band in range(count):
            # x = 2 ** e * m, with m from the root of a half to the root of two.
            above = bits[band] - _ROOT_HALF
            mantissa[band] = (above & 0x7FFFFF) + _ROOT_HALF
            bits[band] = above >> 23
        for band in range(count):
            # log(m) = 2 atanh(s), to 3e-8.
            s = (reduced[band] - np.float32(1)) / (reduced[band] + np.float32(1))
            q = s * s
            series = np.float32(1 / 7) * q + np.float32(1 / 5)
            series = (series * q + np.float32(1 / 3)) * q + np.float32(1)
            exponent = np.float32(bits[band])
            level[frame, band + 1] = exponent * _LOG_2 + s * series * _TWICE_LOG_E
    for frame in range(lag, frames):
        now, then = level[frame], level[frame - lag]
        start = 0
        for group in range(out.shape[0]):
            total = np.float32(0)
            for band in range(start, ends[group]):
                before = max(then[band], then[band + 1], then[band + 2])
                total += max(now[band + 1] - before, np.float32(0))
            out[group, frame - lag] = total
            start = ends[group]


@kernel(types.void(ROW, types.int64, STATE, OUT_ROW, _OUT_OFFSETS))
def energies(
    samples: Samples,
    hop: int,
    state: NDArray[np.float64],
    out: Samples,
    offsets: NDArray[np.uint8],
) -> None:
    """Energy of every `hop` samples after pre-emphasis, which shows attacks.

    Args:
        samples: a multiple of `hop`.
        hop: samples per value, at most 256.
        state: the sample before the first one; left as it has to be for the next call.
        out: one value for each `hop`.
        offsets: where in each hop its energy begins: the first sample with a quarter of
            the strongest one's.
    """
    before = np.float32(state[0])
    edge = np.empty(hop, np.float32)
    for i in range(out.size):
        total = np.float32(0)
        most = np.float32(0)
        for k in range(hop):
            sample = samples[i * hop + k]
            rise = sample - np.float32(0.95) * before
            before = sample
            edge[k] = rise * rise
            total += edge[k]
            most = max(most, edge[k])
        out[i] = total
        first = 0
        while edge[first] < np.float32(0.25) * most:
            first += 1
        offsets[i] = first
    state[0] = before


@kernel(
    types.void(
        ROW, _OFFSETS, types.int64, _PLACES, types.int64, types.int64, types.int64,
        _OUT_PLACES, _OUT_PLACES,
    )
)  # fmt: skip
def attacks(
    energy: Samples,
    offsets: NDArray[np.uint8],
    hop: int,
    around: NDArray[np.float64],
    reach: int,
    before: int,
    after: int,
    places: NDArray[np.float64],
    sharpness: NDArray[np.float64],
) -> None:
    """Where, near each of some places, energy rises most suddenly.

    Args:
        energy, offsets, hop: from `energies`.
        around: places to look at, in samples.
        reach: how far an attack may lie from them, in hops.
        before, after: how many hops are compared on either side of an edge.
        places: the sample after the edge with which what is loud begins.
        sharpness: natural logarithm of energy after over energy before.
    """
    width = 2 * reach + before + after
    total = np.empty(width + 1, np.float64)
    for number in range(around.size):
        first = math.floor(around[number] / hop + 0.5) - reach - before
        total[0] = 0
        for k in range(width):
            i = first + k
            total[k + 1] = total[k] + (energy[i] if 0 <= i < energy.size else 0.0)
        floor = 1e-3 * total[width] / width + 1e-18
        best, place, sharp = -1.0, before + reach, 0.0
        for k in range(before, before + 2 * reach + 1):
            quiet = (total[k] - total[k - before]) / before
            loud = (total[k + after] - total[k]) / after
            rise = math.log((loud + floor) / (quiet + floor))
            value = rise * math.sqrt(max(loud - quiet, 0.0))
            if value > best:
                best, place, sharp = value, k, rise
        # Resamplers and encoders ring before an attack: it begins where it is nearly loud.
        most = 0.0
        for k in range(place, place + after):
            most = max(most, total[k + 1] - total[k])
        while place < width - 1 and total[place + 1] - total[place] < 0.1 * most:
            place += 1
        i = first + place
        inside = offsets[i] if 0 <= i < offsets.size else 0
        places[number] = i * hop + inside
        sharpness[number] = sharp
