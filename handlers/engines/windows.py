"""A sound in windows of a fixed length, for models that hear one window at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks
from handlers.codecs.resample import resampled
from handlers.streams import Feed


def mono(sound: Blocks, rate: int) -> Blocks:
    """The mean of all channels at `rate`."""
    one = sound
    if sound.channels > 1:
        one = sound.like(lambda: (block.mean(axis=0, keepdims=True) for block in sound), channels=1)
    return resampled(one, rate)


def mono_windows(
    sound: Blocks, rate: int, size: int, shortest: int = 1
) -> Iterator[NDArray[np.float32]]:
    """The mean of all channels at `rate`, `(size,)` at a time; the last one may be shorter.

    Args:
        sound: what is heard.
        rate: samples per second that the model wants.
        size: samples per window.
        shortest: a last window with fewer samples is left out, unless it is the only one.
    """
    feed = Feed(mono(sound, rate))
    first = True
    while (window := feed.read(size)).shape[1]:
        if first or window.shape[1] >= shortest:
            yield window[0]
        first = False
