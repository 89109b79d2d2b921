"""How loud a sound is."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from handlers.artifacts import Result
from handlers.declare import Example, Params, operation
from handlers.hearing import Heard
from handlers.listening.levels import LOUDNESS
from handlers.listening.levels import Loudness as Level
from handlers.loudness_profiles import ProfileName, profiles
from handlers.units import DecibelsFS, DecibelsTP, LoudnessUnits, LoudnessUnitsFS, Seconds


class LoudnessOf(Params):
    """What to compare with."""

    profile: ProfileName | None = Field(
        None, description="Say how far this publisher's target is; nothing is changed."
    )


class Loudness(Result):
    """Loudness and peaks; None where silence, or a sound shorter than the window, has none.

    Times are where the loudest window begins.
    """

    loudness_lufs: LoudnessUnitsFS | None
    momentary_max: LoudnessUnitsFS | None
    momentary_max_sec: Seconds | None
    short_term_max: LoudnessUnitsFS | None
    short_term_max_sec: Seconds | None
    loudness_range: LoudnessUnits | None
    true_peak_dbtp: DecibelsTP | None
    sample_peak_dbfs: DecibelsFS | None
    #: The profile's, where it asks for a loudness.
    target_lufs: LoudnessUnitsFS | None
    #: Measured minus target.
    off_target_lu: LoudnessUnits | None
    #: None where the profile names no tolerance.
    within_tolerance: bool | None
    true_peak_ok: bool | None
    normalized: Literal[False] = False


@operation(
    route="/v1/audio/loudness",
    category="analysis",
    engines=["librosa-analyze"],
    hears=(LOUDNESS,),
    examples=[
        Example("How loud is this programme?"),
        Example("Is it ready for European broadcast?", profile="ebu-r128"),
    ],
)
def loudness(sound: Heard, p: LoudnessOf) -> Loudness:
    """Measure integrated loudness, its range and maxima, true peak and sample peak.

    Values are rounded to a hundredth. A sound shorter than 400 ms counts as
    one gating block of its own length. The windows of the maxima begin every
    10 ms.

    Source: ITU-R BS.1770-5; EBU Tech 3341 and 3342.
    """
    level = sound[LOUDNESS]
    profile = profiles()[p.profile] if p.profile else None
    target = profile.target_lufs if profile else None
    tolerance = profile.tolerance_lu if profile else None
    ceiling = profile.true_peak_dbtp if profile else None
    off = None if target is None or level.integrated is None else level.integrated - target
    return Loudness(
        loudness_lufs=_rounded(level.integrated),
        momentary_max=_rounded(level.momentary_max),
        momentary_max_sec=level.momentary_max_sec,
        short_term_max=_rounded(level.short_term_max),
        short_term_max_sec=level.short_term_max_sec,
        loudness_range=_rounded(level.loudness_range),
        true_peak_dbtp=_rounded(level.true_peak_dbtp),
        sample_peak_dbfs=_rounded(level.sample_peak_dbfs),
        target_lufs=target,
        off_target_lu=_rounded(off),
        within_tolerance=None if off is None or tolerance is None else abs(off) <= tolerance,
        # Silence has no peak, and so none that is too high.
        true_peak_ok=None if ceiling is None else _peak(level) <= ceiling,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _peak(level: Level) -> float:
    return -math.inf if level.true_peak_dbtp is None else level.true_peak_dbtp
