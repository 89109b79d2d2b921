"""The level of a sound over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SkipValidation

from handlers.analysis.loudness import loudness_lanes, target_lines
from handlers.artifacts import Png, Result, Svg
from handlers.declare import Example, operation
from handlers.errors import BadParameter
from handlers.hearing import Feature, Heard
from handlers.listening.levels import LOUDNESS, rms_by
from handlers.listening.outline import OUTLINE
from handlers.loudness_profiles import ProfileName, profiles
from handlers.pictures import plots
from handlers.pictures.plots import Drawn, Plot, Target, Wave
from handlers.units import DecibelsFS, SampleRate, Samples, Seconds

#: What JSON can hold in bearable time and memory: 3 hours at 48 kHz and the default hop.
_MOST_POINTS = 1_200_000
_FLOOR_DB = -200.0


class LoudnessCurve(Drawn):
    """How finely to look, and what to draw."""

    hop_length: Samples = Field(512, ge=64, le=8192, description="Frames per point.")
    profile: ProfileName | None = Field(
        None, description="Draw this publisher's target into the picture."
    )


# Not frozen: there are a million of them, and frozen ones take three times as long to make.
@dataclass(slots=True)
class CurvePoint:
    """RMS level, over all channels, of the frames from this time to the next point."""

    time_sec: Seconds
    rms_db: DecibelsFS


class Curve(Result):
    """A point for every hop; silence is at -200 dB."""

    curve: Annotated[list[CurvePoint], SkipValidation]
    duration: Seconds
    sample_rate: SampleRate
    points: int
    hop_length: Samples
    plot: Svg | Png | None = None


def _hears(p: LoudnessCurve) -> tuple[Feature[Any], ...]:
    rms = rms_by(p.hop_length)
    return (rms, LOUDNESS, OUTLINE) if p.plot else (rms,)


@operation(
    route="/v1/audio/loudness/curve",
    category="analysis",
    hears=_hears,
    examples=[Example("A fine envelope."), Example("A coarse one.", hop_length=4096)],
)
def loudness_curve(sound: Heard, p: LoudnessCurve) -> Curve:
    """Measure the RMS level over time, a point for every hop.

    Level in dB of full scale, rounded to a hundredth; the last point is of
    the frames that are left.

    Raises:
        BadParameter: more than 1.2 million points.
    """
    points = -(-sound.frames // p.hop_length)
    if points > _MOST_POINTS:
        fewest = -(-sound.frames // _MOST_POINTS)
        raise BadParameter(
            f"hop_length = {p.hop_length} would make {points} points of {sound.duration:.0f} s; "
            f"{_MOST_POINTS} are possible, with {fewest} or more",
            field="hop_length",
        )
    rms = sound[rms_by(p.hop_length)]
    levels = np.maximum(20 * np.log10(np.maximum(rms, 1e-30)), _FLOOR_DB)
    times = np.arange(rms.size) * p.hop_length / sound.rate
    return Curve(
        curve=list(map(CurvePoint, times.round(6).tolist(), levels.round(2).tolist())),
        duration=sound.duration,
        sample_rate=sound.rate,
        points=rms.size,
        hop_length=p.hop_length,
        plot=p.drawing(lambda: _plot(sound, p, times, levels)),
    )


def _plot(
    sound: Heard, p: LoudnessCurve, times: NDArray[np.float64], levels: NDArray[np.float64]
) -> Plot:
    profile = profiles()[p.profile] if p.profile else None
    level = sound[LOUDNESS]
    lines = []
    if profile is not None and profile.target_rms_db is not None:
        lines.append(Target(profile.target_rms_db, profile.title))
    # Below 96 dB there is nothing to see.
    heard = np.where(levels > -96, levels, np.nan)
    return Plot(
        "Level over time",
        duration=sound.duration,
        facts={"Points": levels.size, "Hop": f"{p.hop_length} samples"},
        lanes=[
            Wave(sound[OUTLINE]),
            plots.Curve(times, heard, targets=lines, name="RMS", unit="dBFS"),
            # The target counts in LUFS, which RMS is not.
            *loudness_lanes(level, target_lines(profile)),
        ],
    )
