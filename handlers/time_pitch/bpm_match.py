"""A sound at another tempo, told in beats per minute."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Header, Params, operation
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.listening.rhythm import PULSE
from handlers.units import BeatsPerMinute, Semitones


class BpmMatch(Params):
    """The tempo to come to."""

    target_bpm: BeatsPerMinute = Field(gt=0, description="The tempo of the result.")
    pitch_semitones: Semitones = Field(
        0.0, ge=-120, le=120, description="How much higher; the tempo does not depend on it."
    )


class BpmMatched(Result):
    """The sound, and what its tempo was."""

    sound: Blocks
    source_bpm: Annotated[BeatsPerMinute, Header("X-Source-BPM")]
    target_bpm: Annotated[BeatsPerMinute, Header("X-Target-BPM")]
    tempo_factor: Annotated[float, Header("X-Tempo-Factor")]
    pitch_semitones: Semitones
    tempo_confidence: float


@operation(
    route="/v1/audio/bpm-match",
    category="time-pitch",
    engines=["librosa-analyze", "stretch"],
    hears=(PULSE,),
    passes=2,
    mcp_defaults={"target_bpm": 120.0},
    examples=[
        Example("To the tempo of a set.", target_bpm=124),
        Example("Slower, and a tone lower.", target_bpm=90, pitch_semitones=-2),
    ],
)
def bpm_match(sound: Heard, p: BpmMatch) -> BpmMatched:
    """Stretch a sound to a tempo; its own is detected.

    The pitch stays unless asked otherwise; attacks stay attacks. A tempo that
    drifts still drifts: all of it is stretched by the same factor. Keeps rate
    and channels.

    Raises:
        CannotProcess: no tempo can be detected.
        BadParameter: the result would be longer than 2^31 frames.

    Source: see `handlers.listening.pulse` and `handlers.stretching`.
    """
    from handlers.stretching import stretched

    found = sound[PULSE]
    if found.tempo is None:
        raise CannotProcess(
            f"no tempo can be detected: nothing in these {sound.duration:.3g} s has a pulse",
            hint="stretch takes the factor itself",
        )
    # What is said is what was done: the factor belongs to the tempo as it is reported.
    source = round(found.tempo, 2)
    factor = p.target_bpm / source
    made = stretched(sound.sound, tempo=factor, semitones=p.pitch_semitones)
    return BpmMatched(
        sound=made,
        source_bpm=source,
        target_bpm=p.target_bpm,
        tempo_factor=round(factor, 4),
        pitch_semitones=p.pitch_semitones,
        tempo_confidence=round(found.tempo_confidence, 3),
    )
