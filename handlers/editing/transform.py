"""A list of SoX-style steps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.sox import Step, stepped


class Transform(Params):
    """The steps."""

    operations: list[Step] = Field(
        max_length=64,
        description="In their order: objects with an op and, where it needs any, params.",
    )


class Transformed(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    engine: Literal["sox-transform"] = "sox-transform"
    operations: list[dict[str, Any]]


@operation(
    route="/v1/audio/transform",
    category="editing",
    engines=["sox-transform"],
    pipeline=True,
    examples=[
        Example(
            "A warmer, levelled voice.",
            operations=[
                {"op": "equalizer", "params": {"frequency": 200, "gain_db": 3}},
                {"op": "compand"},
                {"op": "gain", "params": {"db": -3}},
            ],
        ),
        Example(
            "Ten per cent faster, with a second of silence after it.",
            operations=[
                {"op": "tempo", "params": {"factor": 1.1}},
                {"op": "pad", "params": {"end_duration": 1}},
            ],
        ),
        Example("In a large room.", operations=[{"op": "reverb", "params": {"reverberance": 80}}]),
    ],
)
def transform(sound: Blocks, p: Transform) -> Transformed:
    """Run a sound through up to 64 SoX-style steps: gain, equalizer, compand, reverb and others.

    Steps mean what they mean to SoX, and curves, rooms and filters are those of SoX 14.4;
    in float, so that nothing clips between them. Pitch and tempo are those of `stretch`,
    with exact lengths.

    Source: SoX 14.4.2 manual; see `handlers.sox`.

    Raises:
        BadParameter: a frequency is beyond half the sample rate, or nothing is left.
    """
    return Transformed(
        sound=stepped(sound, p.operations),
        operations=[step.model_dump(mode="json") for step in p.operations],
    )
