"""What bass, accompaniment and lead play over chords, in beats."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from bench.accuracy.harmony import SCALES, Chord


@dataclass(frozen=True)
class Tone:
    """A note in beats."""

    beat: float
    length: float
    pitch: int
    velocity: int
    #: Seconds that it is delayed on top of its place: strummed and rolled chords.
    delay: float = 0.0


@dataclass(frozen=True)
class Meter:
    """Beats of a bar, and the equal parts of a beat that the music moves in."""

    name: str
    beats: int
    division: int


METERS = {"4/4": Meter("4/4", 4, 2), "3/4": Meter("3/4", 3, 2), "6/8": Meter("6/8", 2, 3)}

Span = tuple[float, float, Chord]
"""A chord from one beat to another."""

BASS_STYLES = {
    "pop": ("root", "pump", "fifth", "syncopated"),
    "rock": ("pump", "root", "octaves"),
    "jazz": ("walk",),
    "folk": ("fifth", "root"),
    "electronic": ("pump", "offbeat", "octaves"),
    "classical": ("root", "fifth"),
}
COMP_STYLES = {
    "pop": ("blocks", "arpeggio", "held", "eighths", "stabs"),
    "rock": ("eighths", "blocks", "held"),
    "jazz": ("charleston", "held", "stabs"),
    "folk": ("strum", "arpeggio", "oompah"),
    "electronic": ("stabs", "arpeggio", "held"),
    "classical": ("arpeggio", "alberti", "blocks", "held"),
}


def _near(pitch_class: int, around: int) -> int:
    """The pitch of this class that lies nearest to `around`."""
    return around + (pitch_class - around + 5) % 12 - 5


def bass(rng: random.Random, spans: Sequence[Span], meter: Meter, style: str) -> list[Tone]:
    """A bass line between E1 and G2 or so."""
    made: list[Tone] = []
    eighth = 1 / meter.division
    for number, (start, end, chord) in enumerate(spans):
        root = _near((chord.root + chord.bass) % 12, 36)
        fifth = _near(chord.tones[2], root + 5)
        length = end - start
        if style == "root":
            made.append(Tone(start, length * 0.95, root, 92))
        elif style == "fifth":
            half = max(1.0, length / 2)
            made += [
                Tone(start + i * half, half * 0.85, (root, fifth)[i % 2], 92 - 6 * i)
                for i in range(max(1, round(length / half)))
            ]
        elif style in ("pump", "octaves", "offbeat"):
            for i in range(round(length / eighth)):
                place = start + i * eighth
                on = i % meter.division == 0
                if style == "offbeat" and on:
                    continue
                up = 12 if style == "octaves" and not on else 0
                made.append(Tone(place, eighth * 0.85, root + up, 94 if on else 80))
        elif style == "syncopated":
            places = [0.0, 1.5, 2.5] if length >= 3 and meter.division == 2 else [0.0]
            for here, there in zip(places, [*places[1:], length], strict=True):
                made.append(Tone(start + here, (there - here) * 0.9, root, 94))
        else:  # walk
            following = spans[(number + 1) % len(spans)][2]
            for i in range(round(length)):
                pitch = root if i == 0 else _near(rng.choice(chord.tones), root + 4)
                if i == round(length) - 1 and i > 0:
                    pitch = _near(following.root, root) + rng.choice([-1, 1, -2, 2])
                made.append(Tone(start + i, 0.9, pitch, 88 + rng.randint(-6, 6)))
    return made


def _voicings(spans: Sequence[Span], center: int) -> list[list[int]]:
    """Close chords, each as near as can be to the one before."""
    made: list[list[int]] = []
    middle = float(center)
    for _, _, chord in spans:
        best: list[int] = []
        for turn in range(len(chord.tones)):
            tones = [*chord.tones[turn:], *chord.tones[:turn]]
            pitches = [_near(tones[0], round(middle) - 5)]
            for tone in tones[1:]:
                pitches.append(pitches[-1] + (tone - pitches[-1]) % 12)
            if not best or abs(sum(pitches) / len(pitches) - middle) < abs(
                sum(best) / len(best) - middle
            ):
                best = pitches
        made.append(best)
        middle = 0.5 * center + 0.5 * sum(best) / len(best)
    return made


def comp(
    rng: random.Random, spans: Sequence[Span], meter: Meter, style: str, center: int, bpm: float
) -> list[Tone]:
    """Chords in one of many manners."""
    made: list[Tone] = []
    eighth = 1 / meter.division
    # Slow music fills its beats with smaller notes.
    small = eighth / 2 if bpm < 85 and meter.division == 2 else eighth

    def chord_at(
        place: float, length: float, pitches: Sequence[int], velocity: int, roll: float = 0.0
    ) -> None:
        for i, pitch in enumerate(pitches):
            made.append(Tone(place, length, pitch, velocity + rng.randint(-5, 5), i * roll))

    for (start, end, _), pitches in zip(spans, _voicings(spans, center), strict=True):
        length = end - start
        steps = round(length / small)
        if style == "held":
            chord_at(start, length * 0.97, pitches, 78)
        elif style == "blocks":
            for i in range(round(length)):
                chord_at(start + i, 0.8, pitches, 86 if i == 0 else 74)
        elif style == "eighths":
            for i in range(round(length / eighth)):
                chord_at(
                    start + i * eighth, eighth * 0.8, pitches, 66 if i % meter.division else 82
                )
        elif style == "stabs":
            places = [0.0, 1.5, 2.5] if meter.division == 2 else [0.0, 2 / 3, 1.0]
            for place in (p for p in places if p < length):
                chord_at(start + place, 0.4, pitches, 84)
        elif style == "charleston":
            for place in (
                p for p in rng.choice([(0.0, 1.5), (0.5, 2.0), (1.5, 3.5)]) if p < length
            ):
                chord_at(start + place, rng.choice([0.4, 0.9]), pitches[1:] or pitches, 76)
        elif style == "strum":
            for i in range(round(length / eighth)):
                if i % meter.division == 0 or rng.random() < 0.7:
                    down = i % meter.division == 0
                    order = pitches if down else pitches[::-1][:3]
                    chord_at(start + i * eighth, eighth * 0.95, order, 82 if down else 64, 0.011)
        elif style == "oompah":
            made.append(Tone(start, 0.9, pitches[0] - 12, 86))
            for i in range(1, round(length)):
                chord_at(start + i, 0.6, pitches, 74)
        else:  # arpeggio, alberti
            order = [*pitches, *pitches[-2:0:-1]]
            if style == "alberti":
                order = [pitches[0], pitches[-1], pitches[1], pitches[-1]]
            for i in range(steps):
                velocity = 84 if i == 0 else 76 if i * small % 1 < 1e-6 else 66
                made.append(Tone(start + i * small, small * 1.6, order[i % len(order)], velocity))
    return made


def pad(spans: Sequence[Span], center: int) -> list[Tone]:
    """Held chords that keep common tones where they are."""
    return [
        Tone(start, (end - start) * 0.99, pitch, 64)
        for (start, end, _), pitches in zip(spans, _voicings(spans, center), strict=True)
        for pitch in pitches
    ]


#: Two beats of rhythm (4/4, 3/4), one beat (6/8): lengths; negative ones are rests.
_CELLS = {
    "slow": ((1, 0.5, 0.5), (0.5, 0.5, 1), (1.5, 0.5), (0.5, 0.25, 0.25, 1), (0.75, 0.25, 1),
             (0.5, 1, 0.5), (-0.5, 0.5, 0.5, 0.5)),
    "middle": ((1, 1), (1, 0.5, 0.5), (1.5, 0.5), (0.5, 0.5, 1), (0.5, 1, 0.5), (2,),
               (-0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)),
    "fast": ((1, 1), (2,), (1.5, 0.5), (1, 0.5, 0.5), (-1, 1), (0.5, 0.5, 1)),
    "single": ((1,), (0.5, 0.5)),
    "compound": ((2 / 3, 1 / 3), (1,), (1 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3),
                 (-1 / 3, 1 / 3, 1 / 3)),
}  # fmt: skip


def _rhythm(rng: random.Random, meter: Meter, bpm: float) -> list[tuple[float, float]]:
    """One bar: place and length of each note."""
    cells: list[float] = []
    if meter.division == 3:
        for _ in range(meter.beats):
            cells += rng.choice(_CELLS["compound"])
    else:
        speed = "slow" if bpm < 85 else "middle" if bpm < 135 else "fast"
        left = meter.beats
        while left:
            cells += rng.choice(_CELLS[speed] if left >= 2 else _CELLS["single"])
            left -= min(2, left)
    places, at = [], 0.0
    for length in cells:
        if length > 0:
            places.append((at, length))
        at += abs(length)
    return places


def lead(
    rng: random.Random,
    spans: Sequence[Span],
    meter: Meter,
    bpm: float,
    key: tuple[int, str],
    center: int,
    bars: int,
) -> list[Tone]:
    """A tune of `bars` bars: a rhythm that returns, steps, chord tones where it counts."""
    tonic, mode = key
    motif = [_rhythm(rng, meter, bpm) for _ in range(2)]
    made: list[Tone] = []
    pitch = center + rng.randint(-3, 3)
    articulation = rng.choice([0.97, 0.92, 0.85, 0.7])
    start, end = spans[0][0], spans[-1][1]
    for bar in range(bars):
        rhythm = motif[bar % 2]
        if bar % 4 == 3:
            # A phrase ends on something long and breathes.
            rhythm = [(0.0, meter.beats * rng.choice([0.6, 0.75]))]
        elif rng.random() < 0.2:
            rhythm = _rhythm(rng, meter, bpm)
        for place, length in rhythm:
            at = start + bar * meter.beats + place
            if at >= end - 1e-6:
                continue
            chord = next(c for s, e, c in spans if s - 1e-6 <= at < e - 1e-6)
            scale = {(tonic + step) % 12 for step in SCALES[mode]}
            # The chord's own tones stand in for their neighbours (the leading tone in minor).
            scale = {t for t in scale if all((t - c) % 12 not in (1, 11) for c in chord.tones)}
            scale |= set(chord.tones)
            strong = place == 0 or length >= 1
            wish = pitch + rng.choice([-4, -3, -2, -2, -1, 1, 2, 2, 3, 4, 5, -5])
            wish += round((center - wish) / 6)
            allowed = set(chord.tones) if strong and rng.random() < 0.85 else scale
            options = [p for p in range(center - 11, center + 12) if p % 12 in allowed]
            pitch = min(options, key=lambda p: (abs(p - wish), p == pitch))
            velocity = 98 if place == 0 else 88
            made.append(Tone(at, length * articulation, pitch, velocity + rng.randint(-6, 6)))
    return made
