"""A click at each of some times, over a sound or alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from handlers.artifacts import Blocks, Samples

#: 1 kHz and, where it counts, 1.5 kHz; peaks at half of full scale.
_HERTZ, _STRONG_HERTZ = 1000.0, 1500.0
_SECONDS, _DECAY_S = 0.06, 0.012
_LEVEL = 0.5


def with_clicks(
    sound: Blocks, times: Sequence[float], strong: Sequence[bool], *, alone: bool = False
) -> Blocks:
    """The sound at half its level with clicks on all channels, or the clicks alone.

    At half level both together do not exceed full scale where the sound did not.
    A click's first sample is the one nearest to its time.

    Args:
        times: seconds, rising.
        strong: which of them sound higher.
    """
    starts = np.rint(np.asarray(times, np.float64) * sound.rate).astype(np.int64)
    waves = [_click(sound.rate, hertz) for hertz in (_HERTZ, _STRONG_HERTZ)]
    length = waves[0].size

    def passing() -> Iterator[Samples]:
        at = 0
        for block in sound:
            frames = block.shape[1]
            out = np.zeros_like(block) if alone else block * np.float32(_LEVEL)
            first = int(np.searchsorted(starts, at - length, side="right"))
            last = int(np.searchsorted(starts, at + frames))
            for number in range(first, last):
                start = int(starts[number])
                low, high = max(start, at), min(start + length, at + frames)
                out[:, low - at : high - at] += waves[strong[number]][low - start : high - start]
            yield out
            at += frames

    return sound.like(passing)


def _click(rate: int, hertz: float) -> Samples:
    t = np.arange(max(1, round(_SECONDS * rate))) / rate
    # A cosine: the beat is the first sample, not the first rise.
    wave = np.cos(2 * np.pi * hertz * t) * np.exp(-t / _DECAY_S)
    return (_LEVEL * wave).astype(np.float32)
