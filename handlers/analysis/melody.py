"""The tune: one pitch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from handlers.artifacts import Midi, Png, Result, Svg, TextFile
from handlers.declare import Example, operation
from handlers.hearing import Feature, Heard
from handlers.listening import melody as listening
from handlers.listening.outline import OUTLINE
from handlers.listening.pitch import FRAME_S, Contour
from handlers.markers import Marked, Marker, marker_file
from handlers.pictures.plots import Drawn
from handlers.units import Hertz, Seconds

if TYPE_CHECKING:
    from handlers.pictures.plots import Plot

#: The report has every second frame: 23 ms are finer than any tune, and three hours of it
#: are half a million entries.
_EVERY = 2
_TEMPO = 120.0


class Melody(Drawn, Marked):
    """Where to search, and what to write."""

    fmin: Hertz = Field(65.0, gt=0, description="Lowest pitch searched; never below 20 Hz.")
    fmax: Hertz = Field(2093.0, gt=0, description="Highest pitch searched; never above 5 kHz.")
    as_midi: bool = Field(False, description="Also write the notes as MIDI, at 120 BPM.")

    @model_validator(mode="after")
    def _in_order(self) -> Melody:
        if self.fmin >= self.fmax:
            raise ValueError(f"fmin = {self.fmin:g} Hz has to be below fmax = {self.fmax:g} Hz")
        return self


@dataclass(frozen=True, slots=True)
class Point:
    """The pitch at one time; `hz` is None where no tone sounds."""

    time: Seconds
    hz: Hertz | None
    voiced: bool


@dataclass(frozen=True, slots=True)
class MelodyNote:
    """A note; `pitch` is its MIDI number."""

    pitch: int
    start_sec: Seconds
    end_sec: Seconds


class MelodyReport(Result):
    """The contour, and its notes where MIDI was asked for."""

    fmin: Hertz
    fmax: Hertz
    frame_seconds: Seconds
    duration: Seconds
    contour: list[Point]
    midi_notes: list[MelodyNote] | None = None
    midi: Midi | None = None
    plot: Svg | Png | None = None
    marker_file: TextFile | None = None


def _hears(p: Melody) -> tuple[Feature[object], ...]:
    return (listening.melody(p.fmin, p.fmax), *((OUTLINE,) if p.plot else ()))


@operation(
    route="/v1/audio/melody",
    category="analysis",
    engines=["librosa-analyze"],
    hears=_hears,
    examples=[
        Example("The pitch of a voice over time."),
        Example("A bass line as MIDI.", fmin=30.0, fmax=400.0, as_midi=True),
    ],
)
def melody(sound: Heard, p: Melody) -> MelodyReport:
    """Follow the pitch of a melody, and write it down as notes.

    Of a single voice or instrument the pitch is exact to a few cents; of a mix
    it is the pitch that stands out.

    Raises:
        BadParameter: `fmin` is not below `fmax`.

    Source: see `handlers.listening.melody`.
    """
    from handlers.midi_files import MidiNote, midi_of

    found = sound[listening.melody(p.fmin, p.fmax)]
    step = _EVERY * FRAME_S
    hertz = found.hertz[::_EVERY].round(2).tolist()
    voiced = found.voiced[::_EVERY].tolist()
    wanted = p.as_midi or p.markers != "none"
    tones = listening.tones(found) if wanted else []
    notes = [MidiNote(t.start, t.end, t.pitch) for t in tones]
    return MelodyReport(
        fmin=p.fmin,
        fmax=p.fmax,
        frame_seconds=step,
        duration=sound.duration,
        contour=[
            Point(time=round(number * step, 6), hz=hz if sounds else None, voiced=sounds)
            for number, (hz, sounds) in enumerate(zip(hertz, voiced, strict=True))
        ],
        midi_notes=[
            MelodyNote(pitch=t.pitch, start_sec=round(t.start, 6), end_sec=round(t.end, 6))
            for t in tones
        ]
        if p.as_midi
        else None,
        midi=midi_of(notes, tempo_bpm=_TEMPO, name="Melody") if p.as_midi else None,
        plot=p.drawing(lambda: _plot(sound, found)),
        marker_file=marker_file(p, sound, (_marker(tone) for tone in tones)),
    )


def _marker(tone: listening.Tone) -> Marker:
    return Marker(
        tone.start, tone.end, listening.note_name(tone.pitch), "note", None, {"midi": tone.exact}
    )


def _plot(sound: Heard, found: Contour) -> Plot:
    import numpy as np

    from handlers.pictures import plots

    times = np.arange(len(found.hertz)) * FRAME_S
    values = np.where(found.voiced, found.hertz, np.nan)
    # A leap is no glide: the line breaks off where a frame is a semitone from the one before.
    pitch = 12 * np.log2(np.maximum(values, 1e-3))
    values[1:][np.abs(np.diff(pitch)) > 1] = np.nan
    return plots.Plot(
        "Melody",
        duration=sound.duration,
        lanes=[
            plots.Wave(sound[OUTLINE]),
            plots.Curve(times, values, notes=True, name="Pitch", height=2.0),
        ],
    )
