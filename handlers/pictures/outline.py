"""The outline of a sound whose length is not known before its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handlers.artifacts import Blocks, Samples

_COLUMNS = 2048
#: Frames of the first, finest columns.
_FRAMES = 64


@dataclass(frozen=True)
class Outline:
    """Extremes and RMS level over all channels, float32, one value per column, on even time."""

    low: Samples
    high: Samples
    rms: Samples
    #: Seconds that one column stands for; the last one may be cut short by the end.
    step: float


class Outliner:
    """Gathers an outline in flat memory: whenever it grows too long, columns join in pairs."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frames = _FRAMES
        self._columns = 0
        #: Rows: lowest, highest, energy, frames.
        self._kept = np.zeros((4, 2 * _COLUMNS), np.float64)
        self._rest = np.zeros((1, 0), np.float32)

    def add(self, block: Samples) -> None:
        """Take the next piece, `(channels, frames)` or `(frames,)`."""
        # Whole columns are joined at once; what is left over waits for the next piece.
        piece = np.atleast_2d(block)
        if self._rest.shape[1]:
            piece = np.concatenate((self._rest, piece), axis=1)
        while piece.shape[1] >= self._frames:
            room = 2 * _COLUMNS - self._columns
            columns = min(piece.shape[1] // self._frames, room)
            self._take(piece[:, : columns * self._frames], self._frames)
            piece = piece[:, columns * self._frames :]
            if self._columns == 2 * _COLUMNS:
                self._halve()
        self._rest = piece.copy()

    def done(self) -> Outline:
        """The outline of all that came."""
        if self._rest.shape[1]:
            self._take(self._rest, self._rest.shape[1])
            self._rest = self._rest[:, :0]
        low, high, energy, frames = self._kept[:, : self._columns]
        rms = np.sqrt(energy / np.maximum(frames, 1))
        low, high, rms = (row.astype(np.float32) for row in (low, high, rms))
        return Outline(low, high, rms, self._frames / self._rate)

    def _take(self, piece: Samples, frames: int) -> None:
        columns = piece.reshape(piece.shape[0], -1, frames)
        here = slice(self._columns, self._columns + columns.shape[1])
        self._kept[0, here] = columns.min(axis=(0, 2))
        self._kept[1, here] = columns.max(axis=(0, 2))
        self._kept[2, here] = np.einsum("cnf,cnf->n", columns, columns) / piece.shape[0]
        self._kept[3, here] = frames
        self._columns = here.stop

    def _halve(self) -> None:
        pairs = self._kept.reshape(4, _COLUMNS, 2)
        self._kept[0, :_COLUMNS] = pairs[0].min(axis=1)
        self._kept[1, :_COLUMNS] = pairs[1].max(axis=1)
        self._kept[2:, :_COLUMNS] = pairs[2:].sum(axis=2)
        self._columns = _COLUMNS
        self._frames *= 2


def outline(sound: Blocks) -> Outline:
    """The outline of `sound`, in one pass."""
    gathered = Outliner(sound.rate)
    for block in sound:
        gathered.add(block)
    return gathered.done()
