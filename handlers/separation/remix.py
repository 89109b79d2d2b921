"""The stems of a mix at other levels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.registry import engines
from handlers.engines.separator import Separator
from handlers.engines.shelf import Lent
from handlers.separation.separate import ENGINES, stem_of
from handlers.units import Decibels


class StemLevel(Params):
    """How loud one stem is in the new mix."""

    gain_db: Decibels = Field(0.0, le=120, description="How much louder or softer than it is.")
    mute: bool = Field(default=False, description="Leave it out.")

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if not 0 <= value <= 1:
            raise ValueError("a bare number is a linear gain from 0 to 1")
        return {"gain_db": 20 * math.log10(value)} if value else {"mute": True}

    @property
    def gain(self) -> float:
        """Linear."""
        return 0.0 if self.mute else float(10 ** (self.gain_db / 20))


class Remix(Params):
    """Which model, and how loud each of its stems is to be."""

    engine: str = Field(
        "htdemucs",
        description="Separation model.",
        json_schema_extra={"enum": list(ENGINES)},
    )
    stem_mix: dict[str, StemLevel] = Field(
        default={},
        description="Stem to {gain_db, mute}, or to a linear gain from 0 to 1. Stems that are not "
        "named stay as loud as they are.",
    )

    @model_validator(mode="after")
    def _can_be_heard(self) -> Remix:
        for stem in self.stem_mix:
            stem_of(self.engine, stem, "stem_mix")
        declared = engines().get(self.engine)
        if declared is not None and declared.stems and not any(self.gains.values()):
            raise PydanticCustomError(
                "nothing_left",
                "every stem is muted; nothing would be left of the sound",
                {"field": "stem_mix"},
            )
        return self

    @property
    def gains(self) -> dict[str, float]:
        """Linear gain of each stem of the engine."""
        named = {
            stem_of(self.engine, stem, "stem_mix"): level.gain
            for stem, level in self.stem_mix.items()
        }
        return {stem: named.get(stem, 1.0) for stem in engines()[self.engine].stems}


class Remixed(Result):
    """The new mix, and of which stems it was made."""

    sound: Blocks
    engine: str
    stems: list[str]


@operation(
    route="/v1/audio/remix",
    category="separation",
    tool=None,
    lane="gpu",
    engines=ENGINES,
    examples=[
        Example(
            "Karaoke with the drums up and the bass at half of its amplitude.",
            stem_mix={"vocals": {"mute": True}, "drums": {"gain_db": 3}, "bass": 0.5},
        ),
    ],
)
def remix(sound: Blocks, model: Lent[Separator], p: Remix, progress: Progress) -> Remixed:
    """Take a mix apart and put it together again with other levels.

    The result is the sum of the stems at their gains; it keeps rate, channels and
    length of the sound and is not limited. Stems are those of `separate`, and those
    that are muted are not computed where the model can leave them out.

    Raises:
        BadParameter: the engine has no such stem, or every stem is muted.
        WeightsMissing: the model is not there.
    """
    from handlers.stems import stems_of

    gains = {stem: np.float32(gain) for stem, gain in p.gains.items() if gain}
    stems = stems_of(sound, model, list(gains), progress)

    def mixed() -> Iterator[Samples]:
        for blocks in zip(*stems.values(), strict=True):
            total = np.zeros_like(blocks[0])
            for block, gain in zip(blocks, gains.values(), strict=True):
                total += gain * block
            yield total

    return Remixed(sound=sound.like(mixed), engine=p.engine, stems=list(p.gains))
