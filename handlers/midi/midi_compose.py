"""From a song as data to a MIDI file."""

from __future__ import annotations

from typing import Literal

from handlers.artifacts import Midi, Result
from handlers.declare import Example, operation
from handlers.song import Song, written
from handlers.units import Bytes


class MidiCompose(Song):
    """The song."""


class Composed(Result):
    """The file."""

    midi: Midi
    size: Bytes
    engine: Literal["midi-compose"] = "midi-compose"


@operation(
    route="/v1/midi/compose",
    category="midi",
    engines=("midi-compose",),
    examples=[
        Example(
            "A bar of piano over a bass drum.",
            tracks=[
                {
                    "name": "Piano",
                    "notes": [
                        {"pitch": 60, "start_beats": 0, "duration_beats": 1},
                        {"pitch": 64, "start_beats": 1, "duration_beats": 1},
                        {"pitch": 67, "start_beats": 2, "duration_beats": 2, "velocity": 80},
                    ],
                },
                {
                    "name": "Drums",
                    "channel": 9,
                    "notes": [
                        {"pitch": 36, "start_beats": beat, "duration_beats": 0.25}
                        for beat in range(4)
                    ],
                },
            ],
        ),
        Example(
            "Two tempos, a marker, and a held note that swells.",
            name="Swell",
            tempo_bpm=72,
            time_signature=[3, 4],
            key_signature="F#m",
            tempo_changes=[{"start_beats": 6, "tempo_bpm": 96}],
            markers=[{"start_beats": 6, "text": "Faster"}],
            tracks=[
                {
                    "program": 48,
                    "notes": [{"pitch": 54, "duration_beats": 12}],
                    "controllers": [
                        {"controller": 11, "start_beats": beat, "value": 40 + 7 * beat}
                        for beat in range(12)
                    ],
                }
            ],
        ),
    ],
)
def midi_compose(p: MidiCompose) -> Composed:
    """Write a MIDI file from a song as JSON: tracks, notes, tempos, controllers, texts.

    The file is of type 1 and begins with the conductor's track: title, tempos,
    time and key signatures, markers. Texts are UTF-8. Times are rounded to the
    nearest tick; no note is shorter than one.
    """
    midi = written(p)
    return Composed(midi=midi, size=len(midi.data))
