"""Multiband compressor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter
from handlers.units import Decibels, DecibelsFS, Milliseconds, Unit


class CompressorBand(BaseModel):
    """What happens in one band."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold_db: DecibelsFS = Field(
        ge=-200, le=200, description="Peak level in the band where compression starts."
    )
    ratio: float = Field(ge=1, description="dB in for one dB out above the threshold; 1 is none.")
    attack_ms: Milliseconds = Field(10, ge=0, le=10_000, description="Time to turn down.")
    release_ms: Milliseconds = Field(100, ge=0, le=60_000, description="Time to come back.")
    makeup_db: Decibels = Field(0, ge=-100, le=100, description="Gain behind the compressor.")


class MultibandCompress(Params):
    """Where the bands meet, and what happens in each."""

    crossovers_hz: Annotated[list[float], Unit("Hz")] = Field(
        min_length=1, max_length=31, description="Where the bands meet, ascending."
    )
    bands: list[CompressorBand] = Field(
        min_length=2,
        max_length=32,
        description="One compressor per band, the lowest first; one more than crossovers.",
    )

    @field_validator("crossovers_hz")
    @classmethod
    def _ascend(cls, crossovers: list[float]) -> list[float]:
        if crossovers[0] <= 0:
            raise ValueError(f"{crossovers[0]:g} Hz is no crossover; it must be above 0")
        for lower, upper in pairwise(crossovers):
            if upper <= lower:
                raise ValueError(f"{upper:g} Hz follows {lower:g} Hz; they must ascend")
        return crossovers

    @model_validator(mode="after")
    def _fit(self) -> MultibandCompress:
        if len(self.bands) != len(self.crossovers_hz) + 1:
            raise ValueError(
                f"{len(self.crossovers_hz)} crossovers make {len(self.crossovers_hz) + 1} bands; "
                f"bands has {len(self.bands)}"
            )
        return self


class MultibandCompressed(Result):
    """The sound, and what was done."""

    sound: Blocks
    crossovers_hz: list[float]
    bands: list[CompressorBand]


@operation(
    route="/v1/audio/multiband-compress",
    category="dynamics",
    examples=[
        Example(
            "Three bands over a mix.",
            crossovers_hz=[200, 3000],
            bands=[
                {"threshold_db": -18, "ratio": 4, "attack_ms": 15, "makeup_db": 1.5},
                {"threshold_db": -14, "ratio": 3, "attack_ms": 8, "release_ms": 80},
                {"threshold_db": -10, "ratio": 2, "attack_ms": 3, "release_ms": 40},
            ],
        )
    ],
    pipeline=True,
)
def multiband_compress(sound: Blocks, p: MultibandCompress) -> MultibandCompressed:
    """Compress each frequency band on its own.

    The crossovers are 24 dB per octave without any phase, so bands that are not
    compressed add up to the sound that went in. All channels of a band move
    together. Keeps rate, channels and length, and delays nothing.

    Source: see `handlers.kernels.crossover` and `handlers.kernels.dynamics`.

    Raises:
        BadParameter: a crossover at or above half the sample rate.
    """
    for index, freq in enumerate(p.crossovers_hz):
        if freq >= sound.rate / 2:
            raise BadParameter(
                f"crossovers_hz[{index}] = {freq:g} Hz is too high for {sound.rate} samples/s; "
                f"it must be below {sound.rate / 2:g} Hz",
                field=f"crossovers_hz[{index}]",
            )

    def compressed() -> Iterator[Samples]:
        from handlers.kernels.crossover import split
        from handlers.kernels.dynamics import Compressor

        compressors = [
            Compressor(sound.rate, b.threshold_db, b.ratio, b.attack_ms, b.release_ms)
            for b in p.bands
        ]
        makeups = [np.float32(10 ** (b.makeup_db / 20)) for b in p.bands]
        for bands in split(sound, p.crossovers_hz):
            total = np.zeros_like(bands[0])
            for band, compressor, makeup in zip(bands, compressors, makeups, strict=True):
                total += band * (compressor.gains(band) * makeup)
            yield total

    return MultibandCompressed(
        sound=sound.like(compressed), crossovers_hz=p.crossovers_hz, bands=p.bands
    )
