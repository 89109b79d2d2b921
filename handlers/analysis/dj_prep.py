"""What a DJ wants to know before mixing."""

from __future__ import annotations

from handlers.artifacts import Result
from handlers.declare import Example, operation
from handlers.hearing import Heard
from handlers.listening.chords import KEY
from handlers.listening.levels import INTEGRATED
from handlers.listening.rhythm import PULSE
from handlers.units import BeatsPerMinute, Decibels, LoudnessUnitsFS, Seconds

#: What club players are usually set up for.
_REFERENCE_LUFS = -14.0


class DjPrep(Result):
    """Tempo, key and loudness; None where the sound has none."""

    bpm: BeatsPerMinute | None
    bpm_confidence: float
    key: str | None
    key_confidence: float
    camelot: str | None
    mixes_with: list[str]
    integrated_lufs: LoudnessUnitsFS | None
    gain_to_minus_14_lufs: Decibels | None
    energy: int | None
    beats: int
    beats_per_bar: int | None
    first_downbeat_sec: Seconds | None
    duration: Seconds


@operation(
    route="/v1/audio/dj-prep",
    category="analysis",
    engines=["librosa-analyze", "chord-detect"],
    hears=(PULSE, KEY, INTEGRATED),
    examples=[Example("Tempo, key and loudness of a track.")],
)
def dj_prep(sound: Heard) -> DjPrep:
    """Tell tempo, key (also as Camelot code) and loudness, as a DJ needs them.

    `mixes_with` are the Camelot codes that share all or all but one tone with the key.
    `energy` goes from 1 to 10 by loudness and by beats per second.

    Source: see `handlers.listening`; Camelot wheel by M. Davis, "Harmonic mixing".
    """
    pulse, key, lufs = sound[PULSE], sound[KEY], sound[INTEGRATED]
    downbeats = pulse.downbeats
    return DjPrep(
        bpm=None if pulse.tempo is None else round(pulse.tempo, 2),
        bpm_confidence=round(pulse.tempo_confidence, 3),
        key=key.name if key else None,
        key_confidence=round(key.confidence, 3) if key else 0.0,
        camelot=key.camelot if key else None,
        mixes_with=key.neighbours if key else [],
        integrated_lufs=None if lufs is None else round(lufs, 2),
        gain_to_minus_14_lufs=None if lufs is None else round(_REFERENCE_LUFS - lufs, 2),
        energy=_energy(lufs, pulse.tempo),
        beats=len(pulse.beats),
        beats_per_bar=None if pulse.tempo is None else pulse.beats_per_bar,
        first_downbeat_sec=round(float(downbeats[0]), 6) if len(downbeats) else None,
        duration=sound.duration,
    )


def _energy(lufs: float | None, tempo: float | None) -> int | None:
    """1 to 10: from -30 to -6 LUFS, with a point more or less for a fast or slow pulse."""
    if lufs is None:
        return None
    points = 1 + 9 * (lufs + 30) / 24
    if tempo is not None:
        points += 1 if tempo >= 140 else -1 if tempo < 90 else 0
    return round(min(10.0, max(1.0, points)))
