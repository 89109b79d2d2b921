"""Fade in, fade out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field, model_validator

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.units import Seconds

Curve = Literal[
    "tri", "qsin", "esin", "hsin", "log", "ipar", "qua", "cub", "squ", "cbr", "par", "exp", "lin"
]

_CURVES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "tri": lambda t: t,
    "lin": lambda t: t,
    "qsin": lambda t: np.sin(t * np.pi / 2),
    "esin": lambda t: 1 - np.cos(np.pi / 4 * ((2 * t - 1) ** 3 + 1)),
    "hsin": lambda t: (1 - np.cos(t * np.pi)) / 2,
    # 20 dB per decade of time, nothing below -100 dB.
    "log": lambda t: np.clip(1 + 0.2 * np.log10(np.maximum(t, 1e-5)), 0, 1),
    "ipar": lambda t: 1 - (1 - t) ** 2,
    "qua": lambda t: t**2,
    "cub": lambda t: t**3,
    "squ": np.sqrt,
    "cbr": np.cbrt,
    "par": lambda t: 1 - np.sqrt(1 - t),
    # Straight in decibels, from -100 dB.
    "exp": lambda t: 10 ** (-5 * (1 - t)),
}


class Fade(Params):
    """How long, and along which curve."""

    fade_in: Seconds = Field(
        0.0,
        ge=0,
        validation_alias=AliasChoices("fade_in", "fade_in_sec"),
        description="Length of the fade at the start; 0 for none.",
    )
    fade_out: Seconds = Field(
        0.0,
        ge=0,
        validation_alias=AliasChoices("fade_out", "fade_out_sec"),
        description="Length of the fade at the end; 0 for none.",
    )
    curve: Curve = Field(
        "tri",
        description="Shape of both: tri and lin are straight, qsin keeps the power of a "
        "crossfade even, exp is straight in decibels.",
    )

    @model_validator(mode="after")
    def _does_something(self) -> Fade:
        if not (self.fade_in or self.fade_out):
            raise ValueError("fade_in and fade_out are both 0; give at least one a length")
        return self


class Faded(Result):
    """The sound, and how long its fades really are."""

    sound: Blocks
    fade_in: Seconds
    fade_out: Seconds
    curve: Curve


@operation(
    route="/v1/audio/fade",
    category="editing",
    examples=[
        Example("Out over three seconds.", fade_out=3, curve="qsin"),
        Example("Both ends of a loop, without a click.", fade_in=0.01, fade_out=0.01),
    ],
    pipeline=True,
    batch=True,
)
def fade(sound: Blocks, p: Fade) -> Faded:
    """Fade in from silence, out to silence, or both.

    The first and the last sample of the sound are silent (with `exp`, at
    -100 dB). Where the two fades would overlap, both shrink by the same share
    until they meet; a single fade is at most as long as the sound. Samples
    between the fades are not touched.

    Source of the curves: FFmpeg, libavfilter/af_afade.c.
    """
    share = min(1.0, sound.duration / (p.fade_in + p.fade_out))
    rising = _rise(p.curve, round(p.fade_in * share * sound.rate))
    falling = _rise(p.curve, round(p.fade_out * share * sound.rate))[::-1]
    last = sound.frames - falling.size

    def faded() -> Iterator[Samples]:
        at = 0
        for block in sound:
            end = at + block.shape[1]
            touched = block
            if at < rising.size:
                touched = block.copy()
                begins = rising[at:end]
                touched[:, : begins.size] *= begins
            if end > last:
                touched = touched.copy() if touched is block else touched
                ends = falling[max(at - last, 0) : end - last]
                touched[:, block.shape[1] - ends.size :] *= ends
            yield touched
            at = end

    return Faded(
        sound=sound.like(faded), fade_in=p.fade_in * share, fade_out=p.fade_out * share,
        curve=p.curve,
    )  # fmt: skip


def _rise(curve: Curve, frames: int) -> Samples:
    """Gain for each frame of a fade in."""
    return _CURVES[curve](np.arange(frames) / max(frames, 1)).astype(np.float32)
