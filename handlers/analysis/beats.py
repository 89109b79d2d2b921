"""Tempo, beats and downbeats, to read and to hear."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from handlers.artifacts import Blocks, Png, Result, Svg, TextFile
from handlers.clicktrack import with_clicks
from handlers.declare import Example, operation
from handlers.hearing import Feature, Heard
from handlers.listening.color import CHROMA
from handlers.listening.flux import FLUX
from handlers.listening.outline import OUTLINE
from handlers.listening.rhythm import PULSE, Pulse, pulse_of
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn, Marks, Plot, Wave
from handlers.units import BeatsPerMinute, Seconds


class Beats(Marked, Drawn):
    """What is known of the tempo, and what to make of the beats."""

    click_track: bool = Field(
        False, description="Also give the sound, at half its level, with a click on each beat."
    )
    click_only: bool = Field(False, description="The click track without the sound.")
    start_bpm: BeatsPerMinute | None = Field(
        None, gt=0, description="About the tempo, where it is known: settles which level counts."
    )


class BeatsReport(Result):
    """Tempo and beats. A sound without a pulse has tempo 0 and no beats.

    Confidences are chances: of the tempo to be the one that people tap and not a
    multiple of it, and the F-measure that can be expected of beats and downbeats.
    """

    tempo_bpm: BeatsPerMinute
    bpm: BeatsPerMinute
    beats: list[float]
    beat_count: int
    duration: Seconds
    downbeats: list[float]
    beats_per_bar: int
    tempo_confidence: float
    beats_confidence: float
    downbeats_confidence: float
    click_track: Blocks | None = None
    marker_file: TextFile | None = None
    plot: Svg | Png | None = None


def _hears(p: Beats) -> tuple[Feature[Any], ...]:
    asked: tuple[Feature[Any], ...] = (PULSE,) if p.start_bpm is None else (FLUX, CHROMA)
    return (*asked, OUTLINE) if p.plot else asked


@operation(
    route="/v1/audio/beats",
    category="analysis",
    engines=["librosa-analyze"],
    hears=_hears,
    examples=[
        Example("Where are the beats?"),
        Example("Hear whether they are right.", click_track=True),
        Example("A ballad that is easily taken for twice as fast.", start_bpm=64),
        Example("Bars and beats for an editor, and a picture.", markers="audacity", plot=True),
    ],
)
def beats(sound: Heard, p: Beats) -> BeatsReport:
    """Find tempo, beats and downbeats.

    Follows a tempo that drifts, and songs one after another. Times are those of
    the attacks that carry the beats. Bars have two (6/8), three or four beats.

    Source: see `handlers.listening.pulse`, `rhythm` and `bars`.
    """
    if p.start_bpm is None:
        found = sound[PULSE]
    else:
        found = pulse_of(sound[FLUX], sound[CHROMA], p.start_bpm)
    times = [round(float(time), 6) for time in found.beats]
    first = [place == 0 for place in found.places.tolist()]
    tempo = round(found.tempo or 0.0, 2)
    return BeatsReport(
        tempo_bpm=tempo,
        bpm=tempo,
        beats=times,
        beat_count=len(times),
        duration=sound.duration,
        downbeats=[time for time, strong in zip(times, first, strict=True) if strong],
        beats_per_bar=found.beats_per_bar,
        tempo_confidence=round(found.tempo_confidence, 3),
        beats_confidence=round(found.beats_confidence, 3),
        downbeats_confidence=round(found.downbeats_confidence, 3),
        click_track=with_clicks(sound.sound, times, first, alone=p.click_only)
        if p.click_track or p.click_only
        else None,
        marker_file=marker_file(p, sound, _markers(found, times)),
        plot=p.drawing(lambda: _plot(sound, found, tempo)),
    )


def _markers(found: Pulse, times: list[float]) -> list[Marker]:
    made = []
    bar = 0
    for time, place in zip(times, found.places.tolist(), strict=True):
        bar += place == 0
        made.append(
            Marker(
                time,
                label=f"{bar}.{place + 1}",
                kind="beat",
                confidence=found.beats_confidence,
                extra={"position": place + 1},
            )
        )
    return made


def _plot(sound: Heard, found: Pulse, tempo: float) -> Plot:
    marks = Marks(found.beats[found.places != 0], strong=found.downbeats)
    return Plot(
        "Beats",
        duration=sound.duration,
        facts={
            "Tempo": f"{tempo:.1f} BPM" if tempo else "none",
            "Beats": len(found.beats),
            "Beats per bar": found.beats_per_bar,
            "Confidence": f"{found.tempo_confidence:.2f}",
        },
        lanes=[Wave(sound[OUTLINE], over=[marks])],
    )
