"""Between left/right and mid/side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess


class MidSide(Params):
    """Which way."""

    mode: Literal["encode", "decode"] = Field(
        description="encode: left and right become mid = (L+R)/2 and side = (L-R)/2; "
        "decode: mid and side become L = M+S and R = M-S."
    )


@operation(
    route="/v1/audio/mid-side",
    category="eq-spatial",
    examples=[Example("Before work on the middle.", mode="encode")],
    pipeline=True,
)
def mid_side(sound: Blocks, p: MidSide) -> Blocks:
    """Turn left and right into mid and side, or back; the result has two channels.

    Decoding what was encoded gives the sound again. A mono sound is encoded
    as one that is the same on both sides: its side is silent.

    Raises:
        CannotProcess: more than two channels, or one to decode.
    """
    if sound.channels > 2:
        raise CannotProcess(
            f"mid_side needs a stereo sound; this one has {sound.channels} channels "
            "(convert can make it stereo)"
        )
    if sound.channels == 1 and p.mode == "decode":
        raise CannotProcess("mid_side decode needs two channels, mid and side; this sound is mono")
    half = np.float32(0.5 if p.mode == "encode" else 1.0)

    def turned() -> Iterator[Samples]:
        for block in sound:
            out = np.empty((2, block.shape[1]), np.float32)
            np.add(block[0], block[-1], out=out[0])
            np.subtract(block[0], block[-1], out=out[1])
            out *= half
            yield out

    return sound.like(turned, channels=2)
