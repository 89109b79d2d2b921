"""MIDI files from notes that lie in wall-clock time: what was heard, not what was composed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from handlers.artifacts import Midi
from handlers.smf.making import SLOWEST_BPM, Sheet
from handlers.units import BeatsPerMinute, Seconds

#: Ticks per quarter note of a file: at usual tempos a tick is about a millisecond.
_TICKS, _MOST_TICKS = 480, 2**15 - 1
#: A tick is never longer than this, however slow the tempo.
_TICK_S = 0.001


@dataclass(frozen=True)
class MidiNote:
    """A note at its place in wall-clock time."""

    start: Seconds
    end: Seconds
    #: 0 to 127; 60 is middle C.
    pitch: int
    velocity: int = 80
    #: 0 to 15; 9 is drums.
    channel: int = 0


def midi_of(notes: Iterable[MidiNote], *, tempo_bpm: BeatsPerMinute, name: str = "") -> Midi:
    """A file with a single track, in which each note lies where its seconds say.

    Args:
        notes: in any order. A note shorter than a tick lasts one tick.
        tempo_bpm: quarter notes per minute. The format cannot say less than 3.58; such a
            file has that tempo, and its notes still lie where they belong.
        name: of the track.

    Raises:
        CannotProcess: two notes are further apart than the format can say.
    """
    # What the file can say, so that rounding it moves no note.
    beat_us = round(60e6 / max(tempo_bpm, SLOWEST_BPM))
    per_second = 1e6 / beat_us
    ticks = min(max(_TICKS, round(1 / per_second / _TICK_S)), _MOST_TICKS)
    sheet = Sheet(ticks)
    track = sheet.track(name)
    track.tempo(0, 60e6 / beat_us)
    for note in notes:
        track.note(
            round(note.start * per_second * ticks),
            round(note.end * per_second * ticks),
            channel=note.channel,
            pitch=note.pitch,
            velocity=note.velocity,
        )
    return sheet.midi()
