"""Width of the stereo image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess


class StereoWidth(Params):
    """How wide."""

    width: float = Field(
        1.0, ge=0, le=3, description="Gain of the side signal: 0 is mono, 1 unchanged, 3 widest."
    )


@operation(
    route="/v1/audio/stereo-width",
    category="eq-spatial",
    examples=[Example("A little wider.", width=1.3), Example("Mono on both sides.", width=0)],
    pipeline=True,
)
def stereo_width(sound: Blocks, p: StereoWidth) -> Blocks:
    """Make a stereo image wider or narrower; the result is stereo.

    What left and right have in common keeps its level; how they differ is
    multiplied. A mono sound has no difference: it is the same on both sides.

    Raises:
        CannotProcess: more than two channels.
    """
    if sound.channels > 2:
        raise CannotProcess(
            f"stereo_width needs a mono or stereo sound; this one has {sound.channels} channels "
            "(convert can make it stereo)"
        )
    # L' = M + w S and R' = M - w S with M = (L + R)/2, S = (L - R)/2, put together: exact at w = 1.
    same, other = np.float32((1 + p.width) / 2), np.float32((1 - p.width) / 2)

    def widened() -> Iterator[Samples]:
        for block in sound:
            if block.shape[0] == 1:
                yield np.repeat(block, 2, axis=0)
            else:
                yield block * same + block[::-1] * other

    return sound.like(widened, channels=2)
