"""One sound in as many parts as it has beats."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, operation
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.listening.rhythm import PULSE
from handlers.streams import sections
from handlers.units import BeatsPerMinute

#: A cut may lie so much before its beat, where the sound is quiet, and never after it.
_BEFORE_S = 0.004


class Slices(Result):
    """The parts, in order; together they are the sound from its first beat on."""

    sounds: dict[str, Blocks]
    beat_count: int
    tempo_bpm: BeatsPerMinute
    beats: list[float]


@operation(
    route="/v1/audio/beat-slice",
    category="editing",
    tool="slice_at_beats",
    engines=["librosa-analyze"],
    hears=(PULSE,),
    passes=3,
    examples=[Example("A loop for the pads of a sampler.")],
)
def beat_slice(sound: Heard) -> Slices:
    """Cut a sound at its beats: one part per beat, the last one to the end.

    Each cut lies within 4 ms before the attack, where the sound is nearest to
    zero, so that no part begins with a click or lacks its attack. The parts join
    to the sound again, sample for sample; what comes before the first beat is left out.

    Raises:
        CannotProcess: no beats were found.
    """
    found = sound[PULSE]
    if not len(found.beats):
        raise CannotProcess(
            f"no beats found: nothing in these {sound.duration:.3g} s has a pulse",
            hint="split cuts at silences or into equal parts",
        )
    cuts = quiet_before(sound.sound, np.rint(found.beats * sound.rate).astype(np.int64))
    bounds = list(pairwise([*cuts, sound.frames]))
    digits = max(3, len(str(len(bounds))))
    parts = sections(sound.sound, bounds)
    return Slices(
        sounds={f"beat_{number:0{digits}}": part for number, part in enumerate(parts, start=1)},
        beat_count=len(parts),
        tempo_bpm=round(found.tempo or 0.0, 2),
        beats=[round(cut / sound.rate, 6) for cut in cuts],
    )


def quiet_before(sound: Blocks, places: NDArray[np.int64]) -> list[int]:
    """For each place (frames, rising) the nearest one before it at which a cut is not heard.

    That is where the two samples beside the cut are smallest, over all channels.
    Costs one pass over the sound up to the last place.
    """
    reach = max(1, round(_BEFORE_S * sound.rate))
    frames = sound.frames
    cuts: list[int] = []
    lows = [max(int(place) - reach, 1) for place in places]
    highs = [min(int(place) + 1, frames) for place in places]
    windows = sections(sound, [(low - 1, high) for low, high in zip(lows, highs, strict=True)])
    for low, high, window in zip(lows, highs, windows, strict=True):
        if high <= low:
            cut = min(max(high - 1, 0), frames)
        else:
            size = np.abs(window.whole().samples).max(axis=0)
            step = size[1:] + size[:-1]
            # Of equally quiet places (silence before a hit) the last one.
            cut = low + int(step.size - 1 - step[::-1].argmin())
        cuts.append(max(cut, cuts[-1] + 1) if cuts else cut)
    return cuts
