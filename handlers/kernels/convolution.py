"""Convolution of a sound with a long response, by fast Fourier transforms.

Source: overlap-save, T. G. Stockham, "High-speed Convolution and Correlation",
AFIPS 1966.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.streams import Feed

#: Transform length over response length: longer ones make better use of each transform, until
#: they no longer fit the cache.
_LENGTHS = 4
_SHORTEST = 2**14


def convolved(feed: Feed, response: Samples, frames: int) -> Iterator[tuple[Samples, Samples]]:
    """The first `frames` frames of a sound convolved with a response.

    Args:
        feed: the sound, `(channels, ...)`; zeros follow its end.
        response: `(1, m)` for all channels, `(channels, m)` for one each; for a
            mono sound any number of them.
        frames: how many to give.

    Yields:
        The sound itself and the convolution, stretch by stretch, each
        `(channels, n)`.
    """
    from scipy import fft

    # Channels side by side: each transform is long enough to be worth a thread.
    cores = len(os.sched_getaffinity(0))
    taps = response.shape[1]
    size = max(1 << (_LENGTHS * taps - 1).bit_length(), _SHORTEST)
    hop = size - taps + 1
    spectrum = fft.rfft(response, size, axis=1)
    window = np.zeros((feed.channels, size), np.float32)
    for at in range(0, frames, hop):
        window[:, : taps - 1] = window[:, hop:].copy()
        # Block by block: a block is still in the cache when it is copied.
        for start in range(taps - 1, size, BLOCK_FRAMES):
            fresh = feed.read(min(BLOCK_FRAMES, size - start))
            window[:, start : start + fresh.shape[1]] = fresh
            window[:, start + fresh.shape[1] : start + BLOCK_FRAMES] = 0
        count = min(hop, frames - at)
        product = fft.rfft(window, axis=1, workers=cores) * spectrum
        wet = fft.irfft(product, size, axis=1, overwrite_x=True, workers=cores)
        yield window[:, taps - 1 : taps - 1 + count], wet[:, taps - 1 : taps - 1 + count]
