"""Second-order recursive filters, in double precision, any number one after another.

A section is five numbers `b0 b1 b2 a1 a2` of `H(z) = (b0 + b1/z + b2/z^2) / (1 + a1/z + a2/z^2)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROWS, ROWS, STATES_3D, TABLES, kernel

Sections = NDArray[np.float64]
"""float64, `(sections, 5)`."""


def peaking(freq: float, gain_db: float, q: float, rate: float) -> list[float]:
    """A bell of `gain_db` around `freq` Hz; one section.

    `q` is `freq` over the bandwidth between the points of half the gain (in dB).

    Source: R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad
    filter coefficients", peakingEQ.
    """
    turn = 2 * math.pi * freq / rate
    alpha = math.sin(turn) / (2 * q)
    a = 10 ** (gain_db / 40)
    whole = 1 + alpha / a
    slope = -2 * math.cos(turn) / whole
    return [(1 + alpha * a) / whole, slope, (1 - alpha * a) / whole, slope, (1 - alpha / a) / whole]


def k_weighting(rate: int) -> Sections:
    """The two filters of ITU-R BS.1770-5, Annex 1, at any rate: head shelf, then high-pass.

    The standard tabulates them for 48 kHz only. Their analogue prototypes,
    transformed bilinearly, give that table at 48 kHz and the same curve elsewhere.

    Source: B. De Man, "Evaluation of implementations of the EBU R128 loudness
    measurement", AES 145, 2018 (frequencies, gain and Q of the prototypes).
    """
    # The shelf's corner cannot lie beyond the band of a sound below 3.4 kHz.
    k = math.tan(math.pi * min(1681.974450955533 / rate, 0.49))
    q = 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    whole = 1 + k / q + k * k
    shelf = [
        (high + middle * k / q + k * k) / whole,
        2 * (k * k - high) / whole,
        (high - middle * k / q + k * k) / whole,
        2 * (k * k - 1) / whole,
        (1 - k / q + k * k) / whole,
    ]
    k = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    whole = 1 + k / q + k * k
    # The standard leaves the numerator of the high-pass at 1, -2, 1.
    return np.array([shelf, [1, -2, 1, 2 * (k * k - 1) / whole, (1 - k / q + k * k) / whole]])


#: Frames that pass all sections before the next ones do.
_TILE = 512
#: What a section's state may forget.
_NOTHING = 1e-100


class Cascade:
    """Filters block after block and remembers its state in between."""

    def __init__(self, sections: Iterable[Sequence[float]], channels: int) -> None:
        """`sections` are applied in order, to each of `channels` alike."""
        forms = [_state_space(section) for section in sections]
        # Sections run two by two; one that lets everything pass fills up.
        if len(forms) % 2:
            forms.append([1.0, 0.0, 0.0, 0.0, 0.0])
        self._forms = np.array(forms, np.float64)
        # Channels run two by two as well; an odd last one has a second that nobody hears.
        self._states = np.zeros((channels + channels % 2, len(forms), 2))

    def filtered(self, block: Samples) -> Samples:
        """The next block `(channels, n)`, in an array of its own."""
        out = np.empty_like(block)
        cascade(block, self._forms, self._states, out)
        return out


def _state_space(section: Sequence[float]) -> list[float]:
    """`b0 k1 k2 a1 a2`: the form in which each state needs only the state before it.

    Transposed direct form II computes `y = b0 x + s1` and then `s1' = b1 x - a1 y + s2`,
    which waits for `y`. With `y` put in, `s1' = (b1 - a1 b0) x - a1 s1 + s2` does not.
    """
    b0, b1, b2, a1, a2 = section
    return [b0, b1 - a1 * b0, b2 - a2 * b0, a1, a2]


@kernel(types.void(ROWS, TABLES, STATES_3D, OUT_ROWS))
def cascade(block: Samples, forms: Sections, states: NDArray[np.float64], out: Samples) -> None:
    """Filter `block` `(channels, n)` into `out` by an even number of sections.

    Two channels and two sections at a time: four recursions that do not wait
    for each other keep a core busy where one would stand idle.
    """
    channels, frames = block.shape
    left = np.empty(_TILE)
    right = np.empty(_TILE)
    for channel in range(0, channels, 2):
        other = min(channel + 1, channels - 1)
        for at in range(0, frames, _TILE):
            width = min(_TILE, frames - at)
            left[:width] = block[channel, at : at + width]
            right[:width] = block[other, at : at + width]
            for section in range(0, forms.shape[0], 2):
                b0, k1, k2, a1, a2 = forms[section]
                d0, m1, m2, e1, e2 = forms[section + 1]
                p1, p2 = states[channel, section]
                q1, q2 = states[channel, section + 1]
                r1, r2 = states[channel + 1, section]
                s1, s2 = states[channel + 1, section + 1]
                for i in range(width):
                    x, u = left[i], right[i]
                    y = b0 * x + p1
                    v = b0 * u + r1
                    p1, p2 = (k1 * x + p2) - a1 * p1, k2 * x - a2 * p1
                    r1, r2 = (k1 * u + r2) - a1 * r1, k2 * u - a2 * r1
                    left[i] = d0 * y + q1
                    right[i] = d0 * v + s1
                    q1, q2 = (m1 * y + q2) - e1 * q1, m2 * y - e2 * q1
                    s1, s2 = (m1 * v + s2) - e1 * s1, m2 * v - e2 * s1
                states[channel, section, 0], states[channel, section, 1] = p1, p2
                states[channel, section + 1, 0], states[channel, section + 1, 1] = q1, q2
                states[channel + 1, section, 0], states[channel + 1, section, 1] = r1, r2
                states[channel + 1, section + 1, 0], states[channel + 1, section + 1, 1] = s1, s2
            out[channel, at : at + width] = left[:width]
            if other != channel:
                out[other, at : at + width] = right[:width]
            for section in range(forms.shape[0]):
                for each in range(channel, channel + 2):
                    for i in range(2):
                        # A tail ringing out in silence would sink into denormal numbers, and
                        # those are thirty times slower.
                        if abs(states[each, section, i]) < _NOTHING:
                            states[each, section, i] = 0.0
