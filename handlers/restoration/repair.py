"""Mend clipping and hum."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from handlers.artifacts import BLOCK_FRAMES, Blocks, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.streams import Feed, surrounded
from handlers.units import Decibels, Hertz

#: Half a period of 20 Hz: a longer run at full scale is no cut-off peak.
_LONGEST_RUN_SEC = 0.025
#: Where the highest rebuilt peak comes to lie when room is made for it, in dBFS.
_ROOM_DB = -0.1
#: Notch frequency over its width at -3 dB: 2 Hz wide at 50 Hz.
_SHARPNESS = 25.0
_HARMONICS = (1, 2, 3, 4)


class Repair(Params):
    """What to mend."""

    declip: bool = Field(
        True, description="Rebuild peaks that were cut off: runs of samples at 0.999 or more."
    )
    dehum: bool = Field(
        False, description="Take out mains hum: hum_freq and its harmonics up to the fourth."
    )
    hum_freq: Hertz = Field(50.0, ge=40, le=80, description="Frequency of the mains.")
    make_room: bool = Field(
        True,
        description="Turn the whole sound down as far as rebuilt peaks need to fit below full "
        "scale; without it they go beyond, which only a later step or a float file can hold.",
    )

    @model_validator(mode="after")
    def _does_something(self) -> Repair:
        if not (self.declip or self.dehum):
            raise ValueError("declip and dehum are both false; nothing is left to do")
        return self


class Repaired(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    declip: bool
    dehum: bool
    hum_freq: Hertz
    gain_db: Decibels
    """By how much the whole sound was turned down to make room; 0 or less."""


@operation(
    route="/v1/audio/repair",
    category="restoration",
    tool="repair_audio",
    examples=[
        Example("A take recorded too hot."),
        Example("Hum from an American outlet.", declip=False, dehum=True, hum_freq=60),
    ],
    pipeline=True,
    passes=2,
)
def repair(sound: Blocks, p: Repair) -> Repaired:
    """Rebuild clipped peaks, and take out mains hum.

    A peak is drawn as a cubic Hermite curve from the last sample before it was
    cut off to the first one after, along the slopes there; all other samples
    stay as they are. Rebuilt peaks lie beyond full scale, so by default the
    whole sound is turned down until they fit. Hum is notched out, from the
    first sample on. Keeps rate, channels and length.

    Source: F. N. Fritsch and R. E. Carlson, "Monotone Piecewise Cubic
    Interpolation", SIAM J. Numer. Anal. 17(2), 1980 (the Hermite form); R.
    Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter
    coefficients" (notch).
    """
    mended = sound
    if p.declip:
        mended = _declipped(mended)
    if p.dehum:
        mended = _without_hum(mended, p.hum_freq)
    gain_db = 0.0
    if p.declip and p.make_room:
        peak = max((float(np.abs(block).max()) for block in mended), default=0.0)
        if peak > 1:
            gain_db = _ROOM_DB - 20 * math.log10(peak)
            mended = _amplified(mended, np.float32(10 ** (gain_db / 20)))
    return Repaired(
        sound=mended, declip=p.declip, dehum=p.dehum, hum_freq=p.hum_freq, gain_db=gain_db
    )


def _declipped(sound: Blocks) -> Blocks:
    longest = math.ceil(_LONGEST_RUN_SEC * sound.rate)
    around = longest + 3

    def rebuilt() -> Iterator[Samples]:
        from handlers.kernels.clipping import rebuild

        for window, count in surrounded(sound, BLOCK_FRAMES, around, around):
            out = np.empty((sound.channels, count), np.float32)
            rebuild(
                np.ascontiguousarray(window[:, : around + count + around]), around, longest, out
            )
            yield out

    return sound.like(rebuilt)


def _without_hum(sound: Blocks, hum_freq: float) -> Blocks:
    freqs = [hum_freq * k for k in _HARMONICS if hum_freq * k < sound.rate / 2]

    def notched() -> Iterator[Samples]:
        from handlers.kernels.biquad import Cascade

        cascade = Cascade(np.array([_notch(f, sound.rate) for f in freqs]), sound.channels)
        feed = Feed(sound)
        # A notch needs half a second to settle, in which the hum would still be heard. So it is
        # given the hum of the seconds before the sound, as the first second lets it be guessed.
        head = feed.read(sound.rate)
        cascade.filtered(_hum_before(head, freqs, sound.rate))
        for at in range(0, head.shape[1], BLOCK_FRAMES):
            yield cascade.filtered(np.ascontiguousarray(head[:, at : at + BLOCK_FRAMES]))
        for block in feed.rest():
            yield cascade.filtered(block)

    return sound.like(notched)


def _hum_before(head: Samples, freqs: list[float], rate: int) -> Samples:
    """Two seconds of sines, continuing backwards those that fit `head` best (least squares)."""
    # Below some turns of the lowest sine, a fit would take the sound itself for hum.
    if head.shape[1] < 0.2 * rate:
        return np.zeros((head.shape[0], 1), np.float32)
    turns = 2 * np.pi * np.outer(np.arange(-2 * rate, head.shape[1]) / rate, freqs)
    waves = np.concatenate((np.cos(turns), np.sin(turns)), axis=1)
    amplitudes, *_ = np.linalg.lstsq(waves[2 * rate :], head.T.astype(np.float64), rcond=None)
    return np.ascontiguousarray((waves[: 2 * rate] @ amplitudes).T, np.float32)


def _notch(freq: float, rate: int) -> NDArray[np.float64]:
    turn = 2 * math.pi * freq / rate
    alpha = math.sin(turn) / (2 * _SHARPNESS)
    whole = 1 + alpha
    slope = -2 * math.cos(turn) / whole
    return np.array([1 / whole, slope, 1 / whole, slope, (1 - alpha) / whole])


def _amplified(sound: Blocks, gain: np.float32) -> Blocks:
    return sound.like(lambda: (block * gain for block in sound))
