"""The chords of a recording, to play along with."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Midi, Result
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.listening.chords import CHORDS, KEY, merged
from handlers.listening.rhythm import PULSE
from handlers.units import BeatsPerMinute, Bytes


class ChordsToMidi(Params):
    """How the chords are to be played."""

    tempo_bpm: BeatsPerMinute | None = Field(
        None, ge=1, le=999, description="Tempo of the file; that of the sound unless given."
    )
    velocity: int = Field(80, ge=1, le=127, description="How hard each key is struck.")
    octave: int = Field(
        4, ge=0, le=8, description="Octave of the roots: 4 has middle C, MIDI note 60."
    )


class ChordFile(Result):
    """The file, and what is in it."""

    midi: Midi
    chord_count: int
    key: str
    tempo_bpm: BeatsPerMinute
    size: Bytes


#: As chords do when no other length is asked for.
_SHORTEST_S = 0.5
#: Where no pulse is heard.
_TEMPO = 120.0


@operation(
    route="/v1/audio/chords-to-midi",
    category="midi",
    engines=["chord-detect"],
    hears=(KEY, CHORDS, PULSE),
    examples=[
        Example("The changes as block chords."),
        Example("An octave lower, softly.", octave=3, velocity=50),
    ],
)
def chords_to_midi(sound: Heard, p: ChordsToMidi) -> ChordFile:
    """Write the chords of a recording as MIDI: root, third and fifth of each.

    Notes lie at the seconds of the recording whatever the tempo of the file.

    Raises:
        CannotProcess: no chords sound here.

    Source: see `handlers.listening.chords`.
    """
    from handlers.midi_files import MidiNote, midi_of

    key = sound[KEY]
    found = sound[CHORDS]
    spans = merged(found, _SHORTEST_S, sevenths=False)
    if key is None or not spans:
        raise CannotProcess("no chords found in this sound")
    tempo = p.tempo_bpm or round(sound[PULSE].tempo or _TEMPO, 3)
    lowest = 12 * (p.octave + 1)
    notes = [
        MidiNote(span.start, span.end, lowest + span.root + step, p.velocity)
        for span in spans
        for step in (0, 3 if span.quality.triad else 4, 7)
    ]
    midi = midi_of(notes, tempo_bpm=tempo, name="Chords")
    return ChordFile(
        midi=midi,
        chord_count=len(spans),
        key=key.name,
        tempo_bpm=tempo,
        size=len(midi.data),
    )
