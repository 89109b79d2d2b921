"""The parts of a piece: verse, chorus, verse again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from handlers.artifacts import Png, Result, Svg, TextFile
from handlers.declare import Example, operation
from handlers.hearing import Feature, Heard
from handlers.listening.color import TIMBRE
from handlers.listening.notes import HARMONY
from handlers.listening.outline import OUTLINE
from handlers.listening.rhythm import PULSE
from handlers.listening.structure import SHORTEST, Part, parts, units
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn
from handlers.units import BeatsPerMinute, Seconds

if TYPE_CHECKING:
    from handlers.pictures.plots import Plot


class Segments(Drawn, Marked):
    """How many parts."""

    num_segments: int = Field(
        6, ge=2, le=32, description="How many parts to find, if the sound has enough bars."
    )
    adaptive: bool = Field(
        False, description="Only as many parts as there are signs of, up to num_segments."
    )


class Segment(BaseModel):
    """A part; what recurs has the same letter and number."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds
    label: str
    cluster_id: int


class SegmentReport(Result):
    """The parts in order, without gaps, from the beginning to the end."""

    segments: list[Segment]
    tempo_bpm: BeatsPerMinute | None
    duration: Seconds
    note: str | None = None
    plot: Svg | Png | None = None
    marker_file: TextFile | None = None


def _hears(p: Segments) -> tuple[Feature[object], ...]:
    return (HARMONY, TIMBRE, PULSE, *((OUTLINE,) if p.plot else ()))


@operation(
    route="/v1/audio/segments",
    category="analysis",
    engines=["librosa-analyze"],
    hears=_hears,
    examples=[
        Example("Verse and chorus."),
        Example("At most twelve parts of a long piece.", num_segments=12, adaptive=True),
    ],
)
def segments(sound: Heard, p: Segments) -> SegmentReport:
    """Find the parts of a piece, and which of them recur.

    Parts begin on bars where there are any. Parts that are alike bar by bar share a
    letter: A B A B C. A sound of too few bars or beats is one part A.

    Source: see `handlers.listening.structure`.
    """
    pulse = sound[PULSE]
    least = 2 if p.adaptive else SHORTEST * p.num_segments
    edges = units(sound.duration, pulse.downbeats.tolist(), pulse.beats.tolist(), least)
    found = parts(edges, sound[HARMONY], sound[TIMBRE], p.num_segments, exactly=not p.adaptive)
    note = None
    if len(found) == 1 and not p.adaptive:
        note = f"too short for {p.num_segments} segments: {sound.duration:.3g} s is one"
    return SegmentReport(
        segments=[
            Segment(
                start_sec=round(part.start, 6),
                end_sec=round(part.end, 6),
                label=part.letter,
                cluster_id=part.number,
            )
            for part in found
        ],
        tempo_bpm=None if pulse.tempo is None else round(pulse.tempo, 2),
        duration=sound.duration,
        note=note,
        plot=p.drawing(lambda: _plot(sound, found)),
        marker_file=marker_file(p, sound, (_marker(part) for part in found)),
    )


def _marker(part: Part) -> Marker:
    return Marker(part.start, part.end, part.letter, "segment")


def _plot(sound: Heard, found: list[Part]) -> Plot:
    from handlers.pictures import plots

    named = [plots.Span(part.start, part.end, part.letter) for part in found]
    tempo = sound[PULSE].tempo
    return plots.Plot(
        "Segments",
        duration=sound.duration,
        facts={"Parts": len(found), "Tempo": f"{tempo:.1f} BPM" if tempo else None},
        lanes=[
            plots.Wave(sound[OUTLINE], over=[plots.Marks(sound[PULSE].downbeats)]),
            plots.Spans(named, name="Parts"),
        ],
    )
