"""Where somebody speaks."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from handlers.artifacts import Png, Result, Svg, TextFile
from handlers.declare import Example, Measures, operation
from handlers.hearing import Feature, Heard
from handlers.listening.outline import OUTLINE
from handlers.listening.speech import FRAME, RATE, SPEECH, speech_parts
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Curve, Drawn, Plot, Span, Spans, Target, Wave
from handlers.units import Milliseconds, Seconds


class Vad(Marked, Drawn):
    """When speech begins and ends."""

    threshold: float = Field(0.5, ge=0, le=1, description="Probability from which on it is speech.")
    min_speech_duration_ms: Milliseconds = Field(
        250, ge=0, description="What is not longer is left out."
    )
    min_silence_duration_ms: Milliseconds = Field(
        100, ge=0, description="A shorter pause does not end a segment."
    )


class Segment(BaseModel):
    """A stretch with or without speech."""

    model_config = ConfigDict(frozen=True)

    start_sec: Seconds
    end_sec: Seconds
    duration_sec: Seconds
    #: Mean probability of what it is said to be.
    confidence: float


class Speech(Result):
    """Speech and what lies between, in order; together they are the sound."""

    speech_ratio: Annotated[float, Measures("speech_ratio")]
    duration: Seconds
    threshold: float
    speech_segments: list[Segment]
    non_speech_segments: list[Segment]
    marker_file: TextFile | None = None
    plot: Svg | Png | None = None


def _hears(p: Vad) -> tuple[Feature[Any], ...]:
    return (SPEECH, OUTLINE) if p.plot else (SPEECH,)


@operation(
    route="/v1/audio/vad",
    category="speech",
    engines=["silero-vad"],
    hears=_hears,
    examples=[
        Example("Who speaks when is another question; this is when."),
        Example("Only what is surely speech, as subtitles.", threshold=0.7, markers="webvtt"),
        Example("Drawn over the waveform.", plot=True),
    ],
)
def vad(sound: Heard, p: Vad) -> Speech:
    """Find speech, also over noise and music.

    A neural network hears all channels as one at 16 kHz and says every 32 ms
    how likely speech is; segments are 30 ms longer at both ends than what it
    says. It is small: an hour takes seconds on one core, and a queue for the
    GPU would take longer than the work, so its lane is the CPU's.

    Raises:
        WeightsMissing: the package that brings the network is not installed.

    Source: Silero VAD 6.2, network and thresholds.
    """
    probabilities = sound[SPEECH]
    duration = sound.duration
    # Of the last frame, what the sound fills.
    samples = round(duration * RATE)
    parts = speech_parts(
        probabilities,
        samples,
        threshold=p.threshold,
        min_speech_ms=p.min_speech_duration_ms,
        min_silence_ms=p.min_silence_duration_ms,
    )
    speech = [(start / RATE, duration if end >= samples else end / RATE) for start, end in parts]
    edges = [0.0, *(edge for part in speech for edge in part), duration]
    pauses = [
        (start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start
    ]

    def segment(start: float, end: float, *, speaks: bool) -> Segment:
        heard = probabilities[int(start * RATE) // FRAME : -int(-end * RATE // FRAME)]
        sure = float(heard.mean()) if heard.size else 0.0
        return Segment(
            start_sec=start,
            end_sec=end,
            duration_sec=round(end - start, 6),
            confidence=round(sure if speaks else 1 - sure, 4),
        )

    spoken = [segment(start, end, speaks=True) for start, end in speech]
    return Speech(
        speech_ratio=round(sum(s.duration_sec for s in spoken) / duration, 6) if duration else 0.0,
        duration=duration,
        threshold=p.threshold,
        speech_segments=spoken,
        non_speech_segments=[segment(start, end, speaks=False) for start, end in pauses],
        marker_file=marker_file(
            p,
            sound,
            (Marker(s.start_sec, s.end_sec, "speech", "speech", s.confidence) for s in spoken),
        ),
        plot=p.drawing(lambda: _plot(sound, p, spoken, probabilities)),
    )


def _plot(sound: Heard, p: Vad, spoken: list[Segment], probabilities: NDArray[np.float32]) -> Plot:
    spans = [Span(s.start_sec, s.end_sec, "speech") for s in spoken]
    times = (np.arange(probabilities.size) + 0.5) * FRAME / RATE
    return Plot(
        "Speech",
        duration=sound.duration,
        facts={
            "Segments": len(spoken),
            "Speech": f"{sum(s.duration_sec for s in spoken):.1f} s",
        },
        lanes=[
            Wave(sound[OUTLINE], over=[Spans(spans)]),
            Curve(
                times,
                probabilities,
                targets=[Target(p.threshold, "threshold")],
                low=0,
                high=1,
                name="Probability",
            ),
        ],
    )
