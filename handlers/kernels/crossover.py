"""Splits a sound into bands that add up to it again.

A second-order Butterworth low-pass runs over the sound forwards and then
backwards. Together they have the magnitude of a fourth-order Linkwitz-Riley
filter, 1 / (1 + (f/fc)^4), and no phase at all; one minus that is the magnitude
of the high-pass that belongs to it. So bands are differences of low-passed
sounds, their sum is the sound itself, and none delays another.

Source: S. H. Linkwitz, "Active Crossover Networks for Noncoincident Drivers",
JAES 24(1), 1976; the two directions after J. Kormylo and V. Jain, "Two-Pass
Recursive Digital Filter with Zero Phase Shift", IEEE Trans. ASSP 22(5), 1974.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import BLOCK_FRAMES, Blocks, Samples
from handlers.kernels.jit import OUT_ROWS, ROWS, STATES, TABLE, kernel
from handlers.streams import Feed

Table = NDArray[np.float64]

#: A low-pass at fc rings for so many periods of fc until it is below -120 dB. The backward
#: filter, too, starts from rest, so it starts so many periods later than where it is needed.
_RINGING = 3.2
#: Below this many Hz a split is less steep than it says: it would need ever more memory.
_LOWEST = 10.0
#: Added to what is filtered: ringing in silence would sink into denormal numbers, which are slow.
#: As a float32 it is 0.
_STILL = 1e-60


def split(sound: Blocks, crossovers_hz: Sequence[float]) -> Iterator[list[Samples]]:
    """The bands of `sound`, low to high, stretch by stretch.

    Args:
        sound: what is split.
        crossovers_hz: ascending, above 0 and below half the rate.

    Yields:
        A float32 array `(channels, n)` for each band, all of the same frames.
        Whoever receives them may write into them.
    """
    filters = [_butterworth(freq, sound.rate) for freq in crossovers_hz]
    after = math.ceil(_RINGING / max(crossovers_hz[0], _LOWEST) * sound.rate)
    size = max(BLOCK_FRAMES, 2 * after)
    feed = Feed(sound)
    states = [np.zeros((sound.channels, 2)) for _ in filters]
    # The next `size` frames to give and the `after` beyond them, as they are and filtered.
    heard = np.zeros((sound.channels, size + after), np.float32)
    passed = [np.zeros_like(heard) for _ in filters]
    known = filtered = 0
    while True:
        fresh = feed.read(heard.shape[1] - known)
        heard[:, known : known + fresh.shape[1]] = fresh
        known += fresh.shape[1]
        # Behind the end there are zeros, over which the filters ring out.
        heard[:, known:] = 0
        count = min(size, known)
        if not count:
            return
        lows = []
        for coefficients, state, forward in zip(filters, states, passed, strict=True):
            low_pass(heard, filtered, coefficients, state, forward)
            low = np.empty((sound.channels, count), np.float32)
            low_pass_backwards(forward, coefficients, low)
            lows.append(low)
        bands = [upper - lower for lower, upper in pairwise((*lows, heard[:, :count]))]
        yield [lows[0], *bands]
        for kept in (heard, *passed):
            kept[:, :after] = kept[:, size:].copy()
        known -= count
        filtered = after


def _butterworth(freq: float, rate: int) -> Table:
    """A low-pass as `b0 k1 k2 a1 a2`, the form of `biquad` in which no state waits for an output.

    Source: R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad
    filter coefficients", LPF with Q = 1/sqrt(2).
    """
    turn = 2 * math.pi * freq / rate
    alpha = math.sin(turn) / math.sqrt(2)
    whole = 1 + alpha
    b0 = (1 - math.cos(turn)) / 2 / whole
    a1, a2 = -2 * math.cos(turn) / whole, (1 - alpha) / whole
    return np.array([b0, (2 - a1) * b0, (1 - a2) * b0, a1, a2])


@kernel(types.void(ROWS, types.int64, TABLE, STATES, OUT_ROWS))
def low_pass(sound: Samples, begin: int, form: Table, states: Table, out: Samples) -> None:
    """Filter `sound` `(channels, n)` from frame `begin` on into `out`, two channels at a time."""
    channels, frames = sound.shape
    b0, k1, k2, a1, a2 = form
    for channel in range(0, channels, 2):
        other = min(channel + 1, channels - 1)
        p1, p2 = states[channel, 0], states[channel, 1]
        q1, q2 = states[other, 0], states[other, 1]
        for i in range(begin, frames):
            x, u = sound[channel, i] + _STILL, sound[other, i] + _STILL
            out[channel, i] = b0 * x + p1
            out[other, i] = b0 * u + q1
            p1, p2 = (k1 * x + p2) - a1 * p1, k2 * x - a2 * p1
            q1, q2 = (k1 * u + q2) - a1 * q1, k2 * u - a2 * q1
        states[other, 0], states[other, 1] = q1, q2
        states[channel, 0], states[channel, 1] = p1, p2


@kernel(types.void(ROWS, TABLE, OUT_ROWS))
def low_pass_backwards(sound: Samples, form: Table, out: Samples) -> None:
    """Filter `sound` `(channels, n)` from its end to its start; `out` takes the first frames."""
    channels, frames = sound.shape
    wanted = out.shape[1]
    b0, k1, k2, a1, a2 = form
    for channel in range(0, channels, 2):
        other = min(channel + 1, channels - 1)
        p1, p2, q1, q2 = 0.0, 0.0, 0.0, 0.0
        for i in range(frames - 1, wanted - 1, -1):
            x, u = sound[channel, i] + _STILL, sound[other, i] + _STILL
            p1, p2 = (k1 * x + p2) - a1 * p1, k2 * x - a2 * p1
            q1, q2 = (k1 * u + q2) - a1 * q1, k2 * u - a2 * q1
        for i in range(wanted - 1, -1, -1):
            x, u = sound[channel, i] + _STILL, sound[other, i] + _STILL
            out[channel, i] = b0 * x + p1
            out[other, i] = b0 * u + q1
            p1, p2 = (k1 * x + p2) - a1 * p1, k2 * x - a2 * p1
            q1, q2 = (k1 * u + q2) - a1 * q1, k2 * u - a2 * q1
