"""Another key, tempo, grid, or fewer channels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Midi, Result
from handlers.declare import Example, Params, operation
from handlers.units import Beats, BeatsPerMinute, Bytes


def _channels(value: Any) -> Any:
    """Channels from a list, or from text like `0,1,9`."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        return value
    channels: list[int] = []
    for part in parts:
        text = str(part).strip()
        if isinstance(part, bool) or not (text.isascii() and text.isdigit() and int(text) < 16):
            raise ValueError(f"{text or 'nothing'} is no channel; there are 0 to 15")
        channels.append(int(text))
    if not channels:
        raise ValueError("no channel is named")
    return sorted(set(channels))


Channels = Annotated[str | list[int] | None, BeforeValidator(_channels)]


class MidiTransform(Params):
    """What changes."""

    transpose_semitones: int = Field(
        0, ge=-48, le=48, description="Semitones up; all channels but 9, the drums."
    )
    quantize_grid_beats: Beats | None = Field(
        None, gt=0, description="Move each note's start to the nearest line of such a grid."
    )
    tempo_bpm: BeatsPerMinute | None = Field(
        None, ge=1, le=999, description="One tempo instead of all that the file has."
    )
    keep_channels: Channels = Field(
        None, description="Only these channels, 0 to 15, comma separated."
    )
    drop_channels: Channels = Field(
        None, description="All but these channels, 0 to 15, comma separated."
    )

    @model_validator(mode="after")
    def _one_choice_of_channels(self) -> MidiTransform:
        if self.keep_channels is not None and self.drop_channels is not None:
            raise PydanticCustomError(
                "both", "give keep_channels or drop_channels, not both", {"field": "drop_channels"}
            )
        return self


class Transformed(Result):
    """The file."""

    midi: Midi
    size: Bytes
    engine: Literal["midi-compose"] = "midi-compose"


@operation(
    route="/v1/midi/transform",
    category="midi",
    engines=("midi-compose",),
    examples=[
        Example("Up a fourth, a little faster.", transpose_semitones=5, tempo_bpm=126),
        Example(
            "Without drums, on a grid of sixteenths.", drop_channels="9", quantize_grid_beats=0.25
        ),
    ],
)
def midi_transform(file: Midi, p: MidiTransform) -> Transformed:
    """Transpose, quantize, set the tempo, keep or drop channels; all else stays as it is.

    Channels are chosen first: all events of the others go, texts and other meta
    events stay. Transposing moves notes and the pressure of their keys, on all
    channels but 9; what leaves 0 to 127 is dropped. Key signatures are texts to
    it. A tempo stands at the beginning in place of every other. Quantizing is
    that of `midi_quantize`.

    Raises:
        UnreadableInput: the file is no Standard MIDI File, or damaged.
        CannotProcess: it counts SMPTE frames, where no tempo or grid applies.
        BadParameter: the tempo is slower than a MIDI file can say.
    """
    from handlers.smf.changes import at_tempo, on_channels, transposed
    from handlers.smf.grid import quantized
    from handlers.smf.reading import read
    from handlers.smf.writing import write

    before = after = read(file)
    if isinstance(p.keep_channels, list):
        after = on_channels(after, set(p.keep_channels))
    elif isinstance(p.drop_channels, list):
        after = on_channels(after, set(range(16)) - set(p.drop_channels))
    if p.transpose_semitones:
        after = transposed(after, p.transpose_semitones)
    if p.quantize_grid_beats is not None:
        after = quantized(after, p.quantize_grid_beats)
    if p.tempo_bpm is not None:
        after = at_tempo(after, p.tempo_bpm)
    midi = file if after is before else write(after)
    return Transformed(midi=midi, size=len(midi.data))
