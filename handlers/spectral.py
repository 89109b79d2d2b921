"""Short-time spectra of a sound that is read piece by piece, and the way back.

Frames are centred on every `hop`-th sample, the first on sample 0, with zeros
beyond both ends; a sound of `n` samples has `n // hop + 1` of them. So the
spectra do not depend on the blocks that the sound came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples

Spectra = NDArray[np.complex64]
"""complex64, `(channels, frames, bins)`."""

BATCH = 128
"""Frames that are transformed at a time."""


def hann(size: int) -> NDArray[np.float32]:
    """The periodic Hann window."""
    turn = 2 * np.pi * np.arange(size) / size
    return (0.5 - 0.5 * np.cos(turn)).astype(np.float32)


def spectra(blocks: Iterable[Samples], channels: int, size: int, hop: int) -> Iterator[Spectra]:
    """Hann-windowed spectra of `size` samples every `hop`, up to `BATCH` frames at a time."""
    from scipy import fft

    window = hann(size)
    waiting = np.zeros((channels, size // 2), np.float32)

    def transformed(frames: int) -> Spectra:
        pieces = np.lib.stride_tricks.sliding_window_view(waiting, size, axis=1)
        return np.asarray(fft.rfft(pieces[:, : frames * hop : hop] * window, axis=2))

    def ready() -> Iterator[Spectra]:
        nonlocal waiting
        while (count := min(BATCH, (waiting.shape[1] - size) // hop + 1)) > 0:
            yield transformed(count)
            waiting = waiting[:, count * hop :]

    for block in blocks:
        waiting = np.concatenate((waiting, block), axis=1)
        if waiting.shape[1] >= size + (BATCH - 1) * hop:
            yield from ready()
    waiting = np.concatenate((waiting, np.zeros((channels, size // 2), np.float32)), axis=1)
    yield from ready()


class Resynthesis:
    """Overlap-adds spectra that `spectra` made, changed or not, back into samples.

    Unchanged spectra give the sound again: what the windows add up to is
    divided out (Griffin and Lim's least-squares inverse), also at both ends.
    """

    def __init__(self, channels: int, size: int, hop: int) -> None:
        self._size, self._hop, self._parts = size, hop, size // hop
        self._window = hann(size)
        self._sum = np.zeros((channels, size), np.float32)
        self._weight = np.zeros(size, np.float32)
        #: Samples before the first one of the sound.
        self._skip = size // 2

    def add(self, batch: Spectra) -> Samples:
        """Take further frames; gives the samples that no later frame can change."""
        from scipy import fft

        channels, count, _ = batch.shape
        hop, parts = self._hop, self._parts
        done = count * hop
        pieces = np.asarray(fft.irfft(batch, self._size, axis=2)) * self._window
        total = np.zeros((channels, count + parts - 1, hop), np.float32)
        weight = np.zeros((count + parts - 1, hop), np.float32)
        total.reshape(channels, -1)[:, : self._size - hop] += self._sum[:, : self._size - hop]
        weight.reshape(-1)[: self._size - hop] += self._weight[: self._size - hop]
        split = pieces.reshape(channels, count, parts, hop)
        squared = (self._window * self._window).reshape(parts, hop)
        for part in range(parts):
            total[:, part : part + count] += split[:, :, part]
            weight[part : part + count] += squared[part]
        flat, scale = total.reshape(channels, -1), weight.reshape(-1)
        self._sum = flat[:, done:].copy()
        self._weight = scale[done:].copy()
        return self._finished(flat[:, :done], scale[:done])

    def rest(self, frames: int) -> Samples:
        """The last `frames` samples, which had been waiting for later spectra."""
        return np.ascontiguousarray(self._finished(self._sum, self._weight)[:, :frames])

    def _finished(self, total: Samples, weight: NDArray[np.float32]) -> Samples:
        start = min(self._skip, total.shape[1])
        self._skip -= start
        scale = np.where(weight > 1e-8, weight, np.float32(1))
        return np.ascontiguousarray(total[:, start:] / scale[start:])


class Held:
    """Frames in hand: appended at the end, dropped at the front, seldom moved."""

    def __init__(self, channels: int, bins: int, dtype: type[np.generic]) -> None:
        self._room = np.empty((channels, 4 * BATCH, bins), dtype)
        self._start = self._end = 0

    @property
    def frames(self) -> NDArray[Any]:
        """What is in hand, `(channels, frames, bins)`."""
        return self._room[:, self._start : self._end]

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, batch: NDArray[Any]) -> None:
        """Take further frames."""
        count = batch.shape[1]
        if self._end + count > self._room.shape[1]:
            kept, room = self.frames, self._room
            # Twice what is needed: then each frame is moved once or twice in all.
            if 2 * (len(self) + count) > room.shape[1]:
                shape = (room.shape[0], 2 * (len(self) + count), room.shape[2])
                room = np.empty(shape, room.dtype)
            room[:, : kept.shape[1]] = kept
            self._room, self._start, self._end = room, 0, kept.shape[1]
        self._room[:, self._end : self._end + count] = batch
        self._end += count

    def drop(self, count: int) -> None:
        """Forget the first frames."""
        self._start += count
