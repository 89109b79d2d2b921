"""Where a sound is silent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.errors import CannotProcess

_MOST = 1_000_000
Range = tuple[int, int]
"""A stretch `[start, end)`, in frames."""


class Silences:
    """Finds what lies between silences while the blocks of a sound go by.

    Silence is where, for at least `min_silence_sec`, no sample of any channel
    reaches `threshold_db` (dBFS); shorter quiet belongs to the sound around it, also
    at both ends. To the sample: what is not silence begins and ends with a
    sample that reaches the threshold.
    """

    def __init__(self, rate: int, threshold_db: float, min_silence_sec: float) -> None:
        self._threshold = float(np.float32(10 ** (threshold_db / 20)))
        self._gap = max(math.ceil(min(min_silence_sec * rate, 2.0**62) - 1e-6), 1)
        self._state = np.array([0.0, -1.0, -1.0])
        self._ended: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, block: Samples) -> None:
        """Look at the next block `(channels, n)`.

        Raises:
            CannotProcess: there are more than a million silences.
        """
        from handlers.kernels.runs import loud_runs

        ended = np.empty((block.shape[1] // (self._gap + 1) + 2, 2))
        count = loud_runs(block, self._threshold, self._gap, self._state, ended)
        if count:
            self._ended.append(ended[:count].astype(np.int64))
            self._count += count
        if self._count > _MOST:
            raise CannotProcess(
                f"there are more than {_MOST} silences; a longer min_duration_sec would find fewer",
                field="min_duration_sec",
            )

    def done(self) -> list[Range]:
        """What is not silence, in order; nothing where all is."""
        frames, first, last = (int(value) for value in self._state)
        runs = [(int(a), int(b) + 1) for part in self._ended for a, b in part]
        if first >= 0:
            runs.append((first, last + 1))
        if not runs:
            return [(0, frames)] if 0 < frames < self._gap else []
        if runs[0][0] < self._gap:
            runs[0] = (0, runs[0][1])
        if frames - runs[-1][1] < self._gap:
            runs[-1] = (runs[-1][0], frames)
        return runs


def loud_ranges(sound: Blocks, threshold_db: float, min_silence_sec: float) -> list[Range]:
    """What lies between silences; see `Silences`. Costs one pass."""
    silences = Silences(sound.rate, threshold_db, min_silence_sec)
    for block in sound:
        silences.add(block)
    return silences.done()


def between(ranges: list[Range], frames: int) -> list[Range]:
    """What these ranges, in order, leave of a sound."""
    edges = [0, *(edge for pair in ranges for edge in pair), frames]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if end > start]
