"""Keep one stretch of a sound."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter
from handlers.units import Seconds, frames_in


class Trim(Params):
    """Where the stretch begins and ends."""

    start_sec: Seconds = Field(0.0, ge=0, description="Where it begins.")
    end_sec: Seconds | None = Field(
        None, description="Where it ends, exclusive; default the end of the sound."
    )

    @model_validator(mode="after")
    def _has_length(self) -> Trim:
        if self.end_sec is not None and self.end_sec <= self.start_sec:
            raise ValueError(
                f"end_sec = {self.end_sec:g} must be greater than start_sec = {self.start_sec:g}"
            )
        return self


class Trimmed(Result):
    """The stretch, and where in the source it really began and ended."""

    sound: Blocks
    start_sec: Seconds
    end_sec: Seconds


@operation(
    route="/v1/audio/trim",
    category="editing",
    examples=[
        Example("The first half minute.", end_sec=30),
        Example("Without the count-in.", start_sec=1.25),
    ],
    pipeline=True,
    batch=True,
)
def trim(sound: Blocks, p: Trim) -> Trimmed:
    """Keep what lies between two times, to the nearest sample.

    An end beyond the end of the sound is the end of the sound.

    Raises:
        BadParameter: the stretch begins after the sound has ended, or is
            shorter than one sample.
    """
    start = frames_in(p.start_sec, sound.rate)
    end = sound.frames
    if start >= end:
        raise BadParameter(
            f"start_sec = {p.start_sec:g} is past the end of the sound ({sound.duration:g} s)",
            field="start_sec",
        )
    if p.end_sec is not None:
        end = min(end, frames_in(p.end_sec, sound.rate))
    if start >= end:
        raise BadParameter(
            f"nothing is left between {p.start_sec:g} s and {p.end_sec:g} s: one sample lasts "
            f"{1 / sound.rate:.2g} s",
            field="end_sec",
        )

    def kept() -> Iterator[Samples]:
        at = 0
        for block in sound:
            first, last = max(start - at, 0), min(end - at, block.shape[1])
            at += block.shape[1]
            if first < last:
                # Rows of a slice are apart in memory; blocks are not.
                yield block[:, first:last].copy() if last - first < block.shape[1] else block
            if at >= end:
                return

    return Trimmed(
        sound=sound.like(kept, frames=end - start),
        start_sec=p.start_sec,
        end_sec=end / sound.rate if p.end_sec is None else min(p.end_sec, sound.duration),
    )
