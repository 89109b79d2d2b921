"""Where notes and hits begin."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from handlers.artifacts import Png, Result, Svg, TextFile
from handlers.declare import Example, operation
from handlers.hearing import Feature, Heard
from handlers.listening.onsets import ONSETS
from handlers.listening.outline import OUTLINE
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn, Marks, Plot, Wave
from handlers.units import Seconds


class Onset(BaseModel):
    """A beginning, and how strong it is: 1 is the strongest of the recording."""

    model_config = ConfigDict(frozen=True)

    time: Seconds
    strength: float


class OnsetsReport(Result):
    """All onsets, in order."""

    onsets: list[Onset]
    count: int
    duration: Seconds
    marker_file: TextFile | None = None
    plot: Svg | Png | None = None


class OnsetsShown(Marked, Drawn):
    """What else to write."""


def _hears(p: OnsetsShown) -> tuple[Feature[Any], ...]:
    return (ONSETS, OUTLINE) if p.plot else (ONSETS,)


@operation(
    route="/v1/audio/onsets",
    category="analysis",
    engines=["librosa-analyze"],
    hears=_hears,
    examples=[
        Example("Where does something begin?"),
        Example("Cue points at each hit, drawn as well.", markers="cue", plot=True),
    ],
)
def onsets(sound: Heard, p: OnsetsShown) -> OnsetsReport:
    """Find the beginnings of notes and hits, and how strong each is.

    Times are those of the attacks. Vibrato is no onset.

    Source: see `handlers.listening.flux` and `handlers.listening.onsets`.
    """
    found = sound[ONSETS]
    entries = [
        Onset(time=round(time, 6), strength=round(strength, 4))
        for time, strength in zip(found.times.tolist(), found.strengths.tolist(), strict=True)
    ]
    return OnsetsReport(
        onsets=entries,
        count=len(entries),
        duration=sound.duration,
        marker_file=marker_file(
            p,
            sound,
            (
                Marker(entry.time, label="onset", kind="onset", extra={"strength": entry.strength})
                for entry in entries
            ),
        ),
        plot=p.drawing(
            lambda: Plot(
                "Onsets",
                duration=sound.duration,
                facts={"Onsets": len(entries)},
                lanes=[Wave(sound[OUTLINE], over=[Marks(found.times)])],
            )
        ),
    )
