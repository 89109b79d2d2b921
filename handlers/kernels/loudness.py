"""Loudness and peaks of a sound, block by block.

Source: ITU-R BS.1770-5 (integrated loudness, true peak), EBU Tech 3341
(momentary, short-term) and EBU Tech 3342 (loudness range).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.biquad import Cascade, Sections, k_weighting
from handlers.kernels.jit import ROW, STATE, TABLES, kernel
from handlers.kernels.true_peak import TruePeak

#: Gating blocks and the windows of the loudness range begin every 100 ms, the overlap that
#: BS.1770 asks for.
_STEPS_PER_SECOND = 10
_MOMENTARY = 4
_SHORT_TERM = 30
#: Each step is measured in so many parts, and the maxima are those of windows that begin with
#: any of them: every 10 ms. Between two of them a window of 400 ms misses 0.06 dB at most.
_PARTS = 10

#: A recursion cannot use a core's width on its own, so a stretch of sound is cut into this many
#: segments that are filtered side by side.
_LANES = 16
_STEPS_PER_LANE = 3
#: Each segment starts one step early from a filter at rest. After those 100 ms the start is
#: forgotten to -180 dB: the slowest pole is at 38 Hz.
_WARM_UP = 1
#: Frames of all segments that are laid side by side at a time: small enough for the L1 cache.
_TILE = 64
#: What a filter's state may forget.
_NOTHING = 1e-100

_SIDE = 1.41
_WEIGHTS = {
    4: (1, 1, _SIDE, _SIDE),  # L R Ls Rs
    5: (1, 1, 1, _SIDE, _SIDE),  # L R C Ls Rs
    6: (1, 1, 1, 0, _SIDE, _SIDE),  # L R C LFE Ls Rs
    7: (1, 1, 1, 0, 1, _SIDE, _SIDE),  # L R C LFE Cs Lss Rss
    8: (1, 1, 1, 0, 1, 1, _SIDE, _SIDE),  # L R C LFE Lrs Rrs Lss Rss
}


def channel_weights(channels: int) -> NDArray[np.float64]:
    """How much each channel counts, in the order of WAV.

    Channels to the side (60 to 120 degrees) count 1.41, those at the back as
    much as the front ones, low-frequency effects not at all (BS.1770-5, tables
    3 and 4). Other numbers of channels have no agreed layout: all count alike.
    """
    return np.array(_WEIGHTS.get(channels, (1,) * channels), np.float64)


class Meter:
    """Measures a sound while its blocks go by. Every value may be read at any time.

    Values that do not exist are None: peaks and loudness of silence, and a
    loudness whose window is longer than the sound. Only the integrated
    loudness is given for shorter sounds as well: less than 400 ms count as one
    gating block of their own length.
    """

    def __init__(self, rate: int, channels: int, *, true_peak: bool = True) -> None:
        """For a sound of `channels` at `rate`; without `true_peak` it costs a third."""
        self.rate = rate
        self.frames = 0
        self._weights = channel_weights(channels)
        self._filters = k_weighting(rate)
        #: Frames from one gating block or curve value to the next: 100 ms.
        self.step = max(round(rate / _STEPS_PER_SECOND), 1)
        self._energies: list[NDArray[np.float64]] = []
        #: The sound not yet measured, after `_WARM_UP` steps that are.
        self._waiting = np.zeros(
            (channels, (_WARM_UP + _LANES * _STEPS_PER_LANE) * self.step), np.float32
        )
        self._filled = _WARM_UP * self.step
        self._sample_peak = 0.0
        self._true_peak = TruePeak(rate, channels) if true_peak else None

    def add(self, block: Samples) -> None:
        """Measure the next block `(channels, n)`."""
        self.frames += block.shape[1]
        self._sample_peak = max(self._sample_peak, float(block.max()), float(-block.min()))
        if self._true_peak:
            self._true_peak.add(block)
        room = self._waiting.shape[1]
        taken = 0
        while taken < block.shape[1]:
            part = block[:, taken : taken + room - self._filled]
            self._waiting[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            taken += part.shape[1]
            if self._filled == room:
                self._energies.append(self._measured())
                kept = _WARM_UP * self.step
                self._waiting[:, :kept] = self._waiting[:, -kept:]
                self._filled = kept

    @property
    def integrated(self) -> float | None:
        """Gated loudness of the whole sound, in LUFS."""
        return integrated_together([self])

    @property
    def momentary_max(self) -> float | None:
        """The loudest 400 ms, in LUFS."""
        return self._loudest(_MOMENTARY)[0]

    @property
    def momentary_max_at(self) -> int | None:
        """Where the loudest 400 ms begin, in frames."""
        return self._loudest(_MOMENTARY)[1]

    @property
    def short_term_max(self) -> float | None:
        """The loudest 3 s, in LUFS."""
        return self._loudest(_SHORT_TERM)[0]

    @property
    def short_term_max_at(self) -> int | None:
        """Where the loudest 3 s begin, in frames."""
        return self._loudest(_SHORT_TERM)[1]

    def momentary(self) -> NDArray[np.float64]:
        """Power of each 400 ms, a window beginning every 100 ms; see `as_lufs`."""
        return self._windows(_MOMENTARY)[::_PARTS]

    def short_term(self) -> NDArray[np.float64]:
        """Power of each 3 s, a window beginning every 100 ms; see `as_lufs`."""
        return self._windows(_SHORT_TERM)[::_PARTS]

    @property
    def loudness_range(self) -> float | None:
        """From the soft to the loud parts, in LU; None below 3 s."""
        powers = self.short_term()
        loud = powers[powers > _power(-70)]
        if loud.size == 0:
            return None
        loud = np.sort(loud[loud > loud.mean() * 10 ** (-20 / 10)])
        soft, top = (loud[round((loud.size - 1) * share)] for share in (0.10, 0.95))
        return 10 * math.log10(top / soft)

    @property
    def true_peak_dbtp(self) -> float | None:
        """The highest point of the waveform, between the samples too, in dBTP."""
        return _decibels(self._true_peak.peak) if self._true_peak else None

    @property
    def sample_peak_dbfs(self) -> float | None:
        """The largest sample, in dBFS."""
        return _decibels(self._sample_peak)

    def gating_blocks(self) -> NDArray[np.float64]:
        """Mean power of each gating block: 400 ms every 100 ms, or the whole of a shorter sound."""
        if self.frames < _MOMENTARY * self.step:
            return self._short_sound()
        return self.momentary()

    def _loudest(self, steps: int) -> tuple[float | None, int | None]:
        """Loudness of the loudest window of so many steps, and its first frame."""
        powers = self._windows(steps)
        if not powers.any():
            return None, None
        at = int(powers.argmax())
        step, part = divmod(at, _PARTS)
        return _lufs(float(powers[at])), step * self.step + part * self.step // _PARTS

    def _windows(self, steps: int) -> NDArray[np.float64]:
        """Mean power of each window of so many whole steps, one beginning with each part."""
        steps_ready, rest = divmod(self._filled - _WARM_UP * self.step, self.step)
        # Part `k` of a step ends `k * step // _PARTS` frames after its beginning.
        ready = steps_ready * _PARTS + ((rest + 1) * _PARTS - 1) // self.step
        parts = np.concatenate([*self._energies, self._measured()[:ready]])
        if parts.size < steps * _PARTS:
            return np.zeros(0)
        # Summed directly: a difference of running sums would lose what is soft after what is loud.
        one_step = np.convolve(parts, np.ones(_PARTS), "valid")
        count = one_step.size - (steps - 1) * _PARTS
        powers = np.zeros(count)
        for step in range(steps):
            powers += one_step[step * _PARTS : step * _PARTS + count]
        powers /= steps * self.step
        return powers

    def _measured(self) -> NDArray[np.float64]:
        """Weighted energy of each part that waits; of those not filled, nonsense."""
        energies = np.zeros(_LANES * _STEPS_PER_LANE * _PARTS)
        self._waiting[:, self._filled :] = 0
        for row, weight in zip(self._waiting, self._weights, strict=True):
            if weight:
                weighted_energy(row, self._filters, weight, energies)
        return energies

    def _short_sound(self) -> NDArray[np.float64]:
        """Mean power of a sound shorter than a gating block, as the only one of it."""
        begin = _WARM_UP * self.step
        heard = self._waiting[:, begin : begin + self.frames]
        filtered = Cascade(self._filters, heard.shape[0]).filtered(np.ascontiguousarray(heard))
        energy = np.square(filtered, dtype=np.float64).sum(axis=1) @ self._weights
        return np.atleast_1d(energy / max(self.frames, 1))


def integrated_together(meters: Sequence[Meter]) -> float | None:
    """Gated loudness of several sounds as one programme (an album), in LUFS.

    The gates of BS.1770 see the blocks of all sounds; no block reaches from one
    into the next.
    """
    powers = np.concatenate([meter.gating_blocks() for meter in meters])
    loud = powers[powers > _power(-70)]
    if loud.size == 0:
        return None
    loud = loud[loud > loud.mean() * 10 ** (-10 / 10)]
    return _lufs(float(loud.mean()))


def as_lufs(powers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Loudness of windows from their mean powers, in LUFS; silence counts as -120.7."""
    loudness = -0.691 + 10 * np.log10(np.maximum(powers, 1e-12))
    return loudness.astype(np.float32)


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def _lufs(power: float) -> float | None:
    return -0.691 + 10 * math.log10(power) if power > 0 else None


def _decibels(amplitude: float) -> float | None:
    return 20 * math.log10(amplitude) if amplitude > 0 else None


@kernel(types.void(ROW, TABLES, types.float64, STATE))
def weighted_energy(
    row: Samples, filters: Sections, weight: float, energies: NDArray[np.float64]
) -> None:
    """Add each part's K-weighted energy, times `weight`, to `energies`.

    Args:
        row: `_WARM_UP` steps that are heard only by the filters, then a step
            for every `_PARTS` entries of `energies`.
        filters: two sections, `(2, 5)`; the second's numerator is 1, -2, 1.
    """
    b0, b1, b2, a1, a2 = filters[0]
    e1, e2 = filters[1, 3], filters[1, 4]
    # The form in which no state waits for an output; see `biquad`.
    k1, k2 = b1 - a1 * b0, b2 - a2 * b0
    m1, m2 = -2 - e1, 1 - e2
    step = row.size // (_WARM_UP + _LANES * _STEPS_PER_LANE)
    p1, p2, q1, q2 = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    sums = np.zeros(_LANES)
    tile = np.zeros((_TILE, _LANES), np.float32)
    for turn in range((_WARM_UP + _STEPS_PER_LANE) * _PARTS):
        sums[:] = 0
        start = turn // _PARTS * step + turn % _PARTS * step // _PARTS
        end = turn // _PARTS * step + (turn % _PARTS + 1) * step // _PARTS
        for at in range(start, end, _TILE):
            width = min(_TILE, end - at)
            for lane in range(_LANES):
                begin = lane * _STEPS_PER_LANE * step + at
                segment = row[begin : begin + width]
                for i in range(width):
                    tile[i, lane] = segment[i]
            for i in range(width):
                for lane in range(_LANES):
                    x = np.float64(tile[i, lane])
                    p, q = p1[lane], q1[lane]
                    y = b0 * x + p
                    p1[lane] = (k1 * x + p2[lane]) - a1 * p
                    p2[lane] = k2 * x - a2 * p
                    z = y + q
                    q1[lane] = (m1 * y + q2[lane]) - e1 * q
                    q2[lane] = m2 * y - e2 * q
                    sums[lane] += z * z
            for lane in range(_LANES):
                # In silence the states would sink into denormal numbers: thirty times slower.
                p1[lane] = p1[lane] if abs(p1[lane]) > _NOTHING else 0.0
                p2[lane] = p2[lane] if abs(p2[lane]) > _NOTHING else 0.0
                q1[lane] = q1[lane] if abs(q1[lane]) > _NOTHING else 0.0
                q2[lane] = q2[lane] if abs(q2[lane]) > _NOTHING else 0.0
        if turn >= _WARM_UP * _PARTS:
            for lane in range(_LANES):
                part = lane * _STEPS_PER_LANE * _PARTS + turn - _WARM_UP * _PARTS
                energies[part] += weight * sums[lane]
