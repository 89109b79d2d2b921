"""How loud a sound is."""

from __future__ import annotations

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, operation
from handlers.units import DecibelsFS, DecibelsTP, LoudnessUnits, LoudnessUnitsFS


class Loudness(Result):
    """Loudness and peaks; None where silence, or a sound shorter than the window, has none."""

    loudness_lufs: LoudnessUnitsFS | None
    momentary_max: LoudnessUnitsFS | None
    short_term_max: LoudnessUnitsFS | None
    loudness_range: LoudnessUnits | None
    true_peak_dbtp: DecibelsTP | None
    sample_peak_dbfs: DecibelsFS | None


@operation(
    route="/v1/audio/loudness",
    category="analysis",
    examples=[Example("How loud is this programme?")],
)
def loudness(sound: Blocks) -> Loudness:
    """Measure integrated loudness, its range and maxima, true peak and sample peak.

    Values are rounded to a hundredth. A sound shorter than 400 ms counts as
    one gating block of its own length.

    Source: ITU-R BS.1770-5; EBU Tech 3341 and 3342.
    """
    from handlers.kernels.loudness import Meter

    meter = Meter(sound.rate, sound.channels)
    for block in sound:
        meter.add(block)
    return Loudness(
        loudness_lufs=_rounded(meter.integrated),
        momentary_max=_rounded(meter.momentary_max),
        short_term_max=_rounded(meter.short_term_max),
        loudness_range=_rounded(meter.loudness_range),
        true_peak_dbtp=_rounded(meter.true_peak_dbtp),
        sample_peak_dbfs=_rounded(meter.sample_peak_dbfs),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
