<<<<<<< HEAD
"""MIDI files from notes that lie in wall-clock time: what was heard, not what was composed."""

from __future__ import annotations

=======
"""Standard MIDI Files from lists of notes."""

from __future__ import annotations

import io
>>>>>>> tonal
from collections.abc import Iterable
from dataclasses import dataclass

from handlers.artifacts import Midi
<<<<<<< HEAD
from handlers.smf.making import SLOWEST_BPM, Sheet
from handlers.units import BeatsPerMinute, Seconds

#: Ticks per quarter note of a file: at usual tempos a tick is about a millisecond.
_TICKS, _MOST_TICKS = 480, 2**15 - 1
#: A tick is never longer than this, however slow the tempo.
_TICK_S = 0.002
=======
from handlers.units import Seconds

#: Ticks per quarter note of a file: at usual tempos a tick is about a millisecond.
TICKS = 480
#: A file counts ticks per quarter in 15 bits, and microseconds per quarter in 24.
_MOST_TICKS, _MOST_MICROSECONDS = 2**15 - 1, 2**24 - 1
#: A tick is never longer than this, however slow the tempo, as long as the format allows it.
_TICK_S = 0.001
>>>>>>> tonal


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


<<<<<<< HEAD
def midi_of(notes: Iterable[MidiNote], *, tempo_bpm: BeatsPerMinute, name: str = "") -> Midi:
=======
def midi_of(notes: Iterable[MidiNote], *, tempo_bpm: float, name: str = "") -> Midi:
>>>>>>> tonal
    """A file with a single track, in which each note lies where its seconds say.

    Args:
        notes: in any order. A note shorter than a tick lasts one tick.
        tempo_bpm: quarter notes per minute. The format cannot say less than 3.58; such a
            file has that tempo, and its notes still lie where they belong.
        name: of the track.
<<<<<<< HEAD

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
=======
    """
    import mido

    quarter_us = min(round(60e6 / tempo_bpm), _MOST_MICROSECONDS)
    quarter_s = quarter_us / 1e6
    ticks = min(max(TICKS, round(quarter_s / _TICK_S)), _MOST_TICKS)
    # Where a note ends and the same begins, the end comes first.
    events: list[tuple[int, int, mido.Message]] = []
    for note in notes:
        start = round(note.start / quarter_s * ticks)
        end = max(start + 1, round(note.end / quarter_s * ticks))
        about = {"channel": note.channel, "note": note.pitch}
        events.append((start, 1, mido.Message("note_on", velocity=note.velocity, **about)))
        events.append((end, 0, mido.Message("note_off", velocity=64, **about)))
    events.sort(key=lambda event: (event[0], event[1], event[2].note))
    track = mido.MidiTrack()
    if name:
        track.append(mido.MetaMessage("track_name", name=name))
    track.append(mido.MetaMessage("set_tempo", tempo=quarter_us))
    now = 0
    for at, _, message in events:
        track.append(message.copy(time=at - now))
        now = at
    track.append(mido.MetaMessage("end_of_track"))
    held = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=ticks, tracks=[track]).save(file=held)
    return Midi(held.getvalue())
>>>>>>> tonal
