"""The liveliest part of a sound."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.hearing import Heard
from handlers.listening.onsets import ONSETS, Onsets
from handlers.streams import sections
from handlers.units import Seconds, frames_in

#: It begins this much before its first onset.
_BEFORE_S = 0.01


class Thumbnail(Params):
    """How much to keep."""

    duration_sec: Seconds = Field(
        30.0, ge=1, le=300, description="Length; a shorter sound is kept whole."
    )


class Cutout(Result):
    """The part, and where it was."""

    sound: Blocks
    start_sec: Seconds
    end_sec: Seconds
    duration_sec: Seconds


@operation(
    route="/v1/audio/thumbnail",
    category="editing",
    tool="audio_thumbnail",
    engines=["librosa-analyze"],
    hears=(ONSETS,),
    passes=2,
    pipeline=True,
    examples=[
        Example("A preview for a shop."),
        Example("Ten seconds for a ringtone.", duration_sec=10),
    ],
)
def thumbnail(sound: Heard, p: Thumbnail) -> Cutout:
    """Keep the part in which most happens: the most onsets per second.

    Of parts with as many onsets, the one whose onsets are stronger, then the
    earlier one. It begins right before an onset, and its samples are not changed.
    """
    rate, frames = sound.rate, sound.frames
    length = frames_in(p.duration_sec, rate)
    start = 0
    if frames > length:
        start = round(_liveliest(sound[ONSETS], p.duration_sec) * rate)
        start = min(max(start, 0), frames - length)
    end = min(start + length, frames)
    (part,) = sections(sound.sound, [(start, end)])
    return Cutout(
        sound=part,
        start_sec=round(start / rate, 6),
        end_sec=round(end / rate, 6),
        duration_sec=round((end - start) / rate, 6),
    )


def _liveliest(found: Onsets, duration: float) -> float:
    """Seconds at which the window with the most onsets begins."""
    if not len(found.times):
        return 0.0
    starts = found.times - _BEFORE_S
    ends = np.searchsorted(found.times, starts + duration)
    counts = ends - np.arange(starts.size)
    total = np.concatenate(([0.0], np.cumsum(found.strengths)))
    strong = total[ends] - total[:-1]
    best = max(range(starts.size), key=lambda i: (counts[i], strong[i], -i))
    return float(starts[best])
