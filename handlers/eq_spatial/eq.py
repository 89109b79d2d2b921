"""Parametric equaliser."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter
from handlers.units import Decibels, Hertz


class Band(BaseModel):
    """One bell."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    freq: Hertz = Field(
        gt=0,
        validation_alias=AliasChoices("freq", "frequency"),
        description="Centre of the bell.",
    )
    gain_db: Decibels = Field(ge=-30, le=30, description="Boost or cut at the centre.")
    width_hz: Hertz = Field(
        100, gt=0, description="Width of the bell, between the points of half its gain in dB."
    )


class Eq(Params):
    """The bells."""

    bands: list[Band] = Field(
        min_length=1, max_length=256, description="Peaking bands, one after another."
    )


class Equalised(Result):
    """The sound, and through how many bands it went."""

    sound: Blocks
    band_count: int


@operation(
    route="/v1/audio/eq",
    category="eq-spatial",
    examples=[
        Example(
            "Less boom, more presence.",
            bands=[
                {"freq": 180, "gain_db": -4, "width_hz": 120},
                {"freq": 3500, "gain_db": 3, "width_hz": 2500},
            ],
        )
    ],
    pipeline=True,
    batch=True,
)
def eq(sound: Blocks, p: Eq) -> Equalised:
    """Boost or cut around chosen frequencies.

    Keeps rate, channels and length; nothing is limited or renormalised.

    Source: R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad
    filter coefficients", peakingEQ with Q = freq / width_hz.

    Raises:
        BadParameter: a frequency at or above half the sample rate.
    """
    for index, band in enumerate(p.bands):
        if band.freq >= sound.rate / 2:
            raise BadParameter(
                f"bands[{index}].freq = {band.freq:g} Hz is too high for {sound.rate} samples/s; "
                f"it must be below {sound.rate / 2:g} Hz",
                field=f"bands[{index}].freq",
            )

    def filtered() -> Iterator[Samples]:
        from handlers.kernels.biquad import Cascade, peaking

        sections = [peaking(b.freq, b.gain_db, b.freq / b.width_hz, sound.rate) for b in p.bands]
        cascade = Cascade(sections, sound.channels)
        for block in sound:
            yield cascade.filtered(block)

    return Equalised(sound=sound.like(filtered), band_count=len(p.bands))
