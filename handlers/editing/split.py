"""One sound in several parts."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter, CannotProcess
from handlers.silences import loud_ranges
from handlers.streams import sections
from handlers.units import DecibelsFS, Seconds


class Split(Params):
    """Where to cut."""

    mode: Literal["equal", "silence"] = Field(
        "equal",
        description="equal: parts of the same length; silence: what lies between silences.",
    )
    count: int | None = Field(
        None, ge=2, le=10_000, description="How many equal parts; needed for mode equal."
    )
    threshold_db: DecibelsFS = Field(
        -30.0, le=0, description="Mode silence: what stays below is silence."
    )
    min_duration_sec: Seconds = Field(
        0.5, gt=0, description="Mode silence: shorter silences are no cut."
    )

    @model_validator(mode="after")
    def _has_count(self) -> Split:
        if self.mode == "equal" and self.count is None:
            raise ValueError("mode equal needs count, how many parts: 2 or more")
        return self


class Parts(Result):
    """The parts in order, and how many there are."""

    sounds: dict[str, Blocks]
    segments: int
    mode: str


@operation(
    route="/v1/audio/split",
    category="editing",
    tool_parts="segments",
    engines=["silence-detect"],
    examples=[
        Example("Four quarters.", count=4),
        Example("A DJ mix into songs.", mode="silence", threshold_db=-40, min_duration_sec=1),
    ],
    passes=2,
)
def split(sound: Blocks, p: Split) -> Parts:
    """Cut a sound into equal parts, or at its silences.

    Equal parts differ by one sample at most, and together are the sound.
    Cutting at silences leaves the silences out, also those at both ends; it
    is silent where no sample of any channel reaches the threshold for at
    least the minimum duration.

    Raises:
        BadParameter: more parts than samples.
        CannotProcess: nothing but silence.
    """
    if p.mode == "equal":
        assert p.count is not None
        if p.count > sound.frames:
            raise BadParameter(
                f"count = {p.count} is too many: the sound has {sound.frames} samples",
                field="count",
            )
        cuts = [sound.frames * part // p.count for part in range(p.count + 1)]
        bounds = list(pairwise(cuts))
    else:
        bounds = loud_ranges(sound, p.threshold_db, p.min_duration_sec)
        if not bounds:
            raise CannotProcess(
                f"nothing but silence: no sample reaches threshold_db = {p.threshold_db:g} dBFS"
            )
    digits = max(3, len(str(len(bounds) - 1)))
    parts = {
        f"segment_{number:0{digits}}": part for number, part in enumerate(sections(sound, bounds))
    }
    return Parts(sounds=parts, segments=len(parts), mode=p.mode)
