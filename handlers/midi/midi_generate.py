"""From a song as data to sound."""

from __future__ import annotations

from typing import Annotated, Literal

from handlers.artifacts import Blocks, NamedFile, Result
from handlers.declare import Example, operation
from handlers.playing import Playing, played
from handlers.song import Song, written
from handlers.soundfonts import shelf
from handlers.units import Bytes


class MidiGenerate(Song, Playing):
    """The song, and how to play it."""


class Generated(Result):
    """The sound, and the size of the MIDI file that it was played from."""

    sound: Blocks
    midi_size: Bytes
    engine: Literal["midi-generate"] = "midi-generate"


@operation(
    route="/v1/midi/generate",
    category="midi",
    engines=("midi-compose", "midi-render"),
    examples=[
        Example(
            "A bar of piano over a bass drum.",
            tempo_bpm=240,
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
    ],
)
def midi_generate(
    fonts: Annotated[list[NamedFile] | None, "The SoundFont that soundfont_path names."],
    p: MidiGenerate,
) -> Generated:
    """Write a song as JSON (see midi_compose) and play it at once (see midi_render).

    Raises:
        BadParameter: there is no such SoundFont, or no default one.
        UnreadableInput: the SoundFont is damaged.
        TooLarge: the song lasts longer than twelve hours.
        UnknownEngine: FluidSynth is not installed.
    """
    midi = written(p)
    font = shelf.chosen(p.soundfont_path, fonts)
    return Generated(sound=played(midi, font, p), midi_size=len(midi.data))
