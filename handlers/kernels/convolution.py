"""Convolution of a sound with a long response, by fast Fourier transforms.

Source: overlap-save, T. G. Stockham, "High-speed Convolution and Correlation",
AFIPS 1966.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handlers.artifacts import Samples
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

    taps = response.shape[1]
    size = max(1 << (_LENGTHS * taps - 1).bit_length(), _SHORTEST)
    hop = size - taps + 1
    spectrum = fft.rfft(response, size, axis=1)
    window: Samples | None = None
    for at in range(0, frames, hop):
        fresh = feed.read(hop)
        if window is None:
            window = np.zeros((fresh.shape[0], size), np.float32)
        window[:, : taps - 1] = window[:, size - taps + 1 :].copy()
        window[:, taps - 1 : taps - 1 + fresh.shape[1]] = fresh
        window[:, taps - 1 + fresh.shape[1] :] = 0
        count = min(hop, frames - at)
        wet = fft.irfft(fft.rfft(window, axis=1) * spectrum, size, axis=1)
        yield window[:, taps - 1 : taps - 1 + count], wet[:, taps - 1 : taps - 1 + count]
