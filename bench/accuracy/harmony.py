"""Chords and progressions in a key."""

from __future__ import annotations

import random
from dataclasses import dataclass

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "hdim7": (0, 3, 6, 10),
}

#: Roman numeral to semitones above the tonic, triad, and the seventh chord in its place.
_DEGREES = {
    "major": {
        "I": (0, "maj", "maj7"),
        "ii": (2, "min", "min7"),
        "II": (2, "maj", "7"),
        "iii": (4, "min", "min7"),
        "III": (4, "maj", "7"),
        "IV": (5, "maj", "maj7"),
        "iv": (5, "min", "min7"),
        "V": (7, "maj", "7"),
        "vi": (9, "min", "min7"),
        "VI": (9, "maj", "7"),
        "bVII": (10, "maj", "7"),
    },
    "minor": {
        "i": (0, "min", "min7"),
        "iio": (2, "dim", "hdim7"),
        "III": (3, "maj", "maj7"),
        "iv": (5, "min", "min7"),
        "v": (7, "min", "min7"),
        "V": (7, "maj", "7"),
        "VI": (8, "maj", "maj7"),
        "VII": (10, "maj", "7"),
    },
}
_HOME = {
    "major": (
        "I V vi IV, I vi IV V, I IV V I, I iii IV V, I IV I V, I vi ii V, I ii V I, I V IV I,"
        " I IV vi V, I V/3 vi IV, I IV ii V"
    ),
    "minor": (
        "i VI III VII, i iv V i, i VII VI V, i iv i V, i VI iv V, i iio V i, i v VI VII,"
        " i III iv V, i VI VII i"
    ),
}
_AWAY = {
    "major": (
        "vi IV I V, IV V iii vi, ii V I vi, IV I V vi, vi iii IV V, IV iv I V, bVII IV I V,"
        " ii iii IV V, vi ii V I, IV III vi V, I/3 IV II V, VI ii V I"
    ),
    "minor": (
        "VI VII i i, iv i V i, III VII i VI, iv VII III VI, VI III VII i, iio V i VI,"
        " VI iv i V, III VI iv V"
    ),
}


@dataclass(frozen=True)
class Chord:
    """A chord: pitch class of its root, quality, and what the bass plays above the root."""

    root: int
    quality: str
    bass: int = 0

    @property
    def tones(self) -> tuple[int, ...]:
        """Pitch classes, root first."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])

    @property
    def label(self) -> str:
        """In Harte's syntax."""
        inversion = {0: "", 3: "/b3", 4: "/3", 7: "/5"}[self.bass]
        return f"{NAMES[self.root]}:{self.quality}{inversion}"


def progression(
    rng: random.Random, tonic: int, mode: str, home: bool, sevenths: float, length: int
) -> list[Chord]:
    """`length` chords, a multiple of 4; the second four may turn to another end."""
    known = (_HOME if home else _AWAY)[mode]
    first = rng.choice(known.split(", ")).split()
    numerals: list[str] = []
    for number in range(length // 4):
        four = list(first)
        if number % 2:
            if rng.random() < 0.5:
                four = rng.choice(known.split(", ")).split()
            four[-1] = rng.choice(["V", "I" if mode == "major" else "i", four[-1]])
        numerals += four
    chords = []
    for numeral in numerals:
        name, _, inversion = numeral.partition("/")
        steps, triad, seventh = _DEGREES[mode][name]
        share = max(sevenths, 0.4 if sevenths and name == "V" else 0)
        quality = seventh if rng.random() < share else triad
        bass = QUALITIES[quality][1] if inversion == "3" else 0
        chords.append(Chord((tonic + steps) % 12, quality, bass))
    return chords
