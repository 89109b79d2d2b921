"""From a sound to the notes in it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from handlers.artifacts import Blocks, Midi, Result
from handlers.declare import Example, Params, operation
from handlers.engines.shelf import Lent
from handlers.notation import written
from handlers.transcription import HOP, RATE, Ear, Taste, heard_notes
from handlers.units import Hertz, Milliseconds

_ENGINES = ("basic-pitch",)


class ToMidi(Params):
    """What counts as a note."""

    engine: str = Field(
        description="The model that listens.", json_schema_extra={"enum": list(_ENGINES)}
    )
    onset_threshold: float = Field(
        0.5, ge=0, le=1, description="How sure the beginning of a note must be: less finds more."
    )
    frame_threshold: float = Field(
        0.3, ge=0, le=1, description="How sure it must be that a note sounds: less makes it longer."
    )
    minimum_note_length_ms: Milliseconds = Field(
        58.0, ge=0, description="Notes up to this length are left out."
    )
    minimum_frequency: Hertz | None = Field(None, gt=0, description="Leave out notes below this.")
    maximum_frequency: Hertz | None = Field(None, gt=0, description="Leave out notes above this.")
    multiple_pitch_bends: bool = Field(
        False,
        description="Bend notes that sound together, each on a channel of its own; "
        "otherwise only notes that sound alone are bent.",
    )
    melodia_trick: bool = Field(
        True, description="Also find notes whose beginning cannot be heard."
    )

    @model_validator(mode="after")
    def _leaves_a_band(self) -> ToMidi:
        low, high = self.minimum_frequency, self.maximum_frequency
        if low is not None and high is not None and low >= high:
            raise ValueError(
                f"minimum_frequency = {low} Hz must be below maximum_frequency = {high} Hz"
            )
        return self


class Transcribed(Result):
    """The file."""

    midi: Midi
    engine: str
    notes: int = Field(description="How many notes it holds.")
    output_format: Literal["mid"] = "mid"


@operation(
    route="/v1/audio/to_midi/{engine}",
    category="midi",
    tool="audio_to_midi",
    engines=_ENGINES,
    examples=[
        Example("Everything that sounds.", engine="basic-pitch"),
        Example(
            "A bass, with its slides.",
            engine="basic-pitch",
            minimum_frequency=30.0,
            maximum_frequency=400.0,
            multiple_pitch_bends=True,
        ),
    ],
)
def to_midi(sound: Blocks, model: Lent[Ear], p: ToMidi) -> Transcribed:
    """Write down the notes of a sound, however many at a time, with pitch bends.

    For any instrument, one at a time best; drums and noise are no notes. Channels
    are mixed. Times are those of the sound; velocity says how sure the model is.
    The file has 480 ticks per beat at 120 BPM, whatever the tempo of the music.

    Raises:
        WeightsMissing: the model is not installed.

    Source: basic-pitch 0.4 (R. M. Bittner and others, ICASSP 2022): its model, and its
    notes to the frame; without the 33 cents that its bends are sharp, and with the last
    0.7 % of the sound, which it leaves out.
    """
    # No kernel counts further.
    shortest = min(p.minimum_note_length_ms / 1000 * (RATE / HOP), 2.0**62)
    taste = Taste(
        onset=p.onset_threshold,
        frame=p.frame_threshold,
        shortest=round(shortest),
        lowest=p.minimum_frequency,
        highest=p.maximum_frequency,
        rest=p.melodia_trick,
    )
    notes = heard_notes(sound, taste, model=model)
    midi = written(notes, together=p.multiple_pitch_bends)
    return Transcribed(midi=midi, engine=p.engine, notes=len(notes))
