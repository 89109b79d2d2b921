"""The level of a sound over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from handlers.artifacts import Result
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter
from handlers.hearing import Feature, Heard
from handlers.listening.levels import rms_by
from handlers.units import DecibelsFS, SampleRate, Samples, Seconds

#: What JSON can hold in bearable time and memory: 3 hours at 48 kHz and the default hop.
_MOST_POINTS = 1_200_000
_FLOOR_DB = -200.0


class LoudnessCurve(Params):
    """How finely to look."""

    hop_length: Samples = Field(512, ge=64, le=8192, description="Frames per point.")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """RMS level, over all channels, of the frames from this time to the next point."""

    time_sec: Seconds
    rms_db: DecibelsFS


class Curve(Result):
    """A point for every hop; silence is at -200 dB."""

    curve: list[CurvePoint]
    duration: Seconds
    sample_rate: SampleRate
    points: int
    hop_length: Samples


def _hears(p: LoudnessCurve) -> tuple[Feature[Any], ...]:
    return (rms_by(p.hop_length),)


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
        curve=[
            CurvePoint(time, level)
            for time, level in zip(times.round(6).tolist(), levels.round(2).tolist(), strict=True)
        ],
        duration=sound.duration,
        sample_rate=sound.rate,
        points=rms.size,
        hop_length=p.hop_length,
    )
