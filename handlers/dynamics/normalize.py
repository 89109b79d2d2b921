"""To a target loudness, without going over a peak ceiling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from handlers.artifacts import Blocks, Result, SoundItem
from handlers.declare import Example, Header, Missing, Params, operation
from handlers.errors import CannotProcess
from handlers.leveling import levelled
from handlers.loudness_profiles import Profile, ProfileName, profiles
from handlers.units import Decibels, DecibelsTP, LoudnessUnitsFS


def _ceiling(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("off", "none") else value


class Normalize(Params):
    """The target."""

    target_lufs: LoudnessUnitsFS | None = Field(
        None,
        ge=-70,
        le=-0.1,
        description="Integrated loudness of the result (BS.1770); required without a profile.",
    )
    profile: ProfileName | None = Field(
        None, description="Whose target and ceiling to meet; in place of target_lufs."
    )
    true_peak_dbtp: Annotated[DecibelsTP | None, BeforeValidator(_ceiling)] = Field(
        -1.0,
        ge=-20,
        le=0,
        description="Ceiling that a limiter holds where the gain would lift peaks above it; "
        "null or off for gain alone, even beyond full scale. A profile brings its own.",
    )

    @model_validator(mode="after")
    def _some_target(self) -> Normalize:
        if self.target_lufs is None and self.profile is None:
            raise Missing("target_lufs", "or a profile")
        return self


class Normalized(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    profile: str | None
    target_lufs: Annotated[LoudnessUnitsFS, Header("X-Target-LUFS")]
    #: Integrated loudness before.
    measured_lufs: Annotated[LoudnessUnitsFS, Header("X-Loudness-LUFS")]
    #: Integrated loudness of all sounds of the album before, where there is one.
    album_lufs: LoudnessUnitsFS | None
    #: Integrated loudness of the result.
    loudness_lufs: LoudnessUnitsFS
    #: False where the ceiling left no way to the target.
    target_reached: bool
    #: Gain before the limiter.
    gain_db: Decibels
    #: How much the limiter took where it took most; 0 when it was not needed.
    limited_db: Decibels


@operation(
    route="/v1/audio/normalize",
    category="dynamics",
    examples=[
        Example("For streaming services.", target_lufs=-14),
        Example("For European broadcast.", profile="ebu-r128"),
        Example("A chapter of an audiobook.", profile="acx", true_peak_dbtp=-3.5),
    ],
    passes=2,
    pipeline=True,
    batch=True,
    batch_defaults={"target_lufs": -14.0},
    mcp_defaults={"target_lufs": -14.0},
)
def normalize(
    sound: Blocks,
    album: Annotated[
        list[SoundItem] | None, "The other sounds of its album: all get the same gain."
    ],
    p: Normalize,
) -> Normalized:
    """Bring a sound to a target loudness, its peaks held below a ceiling.

    One gain for the whole sound; dynamics change only where a peak would pass
    the ceiling: there a look-ahead true-peak limiter works. What loudness the
    limiter takes is made up for by more gain, found in further passes, until
    the result is within 0.1 LU of the target. Where the ceiling does not allow
    that, `target_reached` is false and `loudness_lufs` says how far it got.

    With an album, the gain is that which brings all its sounds together, this
    one among them, to the target (or the loudest of them, where the profile says
    so). So its sounds keep their distances; nothing is made up for.

    Source: ITU-R BS.1770-5; EBU R 128; for profiles the data file beside
    `handlers.loudness_profiles`.

    Raises:
        CannotProcess: no part of the sound reaches -70 LUFS.
    """
    from handlers.kernels.loudness import integrated_together

    profile = profiles()[p.profile] if p.profile else None
    ceiling = p.true_peak_dbtp
    if profile and "true_peak_dbtp" not in p.model_fields_set:
        ceiling = profile.true_peak_dbtp
    own = _Level(sound, true_peak=ceiling is not None)
    measured, peak = own.meter.integrated, own.meter.true_peak_dbtp
    if measured is None:
        raise CannotProcess(
            "The sound is silent or too quiet to measure: no part of it reaches -70 LUFS."
        )
    others = [_Level(item.sound, true_peak=False) for item in album or ()]
    gain_db = _gain(p.target_lufs, profile, [own, *others])
    target = measured + gain_db
    made = levelled(sound, gain_db, target, peak=peak, ceiling=ceiling, make_up=not others)
    together = integrated_together([level.meter for level in (own, *others)])
    return Normalized(
        sound=made.sound,
        profile=p.profile,
        target_lufs=round(target if together is None else together + target - measured, 2),
        measured_lufs=round(measured, 2),
        album_lufs=round(together, 2) if others and together is not None else None,
        loudness_lufs=round(made.loudness, 2),
        target_reached=made.reached,
        gain_db=round(made.gain_db, 2),
        limited_db=round(made.limited_db, 2),
    )


class _Level:
    """How loud one sound is."""

    def __init__(self, sound: Blocks, *, true_peak: bool) -> None:
        from handlers.kernels.loudness import Meter

        self.meter = Meter(sound.rate, sound.channels, true_peak=true_peak)
        self.energy = 0.0
        self.samples = 0
        for block in sound:
            self.meter.add(block)
            self.energy += float(np.vdot(block, block))
            self.samples += block.size


def _gain(target_lufs: float | None, profile: Profile | None, levels: Sequence[_Level]) -> float:
    """Gain in dB that brings these sounds to the target, as the profile measures it."""
    from handlers.kernels.loudness import integrated_together

    target = profile.target_lufs if profile else target_lufs
    if profile and profile.target_rms_db is not None:
        energy = sum(level.energy for level in levels)
        power = energy / max(sum(level.samples for level in levels), 1)
        return profile.target_rms_db - 10 * math.log10(power)
    if profile and profile.album == "loudest":
        heard = max(v for v in (level.meter.integrated for level in levels) if v is not None)
    else:
        heard = integrated_together([level.meter for level in levels]) or 0.0
    assert target is not None
    return target - heard
