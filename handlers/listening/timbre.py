"""How a sound is coloured over time: energies of bands as wide as hearing resolves."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import Form, Listened
from handlers.listening.notes import RATE, SIZE, SLOW_SPECTRA

BANDS = 32
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 5400.0


@lru_cache(maxsize=1)
def _filters() -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], Samples]:
    """Triangles on the mel scale: first bin, bins, offset of the weights, and the weights."""

    def mel(f: float) -> float:
        return 2595 * float(np.log10(1 + f / 700))

    edges = np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), BANDS + 2)
    places = 700 * (10 ** (edges / 2595) - 1) * SIZE / RATE
    first, weights = [], []
    for low, middle, high in zip(places, places[1:], places[2:], strict=False):
        bins = np.arange(int(np.ceil(low)), int(np.floor(high)) + 1)
        shape = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
        first.append(bins[0])
        weights.append(np.maximum(shape, 0) / max(shape.sum(), 1e-9))
    counts = np.array([w.size for w in weights], np.int32)
    offsets = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int32)
    return np.array(first, np.int32), counts, offsets, np.concatenate(weights).astype(np.float32)


class _Bands:
    """Collects band levels."""

    def __init__(self) -> None:
        self._levels: list[Samples] = []

    def add(self, piece: Samples) -> None:
        from handlers.kernels.harmony import gather

        out = np.empty((piece.shape[0], BANDS), np.float32)
        gather(piece, *_filters(), out)
        self._levels.append(out)

    def done(self) -> Samples:
        return np.concatenate(self._levels or [np.zeros((0, BANDS), np.float32)])


def _begin(_form: Form) -> _Bands:
    return _Bands()


TIMBRE: Listened[Samples] = Listened("timbre", version=1, stage=SLOW_SPECTRA, begin=_begin)
"""Mean magnitudes in bands on the mel scale, float32 `(frames, BANDS)`, at `FRAME_RATE`."""
