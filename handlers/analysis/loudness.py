"""How loud a sound is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from handlers.artifacts import Png, Result, Svg
from handlers.declare import Example, Measures, operation
from handlers.hearing import Feature, Heard
from handlers.listening.levels import LOUDNESS
from handlers.listening.levels import Loudness as Level
from handlers.listening.outline import OUTLINE
from handlers.loudness_profiles import Profile, ProfileName, profiles
from handlers.pictures.plots import Curve, Drawn, Marks, Plot, Target, Wave
from handlers.units import DecibelsFS, DecibelsTP, LoudnessUnits, LoudnessUnitsFS, Seconds


class LoudnessOf(Drawn):
    """What to compare with."""

    profile: ProfileName | None = Field(
        None, description="Say how far this publisher's target is; nothing is changed."
    )


class Loudness(Result):
    """Loudness and peaks; None where silence, or a sound shorter than the window, has none.

    Times are where the loudest window begins.
    """

    loudness_lufs: Annotated[LoudnessUnitsFS | None, Measures("lufs")]
    momentary_max: LoudnessUnitsFS | None
    momentary_max_sec: Seconds | None
    short_term_max: LoudnessUnitsFS | None
    short_term_max_sec: Seconds | None
    loudness_range: Annotated[LoudnessUnits | None, Measures("loudness_range")]
    true_peak_dbtp: Annotated[DecibelsTP | None, Measures("true_peak")]
    sample_peak_dbfs: Annotated[DecibelsFS | None, Measures("sample_peak")]
    #: The profile's, where it asks for a loudness.
    target_lufs: LoudnessUnitsFS | None
    #: Measured minus target.
    off_target_lu: LoudnessUnits | None
    #: None where the profile names no tolerance.
    within_tolerance: bool | None
    true_peak_ok: bool | None
    normalized: Literal[False] = False
    plot: Svg | Png | None = None


def _hears(p: LoudnessOf) -> tuple[Feature[Any], ...]:
    return (LOUDNESS, OUTLINE) if p.plot else (LOUDNESS,)


@operation(
    route="/v1/audio/loudness",
    category="analysis",
    engines=["librosa-analyze"],
    hears=_hears,
    examples=[
        Example("How loud is this programme?"),
        Example("Is it ready for European broadcast?", profile="ebu-r128", plot=True),
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
        plot=p.drawing(lambda: _plot(sound, level, profile)),
    )


def _plot(sound: Heard, level: Level, profile: Profile | None) -> Plot:
    loudest = [
        (at, name)
        for at, name in (
            (level.momentary_max_sec, "loudest 400 ms"),
            (level.short_term_max_sec, "loudest 3 s"),
        )
        if at is not None
    ]
    targets = target_lines(profile)
    if level.integrated is not None:
        targets.append(Target(level.integrated, "integrated"))
    return Plot(
        "Loudness",
        duration=sound.duration,
        facts={
            "Integrated": _shown(level.integrated, "LUFS"),
            "Range": _shown(level.loudness_range, "LU"),
            "True peak": _shown(level.true_peak_dbtp, "dBTP"),
        },
        lanes=[
            Wave(sound[OUTLINE], over=[Marks(flags=loudest)]),
            *loudness_lanes(level, targets),
        ],
    )


def target_lines(profile: Profile | None) -> list[Target]:
    """The loudness that a publisher asks for, as a line across a drawing."""
    if profile is None or profile.target_lufs is None:
        return []
    return [Target(profile.target_lufs, profile.title)]


def loudness_lanes(level: Level, targets: Sequence[Target]) -> list[Curve]:
    """Short-term and momentary loudness over time, each at the end of its window."""
    lanes = []
    for name, window, values in (
        ("Short-term", 3.0, level.short_term),
        ("Momentary", 0.4, level.momentary),
    ):
        times = np.arange(values.size) * level.step_sec + window
        # Below the gate of BS.1770 there is nothing to see.
        heard = np.where(values > -70, values, np.nan)
        lanes.append(Curve(times, heard, targets=targets, name=name, unit="LUFS"))
    return lanes


def _shown(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.1f} {unit}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _peak(level: Level) -> float:
    return -math.inf if level.true_peak_dbtp is None else level.true_peak_dbtp
