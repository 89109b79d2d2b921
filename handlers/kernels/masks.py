"""Spectra split by how much of them two estimates claim."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROWS, kernel

Real = np.float32 | float

_SPECTRA = types.Array(types.complex64, 2, "C", readonly=True)
_OUT_SPECTRA = types.Array(types.complex64, 2, "C")


@kernel(types.void(_SPECTRA, OUT_ROWS))
def magnitudes(spectra: NDArray[np.complex64], out: Samples) -> None:
    """Absolute values; both `(frames, bins)`."""
    for frame in range(spectra.shape[0]):
        for k in range(spectra.shape[1]):
            value = spectra[frame, k]
            out[frame, k] = np.sqrt(value.real * value.real + value.imag * value.imag)


@kernel(types.float32(types.float32, types.float32, types.float32, types.float32))
def _share(claim: Real, against: Real, undecided: Real, least: Real) -> Real:
    larger = max(claim, against)
    if larger < least:
        return undecided
    claim, against = claim / larger, against / larger
    return claim * claim / (claim * claim + against * against)


@kernel(types.void(_SPECTRA, ROWS, ROWS, types.float32, _OUT_SPECTRA, _OUT_SPECTRA))
def split_softly(
    spectra: NDArray[np.complex64],
    first: Samples,
    second: Samples,
    margin: float,
    out_first: NDArray[np.complex64],
    out_second: NDArray[np.complex64],
) -> None:
    """Give each of two estimates its share of the power, as a Wiener filter does.

    An estimate is weighed against `margin` times the other. With a margin of 1
    the two shares add up to the whole; with more, what neither clearly claims is
    left out of both. All arrays are `(frames, bins)`.
    """
    half = np.float32(0.5) if margin == 1 else np.float32(0)
    least = np.float32(1e-37)
    for frame in range(spectra.shape[0]):
        for k in range(spectra.shape[1]):
            one, two = first[frame, k], second[frame, k]
            out_first[frame, k] = spectra[frame, k] * _share(one, two * margin, half, least)
            out_second[frame, k] = spectra[frame, k] * _share(two, one * margin, half, least)
