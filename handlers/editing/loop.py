"""The same sound again and again."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Blocks
from handlers.declare import Example, Params, operation
from handlers.streams import joined
from handlers.units import Seconds, frames_in

#: A sound of this size is decoded once and kept; a larger one is read again for each turn.
_KEPT_BYTES = 64 * 2**20


class Loop(Params):
    """How often, and how the turns meet."""

    count: int = Field(2, ge=2, le=100_000, description="How often it is played in all.")
    crossfade_sec: Seconds = Field(
        0.0,
        ge=0,
        description="How long the end of each turn is blended into the beginning of the next; "
        "0 joins them end to end.",
    )


@operation(
    route="/v1/audio/loop",
    category="editing",
    examples=[
        Example("Eight bars into thirty-two.", count=4),
        Example("A rain that never breaks off.", count=10, crossfade_sec=1),
    ],
    pipeline=True,
)
def loop(sound: Blocks, p: Loop) -> Blocks:
    """Play a sound several times without a gap.

    Every turn has the same samples. A crossfade has constant power and
    shortens the whole by its length at each seam.

    Raises:
        CannotProcess: the sound is shorter than the crossfade.
    """
    turn = sound.remembered(_KEPT_BYTES)
    return joined([turn] * p.count, frames_in(p.crossfade_sec, sound.rate))
