"""Where a sound can be looped so that nobody hears it."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from handlers.artifacts import Png, Result, Svg, TextFile
from handlers.declare import Example, operation
from handlers.hearing import Feature, Heard
from handlers.listening.color import CHROMA, TIMBRE
from handlers.listening.loops import loops
from handlers.listening.outline import OUTLINE
from handlers.listening.rhythm import PULSE
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn, Marks, Plot, Span, Spans, Wave
from handlers.seams import Seam, seamless
from handlers.units import BeatsPerMinute, Seconds


class LoopPoint(Marked, Drawn):
    """How long a loop must be, and how many to offer."""

    min_loop_bars: int = Field(4, ge=1, le=64, description="Shortest loop, in bars.")
    num_candidates: int = Field(5, ge=1, le=20, description="How many loops to offer at most.")


class LoopCandidate(BaseModel):
    """A loop: the sample at its end is the one that would come after its last."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds
    bars: int
    score: float


class LoopReport(Result):
    """The best loop and others, best first. Without one: bars 0 and score 0."""

    loop_start_sec: Seconds
    loop_end_sec: Seconds
    bars: int
    score: float
    tempo_bpm: BeatsPerMinute
    duration: Seconds
    candidates: list[LoopCandidate]
    note: str | None = None
    marker_file: TextFile | None = None
    plot: Svg | Png | None = None


def _hears(p: LoopPoint) -> tuple[Feature[Any], ...]:
    return (PULSE, CHROMA, TIMBRE, *((OUTLINE,) if p.plot else ()))


@operation(
    route="/v1/audio/loop-point",
    category="analysis",
    tool="find_loop_point",
    engines=["librosa-analyze"],
    hears=_hears,
    passes=2,
    examples=[
        Example("A loop of four bars or more."),
        Example("Eight bars, as cue points.", min_loop_bars=8, markers="cue", plot=True),
    ],
)
def loop_point(sound: Heard, p: LoopPoint) -> LoopReport:
    """Find loops: from one downbeat to another before and after which the music is the same.

    The score says how alike (0 to 1), by harmony and timbre. Ends are then moved, to
    the sample, to where the wave itself goes on smoothly from the end to the start.

    Source: self-similarity of beat-synchronous features, J. Foote, "Visualizing Music and
    Audio Using Self-Similarity", ACM Multimedia 1999.
    """
    pulse = sound[PULSE]
    rough = loops(
        pulse, sound[CHROMA], sound[TIMBRE], sound.duration, p.min_loop_bars, p.num_candidates
    )
    seams = seamless(
        sound.sound, [Seam(round(r.start * sound.rate), round(r.end * sound.rate)) for r in rough]
    )
    found = [
        LoopCandidate(
            start_sec=round(seam.start / sound.rate, 6),
            end_sec=round(seam.end / sound.rate, 6),
            bars=r.bars,
            score=round(r.score, 4),
        )
        for r, seam in zip(rough, seams, strict=True)
    ]
    best = found[0] if found else None
    note = None
    if best is None:
        bars = int(np.count_nonzero(pulse.places == 0))
        note = f"{bars} bars were found: too few for a loop of {p.min_loop_bars}"
    return LoopReport(
        loop_start_sec=best.start_sec if best else 0.0,
        loop_end_sec=best.end_sec if best else sound.duration,
        bars=best.bars if best else 0,
        score=best.score if best else 0.0,
        tempo_bpm=round(pulse.tempo or 0.0, 2),
        duration=sound.duration,
        candidates=found,
        note=note,
        marker_file=marker_file(
            p,
            sound,
            (
                Marker(
                    c.start_sec,
                    c.end_sec,
                    f"loop {number} ({c.bars} bars)",
                    "loop",
                    extra={"bars": c.bars, "score": c.score},
                )
                for number, c in enumerate(found, start=1)
            ),
        ),
        plot=p.drawing(
            lambda: Plot(
                "Loop points",
                duration=sound.duration,
                facts={"Loops": len(found), "Best": f"{best.bars} bars" if best else None},
                lanes=[
                    Wave(
                        sound[OUTLINE],
                        over=[
                            Spans(
                                [Span(best.start_sec, best.end_sec, _named(best))] if best else []
                            ),
                            Marks(strong=pulse.downbeats),
                        ],
                    ),
                    *(
                        Spans(
                            [Span(c.start_sec, c.end_sec, _named(c))],
                            name="" if number else "Next best",
                        )
                        for number, c in enumerate(found[1:])
                    ),
                ],
            )
        ),
    )


def _named(loop: LoopCandidate) -> str:
    return f"{loop.bars} bars, {loop.score:.2f}"
