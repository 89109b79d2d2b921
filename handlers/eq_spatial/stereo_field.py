"""How wide a sound is, and whether it survives mono."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handlers.artifacts import Png, Result, Svg
from handlers.declare import Example, operation
from handlers.hearing import Feature, Heard
from handlers.listening import levels
from handlers.listening.levels import STEREO
from handlers.listening.outline import OUTLINE
from handlers.pictures.plots import Curve, Drawn, Plot, Target, Wave
from handlers.units import Decibels, DecibelsFS, SampleRate, Seconds

#: What counts as silence, in dB below full scale, and the most that two levels differ by.
_FLOOR_DB = -96.0
_LEAST = 10 ** (_FLOOR_DB / 20)


class StereoFieldOf(Drawn):
    """How to give what is measured."""


class StereoField(Result):
    """Left against right, mid against side; a level of silence is -96."""

    #: Pearson's, -1 to 1; of a mono sound 1.
    correlation: float
    #: RMS of the side over that of the mid; of a mono sound 0.
    width: float
    #: Positive where the left is louder.
    balance_db: Decibels
    mono_compatible: bool
    mid_level_db: DecibelsFS
    side_level_db: DecibelsFS
    phase_issues: bool
    channels: int
    sample_rate: SampleRate
    duration: Seconds
    #: The least correlation of any 400 ms, and where they begin; None in shorter sounds, or
    #: where one side is always silent.
    correlation_min: float | None
    correlation_min_sec: Seconds | None
    plot: Svg | Png | None = None


def _hears(p: StereoFieldOf) -> tuple[Feature[Any], ...]:
    return (STEREO, OUTLINE) if p.plot else (STEREO,)


@operation(
    route="/v1/audio/stereo-field",
    category="eq-spatial",
    hears=_hears,
    examples=[
        Example("Will this mix survive a phone's one speaker?"),
        Example("Where does it fall apart?", plot=True),
    ],
)
def stereo_field(sound: Heard, p: StereoFieldOf) -> StereoField:
    """Measure correlation, width and balance of left and right, and of mid and side.

    Mid is half the sum of left and right, side half their difference. Of more
    than two channels the first two are measured, front left and right. Levels
    are RMS, at least -96 dB; two levels differ by 96 dB at most, so that width
    and balance of a sound without mid, or with one side only, are numbers.
    """
    field = sound[STEREO]
    mono = sound.channels == 1
    known = field.over_time[~np.isnan(field.over_time)]
    lowest = None if mono or not known.size else float(known.min())
    return StereoField(
        correlation=1.0 if mono else round(field.correlation, 4),
        width=0.0 if mono else round(_width(field.side, field.mid), 4),
        balance_db=round(_balance_db(field.left, field.right), 2),
        mono_compatible=mono or field.correlation >= 0.5,
        mid_level_db=_decibels(field.mid),
        side_level_db=_FLOOR_DB if mono else _decibels(field.side),
        phase_issues=not mono and field.correlation < 0,
        channels=sound.channels,
        sample_rate=sound.rate,
        duration=sound.duration,
        correlation_min=None if lowest is None else round(lowest, 4),
        correlation_min_sec=None
        if lowest is None
        else int(np.nanargmin(field.over_time)) * field.step_sec,
        plot=p.drawing(lambda: _plot(sound, field)),
    )


def _plot(sound: Heard, field: levels.StereoField) -> Plot:
    times = np.arange(field.over_time.size) * field.step_sec + 0.2
    return Plot(
        "Stereo field",
        duration=sound.duration,
        facts={
            "Correlation": f"{field.correlation:.2f}",
            "Width": f"{_width(field.side, field.mid):.2f}",
            "Balance": f"{_balance_db(field.left, field.right):+.1f} dB",
        },
        lanes=[
            Wave(sound[OUTLINE]),
            Curve(
                times,
                field.over_time,
                targets=[Target(0.5, "mono compatible"), Target(0, "phase issues below")],
                low=-1,
                high=1,
                name="Correlation",
            ),
        ],
    )


def _width(side: float, mid: float) -> float:
    return side / max(mid, side * _LEAST) if side else 0.0


def _balance_db(left: float, right: float) -> float:
    if not left and not right:
        return 0.0
    return 20 * math.log10(max(left, right * _LEAST) / max(right, left * _LEAST))


def _decibels(rms: float) -> float:
    return max(round(20 * math.log10(rms), 2), _FLOOR_DB) if rms > 0 else _FLOOR_DB
