"""A chain of effects."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from handlers.artifacts import Blocks, NamedSound, Result
from handlers.declare import Example, Params, operation
from handlers.pedals import Effect, through


class Fx(Params):
    """The chain."""

    effects: list[Effect] = Field(
        max_length=64,
        description="In their order: objects with a type and, if wanted, params.",
    )


class Affected(Result):
    """The sound, and what it went through."""

    sound: Blocks
    engine: Literal["fx-chain"] = "fx-chain"
    effects: list[dict[str, Any]]


@operation(
    route="/v1/audio/fx",
    category="dynamics",
    engines=["fx-chain"],
    pipeline=True,
    examples=[
        Example(
            "A voice, levelled, in a small room.",
            effects=[
                {"type": "Compressor", "params": {"threshold_db": -18, "ratio": 3}},
                {"type": "Reverb", "params": {"room_size": 0.2, "wet_level": 0.15}},
            ],
        ),
        Example(
            "Over an old telephone.",
            effects=[
                {"type": "HighpassFilter", "params": {"cutoff_frequency_hz": 300}},
                {"type": "GSMFullRateCompressor"},
            ],
        ),
        Example("An octave up.", effects=[{"type": "PitchShift", "params": {"semitones": 12}}]),
    ],
)
def fx(
    sound: Blocks,
    impulses: Annotated[list[NamedSound] | None, "Impulse responses that effects name."],
    p: Fx,
) -> Affected:
    """Run a sound through a chain of up to 64 effects.

    Keeps rate, channels and length; what an effect delays is brought back in step.
    Channels go through an effect side by side, but in pairs through Reverb,
    MP3Compressor and Convolution, which mix two channels. Echoes and rooms end
    where the sound ends.

    Source: the effects are pedalboard's (JUCE's), except PitchShift, which is that
    of `stretch`.

    Raises:
        BadParameter: a frequency is beyond half the sample rate, or the rate is not one
            that an effect knows.
        CannotProcess: an impulse response is empty or has more than two channels.
    """
    named = {item.name: item for item in impulses or ()}
    return Affected(
        sound=through(sound, p.effects, named),
        effects=[effect.model_dump(mode="json") for effect in p.effects],
    )
