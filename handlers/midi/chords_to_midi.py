"""The chords of a recording, to play along with."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Midi, Result
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.listening.chords import CHORDS, KEY, merged
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
