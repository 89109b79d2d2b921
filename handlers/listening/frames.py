"""Frames of a sound that arrives piece by piece, always cut at the same places, and their bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples


class Frames:
    """Stretches of `size` samples, centred on every `hop`-th sample, zeros beyond both ends.

    A sound of `n` samples has `n // hop + 1` of them. They come `batch` at a time,
    whatever the pieces; only the last batch is shorter.
    """

    def __init__(self, size: int, hop: int, batch: int) -> None:
        self._size, self._hop, self._batch = size, hop, batch
        self._waiting = [np.zeros(size // 2, np.float32)]
        self._have = size // 2

    def add(self, samples: Samples) -> Iterator[Samples]:
        """The batches `(batch, size)` that are complete with these samples; read-only views."""
        self._waiting.append(samples)
        self._have += samples.size
        if self._have >= self._size + (self._batch - 1) * self._hop:
            yield from self._ready()

    def end(self) -> Iterator[Samples]:
        """The rest; nothing comes after."""
        self._waiting.append(np.zeros(self._size // 2, np.float32))
        self._have += self._size // 2
        yield from self._ready()
        left = (self._have - self._size) // self._hop + 1
        if left > 0:
            yield self._views()[:left]

    def _ready(self) -> Iterator[Samples]:
        while self._have >= self._size + (self._batch - 1) * self._hop:
            yield self._views()[: self._batch]
            self._waiting = [self._waiting[0][self._batch * self._hop :]]
            self._have -= self._batch * self._hop

    def _views(self) -> Samples:
        samples = np.concatenate(self._waiting)
        self._waiting = [samples]
        count = max(0, (samples.size - self._size) // self._hop + 1)
        # A hundredth of the time of `sliding_window_view`.
        step = samples.itemsize
        pieces: Samples = np.ndarray(
            (count, self._size), np.float32, samples, strides=(self._hop * step, step)
        )
        pieces.flags.writeable = False
        return pieces


@dataclass(frozen=True)
class Bands:
    """Weighted sums over neighbouring bins, kept without the many zeros."""

    first: NDArray[np.int64]
    ends: NDArray[np.int64]
    weights: Samples

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.floating]]) -> Bands:
        """From the weights of all bins for each band; their first bins must rise."""
        bins = [np.flatnonzero(row) for row in rows]
        kept = [row[b[0] : b[-1] + 1] for row, b in zip(rows, bins, strict=True)]
        return cls(
            np.array([b[0] for b in bins], np.int64),
            np.cumsum([part.size for part in kept]),
            np.concatenate(kept).astype(np.float32),
        )

    def of_spectra(self, spectra: NDArray[np.complex64], *, root: bool = False) -> Samples:
        """Sums `(frames, bands)` of the magnitudes, or of their square roots."""
        from handlers.kernels.flux import bands

        out = np.empty((len(spectra), self.first.size), np.float32)
        bands(spectra.view(np.float32), self.first, self.ends, self.weights, root, out)
        return out
