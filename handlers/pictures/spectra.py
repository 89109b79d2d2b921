"""The spectrum under each column of a picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.spectral import hann

Power = NDArray[np.float32]
"""float32, `(lanes, columns, bins)`: a sine of amplitude 1 has 1 at its bin."""

Numbers = NDArray[np.int64]

#: Windows that are transformed at a time.
_BATCH = 64


def column_spectra(sound: Blocks, width: int, size: int, *, together: bool) -> Iterator[Power]:
    """Mean power spectra of the columns from left to right, some columns at a time.

    Column `c` stands for the frames from `c * frames / width` on. Hann windows
    of `size` samples follow one another by half of it, and a column is the
    mean of those whose middle it holds; where columns are narrower than that,
    each has one, in its own middle. So nothing is left out, however long the
    sound, and the blocks that it came in do not matter. A sound without
    frames has no columns.

    Args:
        sound: what to look at, in one pass.
        width: columns in all.
        size: samples of a window.
        together: the mean of all channels as one lane, else a lane per channel.
    """
    if not sound.frames:
        return
    middles, columns = _middles(sound.frames, width, size // 2)
    starts = middles - size // 2
    held = _Held(sound.channels, size)
    means = _ColumnMeans(1 if together else sound.channels, sound.channels, size)
    done = 0
    for block in held.passing(sound):
        held.add(block)
        ready = int(np.searchsorted(starts, held.end - size, "right"))
        while ready - done >= _BATCH or (held.ended and ready > done):
            now = slice(done, min(done + _BATCH, ready))
            yield from means.add(held.spectra(starts[now]), columns[now])
            done = now.stop
        held.forget(int(starts[done]) if done < starts.size else held.end)
    yield from means.rest()


def _middles(frames: int, width: int, hop: int) -> tuple[Numbers, Numbers]:
    """The middles of all windows, and the column that each belongs to."""
    if frames < width * hop:
        columns = np.arange(width)
        return (2 * columns + 1) * frames // (2 * width), columns
    middles = np.arange(hop // 2, frames, hop)
    return middles, middles * width // frames


class _Held:
    """The samples in hand, and windows of them."""

    def __init__(self, channels: int, size: int) -> None:
        self._window = hann(size)
        self._samples = np.zeros((channels, 0), np.float32)
        self._begin = -size
        #: Where in `_samples` that begins which is still needed.
        self._needed = 0
        #: True when what is in hand is the last there is.
        self.ended = False

    @property
    def end(self) -> int:
        """Where the samples in hand end."""
        return self._begin + self._samples.shape[1]

    def passing(self, sound: Blocks) -> Iterator[Samples]:
        """The sound between two silences, for the windows that reach beyond it."""
        silence = np.zeros((sound.channels, self._window.size), np.float32)
        yield silence
        yield from sound
        self.ended = True
        yield silence

    def add(self, block: Samples) -> None:
        """Take what follows."""
        self._samples = np.concatenate((self._samples[:, self._needed :], block), axis=1)
        self._begin += self._needed
        self._needed = 0

    def forget(self, until: int) -> None:
        """What lies before `until` is not needed any more."""
        self._needed = until - self._begin

    def spectra(self, starts: Numbers) -> NDArray[np.complex64]:
        """The spectra of the windows that begin at `starts`: `(channels, windows, bins)`."""
        from scipy import fft

        from handlers.kernels.spectrogram import windowed

        shape = (self._samples.shape[0], starts.size, self._window.size)
        pieces = np.empty(shape, np.float32)
        windowed(self._samples, starts - self._begin, self._window, pieces)
        return np.asarray(fft.rfft(pieces, axis=2))


class _ColumnMeans:
    """Joins the windows of each column."""

    def __init__(self, lanes: int, channels: int, size: int) -> None:
        scale = np.full(size // 2 + 1, 2 / hann(size).sum(), np.float32)
        # No mirror image adds to these two.
        scale[[0, -1]] /= 2
        self._scale = scale * scale * np.float32(lanes / channels)
        #: The column that more windows may belong to, its sum and how many it is of.
        self._column = 0
        self._sum = np.zeros((lanes, scale.size), np.float32)
        self._count = 0

    def add(self, spectra: NDArray[np.complex64], columns: Numbers) -> Iterator[Power]:
        """Further windows, in order; gives the columns that they complete."""
        from handlers.kernels.spectrogram import add_power

        count = int(columns[-1]) - self._column + 1
        sums = np.zeros((self._sum.shape[0], count, self._scale.size), np.float32)
        sums[:, 0] = self._sum
        add_power(spectra, columns, self._column, sums)
        counts = np.bincount(columns - self._column, minlength=count)
        counts[0] += self._count
        self._column = int(columns[-1])
        self._sum, self._count = sums[:, -1].copy(), int(counts[-1])
        if count > 1:
            yield self._means(sums[:, :-1], counts[:-1])

    def rest(self) -> Iterator[Power]:
        """The last column."""
        yield self._means(self._sum[:, None], np.array([self._count]))

    def _means(self, sums: Power, counts: Numbers) -> Power:
        means: Power = sums * self._scale
        means /= counts[:, None].astype(np.float32)
        return means
