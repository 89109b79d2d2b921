"""What the engines that take sounds apart have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples

RATE = 44100
"""Samples per second that all of them were trained at."""


class Separator(Protocol):
    """Gives stems of a sound. It is made of stereo pairs, each taken apart on its own."""

    #: What it can give. An engine may name one stem more: what is left of the sound.
    outputs: tuple[str, ...]

    def separate(
        self, sound: Blocks, stems: Sequence[str], progress: Callable[[float], None], /
    ) -> Iterator[Samples]:
        """The wanted stems, as long as the sound.

        Args:
            sound: an even number of channels at `RATE`, finite; its length is known.
            stems: which, and in which order; at least one.
            progress: told the share of the work that is done; may raise to stop it.

        Yields:
            `(stems * channels, n)`: the channels of the first stem, of the second, ...
        """


class OverlapAdd:
    """Adds up weighted pieces that overlap, and gives their weighted mean in order."""

    def __init__(self, rows: int, size: int) -> None:
        """Pieces have `rows` rows; no more than `size` frames are unfinished at a time."""
        self._sum = np.zeros((rows, size), np.float32)
        self._weight = np.zeros(size, np.float32)
        #: What comes before has been given.
        self._start = 0

    def add(self, at: int, piece: Samples, weight: NDArray[np.float32]) -> None:
        """Add a piece that begins at frame `at`, with a weight per frame."""
        first = at - self._start
        last = first + piece.shape[1]
        self._sum[:, first:last] += piece * weight[: piece.shape[1]]
        self._weight[first:last] += weight[: piece.shape[1]]

    def take(self, end: int) -> Samples:
        """The frames up to `end`, which no later piece reaches."""
        count = end - self._start
        # A window may fall to almost nothing at its ends, but what it weighs there is the mean.
        weight = np.maximum(self._weight[:count], 1e-10, dtype=np.float32)
        mean = np.divide(self._sum[:, :count], weight, dtype=np.float32)
        for held in (self._sum, self._weight):
            held[..., :-count] = held[..., count:].copy()
            held[..., -count:] = 0
        self._start = end
        return mean


def items_of(window: Samples) -> list[tuple[int, Samples]]:
    """The stereo pairs of a window that are not silent, each with its number.

    Silence is all that these models make of silence, so it need not pass through them.
    """
    pairs = window.reshape(-1, 2, window.shape[1])
    return [(number, pair) for number, pair in enumerate(pairs) if pair.any()]
