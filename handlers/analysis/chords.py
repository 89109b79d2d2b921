"""Which chords are played, and in which key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from handlers.artifacts import Png, Result, Svg, TextFile
from handlers.declare import Example, operation
from handlers.hearing import Heard
from handlers.listening.chords import CHORDS, HARTE, KEY, Span, gridded, merged
from handlers.listening.notes import HARMONY
from handlers.listening.outline import OUTLINE
from handlers.listening.rhythm import PULSE
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn
from handlers.units import Samples, Seconds

if TYPE_CHECKING:
    from handlers.listening.chords import Key
    from handlers.pictures.plots import Plot


class Chords(Drawn, Marked):
    """How fine the chords are to be."""

    hop_length: Samples = Field(
        512,
        ge=1,
        description="Grid on which chords change where there is no beat, in samples at 22,050 Hz.",
    )
    segment_min_duration_sec: Seconds = Field(
        0.5, ge=0, description="Shorter chords are merged with a neighbour."
    )
    sevenths: bool = Field(
        False,
        description="Also tell sevenths and diminished chords: C7, Cmaj7, Cm7, Cdim, Cm7b5.",
    )


class Chord(BaseModel):
    """A chord from one time to another."""

    model_config = ConfigDict(frozen=True)

    chord: str
    start_sec: Seconds
    end_sec: Seconds
    confidence: float


class ChordReport(Result):
    """Key and chords; where no chord sounds, none is listed. Silence has no key."""

    key: str | None
    key_confidence: float
    tuning_cents: float
    duration: Seconds
    chords: list[Chord]
    plot: Svg | Png | None = None
    marker_file: TextFile | None = None


@operation(
    route="/v1/audio/chords",
    category="analysis",
    engines=["chord-detect"],
    hears=lambda p: (KEY, CHORDS, HARMONY, PULSE, *((OUTLINE,) if p.plot else ())),
    examples=[
        Example("The changes of a song."),
        Example("Jazz harmony, every bar of it.", sevenths=True, segment_min_duration_sec=0.25),
    ],
)
def chords(sound: Heard, p: Chords) -> ChordReport:
    """Detect the chords and the key.

    Labels are roots with sharps, `m` for minor: `C`, `F#m`. A confidence is the
    probability that root and third are right; the key's, that tonic and mode are.

    Source: see `handlers.listening.chords`.
    """
    key = sound[KEY]
    found = sound[CHORDS]
    spans = gridded(found, p.hop_length, sound[PULSE].beats.tolist(), sound.duration)
    spans = merged(spans, p.segment_min_duration_sec, p.sevenths)
    return ChordReport(
        key=key.name if key else None,
        key_confidence=round(key.confidence, 3) if key else 0.0,
        tuning_cents=round(sound[HARMONY].tuning, 1),
        duration=sound.duration,
        chords=[
            Chord(
                chord=span.label(p.sevenths),
                start_sec=round(span.start, 6),
                end_sec=round(span.end, 6),
                confidence=round(span.confidence, 3),
            )
            for span in spans
        ],
        plot=p.drawing(lambda: _plot(sound, key, spans, p.sevenths)),
        marker_file=marker_file(p, sound, (_marker(span, p.sevenths) for span in spans)),
    )


def _marker(span: Span, sevenths: bool) -> Marker:
    label = span.label(sevenths)
    harte = HARTE[span.quality.suffix if sevenths else span.quality.triad]
    return Marker(
        span.start,
        span.end,
        label,
        "chord",
        span.confidence,
        {"harte": f"{span.name}:{harte}"},
    )


#: As a share of the loudest, below what chroma fades: -40 dB.
_SOFT = 1e-2


def _plot(sound: Heard, key: Key | None, spans: list[Span], sevenths: bool) -> Plot:
    import numpy as np

    from handlers.pictures import plots

    harmony = sound[HARMONY]
    # What noise is left in a silence has no tones to show: it fades out.
    heard = np.minimum(harmony.level / max(harmony.level.max(initial=0) * _SOFT, 1e-9), 1)
    most = np.maximum(harmony.treble.max(axis=1, keepdims=True, initial=0), 1e-6)
    chroma = harmony.treble / most * heard[:, None]
    # More columns than a picture has pixels show nothing more.
    step = max(1, len(chroma) // 1500)
    shown = chroma[: len(chroma) // step * step].reshape(-1, step, 12).mean(axis=1)
    named = [plots.Span(s.start, s.end, s.label(sevenths).replace("#", "♯")) for s in spans]
    return plots.Plot(
        "Chords",
        duration=sound.duration,
        facts={"Key": key.name.replace("#", "♯") if key else None, "Chords": len(spans)},
        lanes=[
            plots.Wave(sound[OUTLINE]),
            plots.Spans(named, name="Chords", keys=True),
            plots.Heat(
                shown.T,
                colors="keys",
                rows=[(i, name) for i, name in enumerate(plots.NOTES)],
                name="Chroma",
            ),
        ],
    )
