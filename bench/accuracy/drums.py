"""Drum patterns: what is hit at which place of a bar, how hard."""

from __future__ import annotations

import random

KICK, SIDE, SNARE, CLAP = 36, 37, 38, 39
CLOSED, PEDAL, OPEN, CRASH, RIDE, SHAKER, TAMBOURINE = 42, 44, 46, 49, 51, 70, 54
_TOMS = (50, 47, 45, 41)

Hit = tuple[float, int, int]
"""Place in the bar (beats), drum, velocity."""


def pattern(rng: random.Random, meter: str, style: str, bpm: float, busy: bool) -> list[Hit]:
    """One bar of a groove that suits metre, style and tempo."""
    if meter == "3/4":
        return _three(rng, style, bpm, busy)
    if meter == "6/8":
        return _six(rng, busy)
    if style == "jazz":
        return _swing(rng, bpm)
    if style == "electronic":
        return _floor(rng, bpm, busy)
    return _four(rng, bpm, busy)


def fill(rng: random.Random, beats: int, division: int) -> list[Hit]:
    """The last beat or two of a bar before something new."""
    length = rng.choice([1, 2]) if beats > 2 else 1
    step = 1 / division / (2 if division == 2 and rng.random() < 0.5 else 1)
    count = round(length / step)
    hits = []
    for i in range(count):
        drum = SNARE if rng.random() < 0.4 else _TOMS[min(3, 4 * i // count)]
        hits.append((beats - length + i * step, drum, 70 + 40 * i // count))
    return hits


def _hats(rng: random.Random, beats: int, step: float, drum: int) -> list[Hit]:
    hits = []
    for i in range(round(beats / step)):
        place = i * step
        on_beat = abs(place - round(place)) < 1e-6
        hits.append((place, drum, (84 if on_beat else 62) + rng.randint(-4, 4)))
    return hits


_KICKS: tuple[tuple[float, ...], ...] = (
    (0, 2), (0, 2, 2.5), (0, 1.5, 2), (0, 2.5), (0, 0.5, 2), (0, 1.5, 2.5), (0, 2, 3.5)
)  # fmt: skip
_FAST_KICKS: tuple[tuple[float, ...], ...] = ((0, 2), (0, 2, 3), (0, 1.5, 2), (0, 2, 2.5))


def _four(rng: random.Random, bpm: float, busy: bool) -> list[Hit]:
    step = 0.25 if busy and bpm < 105 else 1.0 if bpm > 165 else 0.5
    drum = RIDE if busy and rng.random() < 0.5 else CLOSED
    hits = _hats(rng, 4, step, drum)
    kicks = rng.choice(_FAST_KICKS if bpm > 150 else _KICKS)
    hits += [(k, KICK, 104 if k == 0 else 94) for k in kicks]
    snare = SIDE if not busy and rng.random() < 0.3 else SNARE
    hits += [(1, snare, 100), (3, snare, 102)]
    if busy and bpm < 120:
        hits += [(p, SNARE, 36) for p in rng.sample([0.75, 1.75, 2.25, 3.75], 2)]
    if busy and rng.random() < 0.3:
        hits.append((3.5, OPEN, 80))
    return hits


def _floor(rng: random.Random, bpm: float, busy: bool) -> list[Hit]:
    hits = [(float(b), KICK, 108) for b in range(4)]
    hits += [(b + 0.5, OPEN if rng.random() < 0.9 else CLOSED, 84) for b in range(4)]
    hits += [(1, CLAP, 92), (3, CLAP, 92)]
    if busy and bpm < 135:
        hits += [(q + h, CLOSED, 52) for q in range(4) for h in (0.25, 0.75)]
    return hits


def _swing(rng: random.Random, bpm: float) -> list[Hit]:
    hits: list[Hit] = [(float(b), RIDE, 88 if b % 2 else 78) for b in range(4)]
    hits += [(1.5, RIDE, 66), (3.5, RIDE, 66), (1, PEDAL, 76), (3, PEDAL, 76)]
    hits += [(0, KICK, 62), (2, KICK, 54)] if bpm < 170 else [(0, KICK, 58)]
    hits += [(p, SNARE, 44) for p in rng.sample([0.5, 1.5, 2.5, 3.5], 1)]
    return hits


def _three(rng: random.Random, style: str, bpm: float, busy: bool) -> list[Hit]:
    if style == "jazz":
        hits: list[Hit] = [(0, RIDE, 84), (1, RIDE, 80), (1.5, RIDE, 64), (2, RIDE, 80)]
        return [*hits, (1, PEDAL, 72), (2, PEDAL, 66), (0, KICK, 70)]
    hits = [(0, KICK, 104), *_hats(rng, 3, 0.5 if bpm < 150 else 1, CLOSED)]
    hits += [(1, SNARE, 84), (2, SNARE, 92)] if busy else [(1, SIDE, 80), (2, SIDE, 80)]
    if busy and rng.random() < 0.4:
        hits.append((1.5, KICK, 74))
    return hits


def _six(rng: random.Random, busy: bool) -> list[Hit]:
    hits = _hats(rng, 2, 1 / 3, CLOSED if not busy or rng.random() < 0.5 else RIDE)
    hits += [(0, KICK, 106), (1, SNARE if busy else SIDE, 98)]
    extra: tuple[float, ...] = rng.choice([(), (2 / 3,), (5 / 3,), (2 / 3, 5 / 3)])
    hits += [(p, KICK, 84) for p in extra]
    return hits
