"""To a target loudness, without going over a peak ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Header, Params, operation
from handlers.errors import CannotProcess
from handlers.units import Decibels, DecibelsTP, LoudnessUnitsFS

#: How near the target the result is brought, in LU, when the limiter takes loudness away.
_CLOSE = 0.02
#: What still counts as reached.
_REACHED = 0.1
#: Passes in search of the gain that makes up for the limiter, at most.
_TRIES = 8
#: LU won per dB of gain below which the limiter has taken all there is to win.
_HOPELESS = 0.05
#: More gain than this into the limiter leaves nothing of the dynamics.
_MOST_MAKE_UP_DB = 20.0


def _ceiling(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("off", "none") else value


class Normalize(Params):
    """The target."""

    target_lufs: LoudnessUnitsFS = Field(
        ge=-70, le=-0.1, description="Integrated loudness of the result (BS.1770)."
    )
    true_peak_dbtp: Annotated[DecibelsTP | None, BeforeValidator(_ceiling)] = Field(
        -1.0,
        ge=-20,
        le=0,
        description="Ceiling that a limiter holds where the gain would lift peaks above it; "
        "null or off for gain alone, even beyond full scale.",
    )


class Normalized(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    target_lufs: Annotated[LoudnessUnitsFS, Header("X-Target-LUFS")]
    #: Integrated loudness before.
    measured_lufs: Annotated[LoudnessUnitsFS, Header("X-Loudness-LUFS")]
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
        Example("For European broadcast.", target_lufs=-23, true_peak_dbtp=-1),
    ],
    passes=2,
    pipeline=True,
    batch=True,
    batch_defaults={"target_lufs": -14.0},
    mcp_defaults={"target_lufs": -14.0},
)
def normalize(sound: Blocks, p: Normalize) -> Normalized:
    """Bring a sound to a target loudness, its peaks held below a ceiling.

    One gain for the whole sound; dynamics change only where a peak would pass
    the ceiling: there a look-ahead true-peak limiter works. What loudness the
    limiter takes is made up for by more gain, found in further passes, until
    the result is within 0.1 LU of the target. Where the ceiling does not allow
    that, `target_reached` is false and `loudness_lufs` says how far it got.

    Source: ITU-R BS.1770-5; EBU R 128.

    Raises:
        CannotProcess: no part of the sound reaches -70 LUFS.
    """
    from handlers.kernels.loudness import Meter

    meter = Meter(sound.rate, sound.channels, true_peak=p.true_peak_dbtp is not None)
    for block in sound:
        meter.add(block)
    measured, peak = meter.integrated, meter.true_peak_dbtp
    if measured is None:
        raise CannotProcess(
            "The sound is silent or too quiet to measure: no part of it reaches -70 LUFS."
        )
    gain_db = p.target_lufs - measured
    loudness, limited_db = p.target_lufs, 0.0
    if p.true_peak_dbtp is None or peak is None or peak + gain_db <= p.true_peak_dbtp:
        result = _louder(sound, gain_db)
    else:
        gain_db, loudness, limited_db = _made_up(sound, gain_db, p.target_lufs, p.true_peak_dbtp)
        result = _limited(sound, gain_db, p.true_peak_dbtp)
    return Normalized(
        sound=result,
        target_lufs=p.target_lufs,
        measured_lufs=round(measured, 2),
        loudness_lufs=round(loudness, 2),
        target_reached=abs(loudness - p.target_lufs) <= _REACHED,
        gain_db=round(gain_db, 2),
        limited_db=round(limited_db, 2),
    )


def _louder(sound: Blocks, gain_db: float) -> Blocks:
    factor = np.float32(10 ** (gain_db / 20))
    return sound.like(lambda: (block * factor for block in sound))


def _limited(sound: Blocks, gain_db: float, ceiling_dbtp: float) -> Blocks:
    def limited() -> Iterator[Samples]:
        from handlers.kernels.limiter import Limiter

        limiter = Limiter(sound.rate, sound.channels, ceiling_dbtp=ceiling_dbtp, gain_db=gain_db)
        for block in sound:
            out = limiter.limited(block)
            if out.shape[1]:
                yield out
        yield limiter.rest()

    return sound.like(limited)


def _made_up(
    sound: Blocks, gain_db: float, target: float, ceiling_dbtp: float
) -> tuple[float, float, float]:
    """Gain that brings the limited sound to `target`: gain, loudness reached, most reduction."""
    most = gain_db + _MOST_MAKE_UP_DB
    tried = [(gain_db, *_heard(sound, gain_db, ceiling_dbtp))]
    while abs(tried[-1][1] - target) > _CLOSE and len(tried) < _TRIES:
        gain_db, loudness, _ = tried[-1]
        slope = 1.0
        if len(tried) > 1:
            before, softer, _ = tried[-2]
            slope = (loudness - softer) / (gain_db - before)
            if slope < _HOPELESS:
                break
            slope = min(slope, 1.0)
        following = min(gain_db + (target - loudness) / slope, most)
        if following == gain_db:
            break
        tried.append((following, *_heard(sound, following, ceiling_dbtp)))
    if abs(tried[-1][1] - target) <= _CLOSE:
        return tried[-1]
    # Where more gain changes next to nothing, the least of it does the least harm.
    return min(tried, key=lambda one: (round(abs(one[1] - target), 1), one[0]))


def _heard(sound: Blocks, gain_db: float, ceiling_dbtp: float) -> tuple[float, float]:
    """Loudness after gain and limiter, and the limiter's greatest reduction."""
    from handlers.kernels.limiter import Limiter
    from handlers.kernels.loudness import Meter

    limiter = Limiter(sound.rate, sound.channels, ceiling_dbtp=ceiling_dbtp, gain_db=gain_db)
    meter = Meter(sound.rate, sound.channels, true_peak=False)
    for block in sound:
        out = limiter.limited(block)
        if out.shape[1]:
            meter.add(out)
    meter.add(limiter.rest())
    loudness = meter.integrated
    # Only a sound that was hardly above -70 LUFS, and a click at that, can fall below the gate.
    return (-70.0 if loudness is None else loudness), limiter.reduction_db
