"""Position between left and right."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess


class Pan(Params):
    """Where to."""

    position: float = Field(0.0, ge=-1, le=1, description="-1 left, 0 centre, 1 right.")


@operation(
    route="/v1/audio/pan",
    category="eq-spatial",
    examples=[Example("A guitar, half right.", position=0.5), Example("Hard left.", position=-1)],
    pipeline=True,
)
def pan(sound: Blocks, p: Pan) -> Blocks:
    """Move a sound between left and right; the result is stereo.

    The near side keeps its level and the far side gets softer, down to
    silence, so nothing clips that did not before. In the centre a stereo sound
    is unchanged and a mono one is as loud on each side as it was.

    Source: the sine-cosine law, divided by its larger gain.

    Raises:
        CannotProcess: more than two channels.
    """
    if sound.channels > 2:
        raise CannotProcess(
            f"pan needs a mono or stereo sound; this one has {sound.channels} channels "
            "(convert can make it stereo)"
        )
    # tan(90° * share) of the half circle: 1 in the centre, 0 at the far end.
    far = np.float32(math.tan(math.pi / 4 * (1 - abs(p.position))))
    gains = np.ones((2, 1), np.float32)
    if p.position:
        gains[0 if p.position > 0 else 1] = far

    def moved() -> Iterator[Samples]:
        for block in sound:
            yield block * gains

    return sound.like(moved, channels=2)
