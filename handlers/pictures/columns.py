"""What lies under each column of a picture: the extremes and the power of its samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks


class Columns:
    """The outline of a sound, one value per channel and column of a picture.

    `low` and `high` (float32, `(channels, width)`) are the extremes, joined so
    that neighbouring columns touch; `rms` is what lies between, on average. A
    sound of fewer samples than columns is a `line` without anything between.
    """

    def __init__(self, sound: Blocks, width: int) -> None:
        """Read `sound` once; column `c` begins at frame `c * frames // width`."""
        shape = (sound.channels, width)
        self.low = np.zeros(shape, np.float32)
        self.high = np.zeros(shape, np.float32)
        self.rms = np.zeros(shape, np.float32)
        self.line = 0 < sound.frames <= width
        if self.line:
            self._join_samples(sound)
        elif sound.frames:
            self._gather(sound)

    def merged(self) -> None:
        """Put all channels into one."""
        self.low = self.low.min(axis=0, keepdims=True)
        self.high = self.high.max(axis=0, keepdims=True)
        self.rms = self.rms.max(axis=0, keepdims=True)

    def _gather(self, sound: Blocks) -> None:
        frames, width = sound.frames, self.low.shape[1]
        edges = np.arange(width + 1) * frames // width
        self.low[:], self.high[:] = np.inf, -np.inf
        at = 0
        for block in sound:
            end = min(at + block.shape[1], frames)
            first, last = (int(np.searchsorted(edges, x, "right")) - 1 for x in (at, end - 1))
            within = np.maximum(edges[first : last + 1] - at, 0)
            here = slice(first, last + 1)
            piece = block[:, : end - at]
            low = np.minimum.reduceat(piece, within, axis=1)
            high = np.maximum.reduceat(piece, within, axis=1)
            self.low[:, here] = np.minimum(self.low[:, here], low)
            self.high[:, here] = np.maximum(self.high[:, here], high)
            self.rms[:, here] += np.add.reduceat(piece * piece, within, axis=1)
            at = end
        self.rms = np.sqrt(self.rms / np.diff(edges).astype(np.float32))
        low, high = self.low.copy(), self.high.copy()
        self.low[:, 1:] = np.minimum(low[:, 1:], high[:, :-1])
        self.high[:, 1:] = np.maximum(high[:, 1:], low[:, :-1])

    def _join_samples(self, sound: Blocks) -> None:
        """Fewer samples than columns: straight lines from sample to sample."""
        samples = sound.whole().samples
        at = np.linspace(0, samples.shape[1] - 1, self.low.shape[1] + 1)
        for channel, row in enumerate(samples):
            line: NDArray[np.float64] = np.interp(at, np.arange(row.size), row)
            self.low[channel] = np.minimum(line[1:], line[:-1])
            self.high[channel] = np.maximum(line[1:], line[:-1])
