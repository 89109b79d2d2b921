"""Speed: faster or slower at the same pitch."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation


class Speed(Params):
    """How fast."""

    speed: float = Field(ge=0.1, le=10, description="The duration is divided by this.")


class Sped(Result):
    """The sound, and how fast it is."""

    sound: Blocks
    speed: float


@operation(
    route="/v1/audio/speed",
    category="time-pitch",
    pipeline=True,
    batch=True,
    examples=[Example("Listen to a talk half as fast again.", speed=1.5)],
)
def speed(sound: Blocks, p: Speed) -> Sped:
    """Play faster or slower; the pitch stays.

    The result has exactly `frames / speed` frames, rounded. Keeps rate and channels.

    Source: see `handlers.stretching`.
    """
    from handlers.stretching import stretched

    return Sped(sound=stretched(sound, tempo=p.speed), speed=p.speed)
