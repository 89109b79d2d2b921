"""A sound brought to a loudness, its peaks held below a ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from handlers.artifacts import Blocks, Samples

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


@dataclass(frozen=True)
class Levelled:
    """The sound, and what it took."""

    sound: Blocks
    #: Integrated loudness of the result, LUFS.
    loudness: float
    #: True where that is the target.
    reached: bool
    #: Gain before the limiter.
    gain_db: float
    #: How much the limiter took where it took most; 0 when it was not needed.
    limited_db: float


def levelled(
    sound: Blocks,
    gain_db: float,
    target: float,
    *,
    peak: float | None,
    ceiling: float | None,
    make_up: bool = True,
) -> Levelled:
    """The sound after `gain_db`, and after a limiter where its peaks would pass the ceiling.

    Args:
        sound: read once or more.
        gain_db: what brings it to the target.
        target: loudness that this gives, LUFS.
        peak: its true peak, dBTP; None for silence.
        ceiling: dBTP; None for gain alone.
        make_up: raise the gain until the limited sound is at the target.
    """
    if ceiling is None or peak is None or peak + gain_db <= ceiling:
        return Levelled(_louder(sound, gain_db), target, True, gain_db, 0.0)
    if make_up:
        gain_db, loudness, limited_db = _made_up(sound, gain_db, target, ceiling)
    else:
        loudness, limited_db = _heard(sound, gain_db, ceiling)
    return Levelled(
        sound=_limited(sound, gain_db, ceiling),
        loudness=loudness,
        reached=abs(loudness - target) <= _REACHED,
        gain_db=gain_db,
        limited_db=limited_db,
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
