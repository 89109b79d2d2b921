"""Frames of a sound that arrives piece by piece, always cut at the same places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

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
        self._waiting = [np.concatenate(self._waiting)]
        pieces = np.lib.stride_tricks.sliding_window_view(self._waiting[0], self._size)
        return pieces[:: self._hop]
