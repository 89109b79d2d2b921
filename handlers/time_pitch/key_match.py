"""Transposition into another key."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.listening.chords import KEY
from handlers.listening.notes import NAMES
from handlers.units import Semitones

_FLATS = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
ROOTS = (*NAMES, *_FLATS)
"""How roots may be spelt."""
_KEY = re.compile(r"([a-g][#b]?)\s*(?:major|minor|maj|min|m)?", re.IGNORECASE)


class KeyMatch(Params):
    """Where to go."""

    target_key: str = Field(
        description="Root of the new key (C, F#, Bb, ...); a mode after it is not looked at: a "
        "minor piece stays minor.",
    )

    @field_validator("target_key")
    @classmethod
    def _has_a_root(cls, text: str) -> str:
        pitch_class(text)
        return text


def pitch_class(text: str) -> int:
    """The root of a key as people write it, C is 0.

    Raises:
        ValueError: it is none.
    """
    found = _KEY.fullmatch(text.strip())
    root = found[1].capitalize() if found else ""
    if root not in ROOTS:
        raise ValueError(f"no key root; there are: {', '.join(ROOTS)}")
    return NAMES.index(_FLATS.get(root, root))


class KeyMatched(Result):
    """The sound in its new key."""

    sound: Blocks
    source_key: str
    source_key_confidence: float
    semitones: int = Field(json_schema_extra={"unit": "semitones"})


@operation(
    route="/v1/audio/key-match",
    category="time-pitch",
    engines=["chord-detect", "stretch"],
    hears=(KEY,),
    passes=2,
    mcp_defaults={"target_key": "C"},
    examples=[Example("Bring a loop into the key of a song.", target_key="F#m")],
)
def key_match(sound: Heard, p: KeyMatch) -> KeyMatched:
    """Detect the key and transpose the shortest way to another root.

    At most six semitones up or five down. Keeps duration, rate, channels and mode.

    Raises:
        CannotProcess: silence has no key.

    Source: see `handlers.listening.chords` and `handlers.stretching`.
    """
    from handlers.stretching import stretched

    key = sound[KEY]
    if key is None:
        raise CannotProcess("nothing sounds here, so there is no key to go from")
    up = (pitch_class(p.target_key) - key.tonic) % 12
    semitones: Semitones = up if up <= 6 else up - 12
    return KeyMatched(
        sound=stretched(sound.sound, semitones=semitones),
        source_key=key.name,
        source_key_confidence=round(key.confidence, 3),
        semitones=int(semitones),
    )
