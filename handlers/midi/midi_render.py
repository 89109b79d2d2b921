"""From a MIDI file to sound."""

from __future__ import annotations

from typing import Annotated, Literal

from handlers.artifacts import Blocks, Midi, NamedFile, Result
from handlers.declare import Example, operation
from handlers.playing import Playing, played
from handlers.soundfonts import shelf


class MidiRender(Playing):
    """How to play it."""


class Rendered(Result):
    """The sound, and what it was played with."""

    sound: Blocks
    soundfont_path: str | None
    engine: Literal["midi-render"] = "midi-render"


@operation(
    route="/v1/midi/render",
    category="midi",
    engines=("midi-render",),
    examples=[
        Example("As the server's General MIDI font has it."),
        Example("Dry and loud, for a mix at 48 kHz.", gain=1.0, samplerate=48000, reverb_level=0.0),
    ],
)
def midi_render(
    file: Midi,
    fonts: Annotated[list[NamedFile] | None, "The SoundFont that soundfont_path names."],
    p: MidiRender,
) -> Rendered:
    """Play a MIDI file with the instruments of a SoundFont.

    Stereo, from the beginning of the file to its end, and on until what still
    rings is silent. An event is played at the nearest multiple of 64 samples;
    notes that the file leaves on end with it. The same file and font always give
    the same samples. Values beyond full scale are kept: lower the gain, or
    normalize.

    Raises:
        UnreadableInput: the MIDI file or the SoundFont is damaged.
        BadParameter: there is no such SoundFont, or no default one.
        TooLarge: the file lasts longer than twelve hours.
        UnknownEngine: FluidSynth is not installed.

    Source: FluidSynth 2 (SoundFont 2.04, General MIDI, GS and XG banks).
    """
    font = shelf.chosen(p.soundfont_path, fonts)
    return Rendered(sound=played(file, font, p), soundfont_path=p.soundfont_path)
