"""Pitch correction, note by note."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.hearing import Heard
from handlers.listening.melody import tones
from handlers.listening.pitch import single


class PitchCorrect(Params):
    """How much of a wrong pitch to put right."""

    strength: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of each note's distance to the nearest semitone that is taken away: "
        "0 leaves the sound as it is, 1 puts every note on its semitone.",
    )


class PitchCorrected(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    strength: float
    notes_moved: int


@operation(
    route="/v1/audio/pitch-correct",
    category="time-pitch",
    engines=["librosa-analyze"],
    hears=(single(),),
    passes=2,
    pipeline=True,
    examples=[
        Example("Put a singer on the notes."),
        Example("Half way, so that nobody notices.", strength=0.5),
    ],
)
def pitch_correct(sound: Heard, p: PitchCorrect) -> PitchCorrected:
    """Put each note of a voice or single instrument on the nearest semitone of A = 440 Hz.

    Every note is moved as a whole: vibrato, glides and formants stay, and what has
    no clear pitch (consonants, breath, chords, drums) is not touched. Keeps rate,
    channels and length; at strength 0 the samples are the same.

    Source: see `handlers.listening.pitch` and `handlers.retuning`.
    """
    from handlers.retuning import clear, retuned

    if p.strength == 0:
        return PitchCorrected(sound=sound.sound, strength=0.0, notes_moved=0)
    found = sound[single()]
    notes = clear(found, tones(found))
    return PitchCorrected(
        sound=retuned(sound.sound, found, notes, p.strength),
        strength=p.strength,
        notes_moved=sum(round(note.exact) != note.exact for note in notes),
    )
