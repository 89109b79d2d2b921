"""Where a sound is silent, and the sound without it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from handlers.artifacts import Blocks, Png, Result, Svg, TextFile
from handlers.declare import Example, Measures, operation
from handlers.errors import CannotProcess
from handlers.hearing import Feature, Heard
from handlers.listening.levels import loud_parts
from handlers.listening.outline import OUTLINE
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn, Plot, Span, Spans, Wave
from handlers.silences import Range, between
from handlers.streams import joined, sections
from handlers.units import DecibelsFS, Seconds, frames_in


class Silence(Marked, Drawn):
    """What counts as silence, and what to do with it."""

    threshold_db: DecibelsFS = Field(-30.0, le=0, description="What stays below is silence.")
    min_duration_sec: Seconds = Field(
        0.5, gt=0, description="What is quiet for a shorter time is no silence."
    )
    trim_mode: Literal["edges", "all"] | None = Field(
        None,
        description="Also give the sound without silence: edges, only that at both ends; all, "
        "every one.",
    )
    keep_sec: Seconds = Field(
        0.0, ge=0, description="How much silence to leave next to what is kept."
    )


class SilentRange(BaseModel):
    """A silence."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds
    duration_sec: Seconds


class LoudRange(BaseModel):
    """What lies between silences."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds


class Silences(Result):
    """All silences and what lies between them, in order; together they are the sound."""

    silent_ranges: list[SilentRange]
    non_silent_ranges: list[LoudRange]
    duration: Seconds
    threshold_db: DecibelsFS
    min_duration_sec: Seconds
    #: The share of the sound that is silent; at -60 dBFS for rules, where -30 is for pauses.
    silent_ratio: Annotated[float, Measures("silence", threshold_db=-60.0)]
    #: What was cut out, if anything was.
    trim_mode: Literal["edges", "all"] | None = None
    trimmed_audio: Blocks | None = None
    marker_file: TextFile | None = None
    plot: Svg | Png | None = None


def _loud(p: Silence) -> Feature[list[Range]]:
    return loud_parts(p.threshold_db, p.min_duration_sec)


def _hears(p: Silence) -> tuple[Feature[Any], ...]:
    return (_loud(p), OUTLINE) if p.plot else (_loud(p),)


@operation(
    route="/v1/audio/silence",
    category="analysis",
    engines=["silence-detect"],
    hears=_hears,
    version=3,
    examples=[
        Example("Where are the pauses?", threshold_db=-40, markers="webvtt", plot=True),
        Example("Tighten a talk.", trim_mode="all", threshold_db=-45, keep_sec=0.1),
        Example("Cut what was recorded before and after.", trim_mode="edges", threshold_db=-50),
    ],
)
def silence(sound: Heard, p: Silence) -> Silences:
    """Find silences, and cut them out if asked.

    Silence is where no sample of any channel reaches the threshold for at
    least the minimum duration; what is not silence begins and ends with a sample
    that does. To the sample; what is kept is not changed.

    Raises:
        CannotProcess: the whole sound is silent and should be trimmed.
    """
    loud = sound[_loud(p)]
    frames = sound.frames
    silent = between(loud, frames)
    return Silences(
        silent_ranges=[
            SilentRange(
                start_sec=start / sound.rate,
                end_sec=end / sound.rate,
                duration_sec=(end - start) / sound.rate,
            )
            for start, end in silent
        ],
        non_silent_ranges=[
            LoudRange(start_sec=start / sound.rate, end_sec=end / sound.rate) for start, end in loud
        ],
        duration=sound.duration,
        threshold_db=p.threshold_db,
        min_duration_sec=p.min_duration_sec,
        silent_ratio=round(sum(e - s for s, e in silent) / frames, 6) if frames else 1.0,
        trim_mode=p.trim_mode,
        trimmed_audio=_trimmed(sound, p, loud, silent) if p.trim_mode else None,
        marker_file=marker_file(
            p,
            sound,
            (
                Marker(start / sound.rate, end / sound.rate, "silence", "silence")
                for start, end in silent
            ),
        ),
        plot=p.drawing(lambda: _plot(sound, p, silent)),
    )


def _plot(sound: Heard, p: Silence, silent: list[Range]) -> Plot:
    spans = [Span(start / sound.rate, end / sound.rate, "silence") for start, end in silent]
    in_all = sum(end - start for start, end in silent) / sound.rate
    return Plot(
        "Silence",
        duration=sound.duration,
        facts={
            "Silences": len(silent),
            "In all": f"{in_all:.1f} s",
            "Threshold": f"{p.threshold_db:g} dBFS",
        },
        lanes=[Wave(sound[OUTLINE], over=[Spans(spans)])],
    )


def _trimmed(sound: Heard, p: Silence, loud: list[Range], silent: list[Range]) -> Blocks:
    frames = sound.frames
    if not loud:
        raise CannotProcess(
            f"nothing would be left: no sample reaches threshold_db = {p.threshold_db:g} dBFS"
        )
    if p.trim_mode == "edges":
        silent = [part for part in silent if part[0] == 0 or part[1] == frames]
    keep = frames_in(p.keep_sec, sound.rate)
    # An end of the sound is not next to anything that is kept.
    cut = [(s + keep * (s > 0), e - keep * (e < frames)) for s, e in silent]
    kept = between([part for part in cut if part[1] > part[0]], frames)
    return joined(sections(sound.sound, kept))
