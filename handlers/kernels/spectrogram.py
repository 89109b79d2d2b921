"""The inner loops of a picture of spectra."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROW, ROWS, VECTOR, kernel

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_OUT_CUBE = types.Array(types.float32, 3, "C")
_SPECTRA = types.Array(types.complex64, 3, "C", readonly=True)


@kernel(types.void(ROWS, _PLACES, ROW, _OUT_CUBE), fast=VECTOR)
def windowed(
    samples: Samples, starts: NDArray[np.int64], window: Samples, out: NDArray[np.float32]
) -> None:
    """The pieces of `samples` that begin at `starts`, each times `window`.

    Args:
        samples: `(channels, n)`.
        starts: `(pieces,)`, places in `samples`.
        window: `(size,)`.
        out: `(channels, pieces, size)`.
    """
    for channel in range(samples.shape[0]):
        row = samples[channel]
        for piece in range(starts.size):
            part = row[starts[piece] : starts[piece] + window.size]
            target = out[channel, piece]
            for k in range(window.size):
                target[k] = part[k] * window[k]


@kernel(types.void(_SPECTRA, _PLACES, types.int64, _OUT_CUBE), fast=VECTOR)
def add_power(
    spectra: NDArray[np.complex64], columns: NDArray[np.int64], first: int, sums: Samples
) -> None:
    """Add the power of each spectrum to that of its column.

    Args:
        spectra: `(channels, pieces, bins)`.
        columns: `(pieces,)`, the column of each piece.
        first: the column that `sums` begins with.
        sums: `(channels, columns, bins)`, or `(1, columns, bins)` for all channels together.
    """
    for channel in range(spectra.shape[0]):
        lane = min(channel, sums.shape[0] - 1)
        for piece in range(spectra.shape[1]):
            spectrum = spectra[channel, piece]
            target = sums[lane, columns[piece] - first]
            for k in range(spectrum.size):
                value = spectrum[k]
                target[k] += value.real * value.real + value.imag * value.imag


@kernel(types.void(ROWS, _PLACES, _PLACES, _PLACES, ROW, OUT_ROWS))
def gather_rows(
    power: Samples,
    first: NDArray[np.int64],
    after: NDArray[np.int64],
    below: NDArray[np.int64],
    share: Samples,
    out: Samples,
) -> None:
    """The rows of a picture from the bins of its columns.

    A row is the greatest of the bins `first` to `after`, and of the point at
    its own middle on the line from bin `below` to the next, `share` of the way.

    Args:
        power: `(columns, bins)`.
        first: `(rows,)`.
        after: `(rows,)`.
        below: `(rows,)`, at most bins - 2.
        share: `(rows,)`.
        out: `(columns, rows)`.
    """
    for column in range(power.shape[0]):
        bins = power[column]
        target = out[column]
        for row in range(first.size):
            low = bins[below[row]]
            found = low + (bins[below[row] + 1] - low) * share[row]
            for k in range(first[row], after[row]):
                found = max(found, bins[k])
            target[row] = found
