"""Stretch: tempo and pitch, each without the other."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.units import Semitones


class Stretch(Params):
    """The new tempo and pitch."""

    tempo_factor: float = Field(
        1.0, gt=0, description="2 is twice as fast and half as long; the pitch stays."
    )
    pitch_semitones: Semitones = Field(
        0.0, ge=-120, le=120, description="How much higher; the duration stays."
    )
    preserve_formants: bool = Field(
        False, description="A voice at another pitch stays the voice of the same speaker."
    )


class Stretched(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    tempo_factor: float
    pitch_semitones: float


@operation(
    route="/v1/audio/stretch",
    category="time-pitch",
    engines=["stretch"],
    pipeline=True,
    examples=[
        Example("A tenth faster.", tempo_factor=1.1),
        Example("A voice a fourth lower.", pitch_semitones=-5, preserve_formants=True),
    ],
)
def stretch(sound: Blocks, p: Stretch) -> Stretched:
    """Change tempo and pitch independently.

    What was at second `t` is at `t / tempo_factor`, without delay, and the result has
    exactly `frames / tempo_factor` frames, rounded. Attacks stay attacks. Keeps rate
    and channels, and the channels' phases against each other.

    Raises:
        BadParameter: the result would be longer than 2^31 frames.

    Source: see `handlers.stretching`.
    """
    from handlers.stretching import stretched

    made = stretched(
        sound,
        tempo=p.tempo_factor,
        semitones=p.pitch_semitones,
        keep_formants=p.preserve_formants,
    )
    return Stretched(sound=made, tempo_factor=p.tempo_factor, pitch_semitones=p.pitch_semitones)
