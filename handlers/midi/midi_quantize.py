"""Notes onto the grid."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from handlers.artifacts import Midi, Result
from handlers.declare import Example, Params, operation
from handlers.units import Beats, Bytes


class MidiQuantize(Params):
    """The grid."""

    grid_beats: Beats = Field(
        0.25,
        gt=0,
        description="Distance of its lines: 0.25 sixteenths, 0.5 eighths, 1 quarters; "
        "0.333 and the like are thirds.",
    )


class Quantised(Result):
    """The file."""

    midi: Midi
    size: Bytes
    engine: Literal["midi-compose"] = "midi-compose"


@operation(
    route="/v1/midi/quantize",
    category="midi",
    engines=("midi-compose",),
    examples=[
        Example("To sixteenths.", grid_beats=0.25),
        Example("To the triplets of eighths.", grid_beats=0.333),
    ],
)
def midi_quantize(file: Midi, p: MidiQuantize) -> Quantised:
    """Move the beginning of each note to the nearest line of a grid, keeping its length.

    All else stays where it is: controllers, texts, tempos, system exclusive
    messages. Three things follow the notes, lest the file say something else
    than before: a note that would now be struck again while it sounds ends
    there; a change of instrument stays between the notes that it stood between;
    a track ends after its last event. What lies on the grid is not touched, so
    doing it twice changes nothing.

    Raises:
        UnreadableInput: the file is no Standard MIDI File, or damaged.
        CannotProcess: it counts SMPTE frames instead of beats.
    """
    from handlers.smf.grid import quantized
    from handlers.smf.reading import read
    from handlers.smf.writing import write

    before = read(file)
    after = quantized(before, p.grid_beats)
    midi = file if after is before else write(after)
    return Quantised(midi=midi, size=len(midi.data))
