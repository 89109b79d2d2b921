"""Which pieces there are: spread evenly over keys, metres, tempos, feels; a third held out."""

from __future__ import annotations

import random

from bench.accuracy.compose import Spec

KEYS = 24
#: Rounds through all keys; the last one is held out.
_ROUNDS = ("tuning", "tuning", "final")
_STYLES = ("pop", "rock", "jazz", "folk", "electronic", "classical")
_DRIFTS = ("steady", "human", "steady", "wander", "human", "rubato", "human", "gliding")
#: Beats per minute: 6/8 counts dotted quarters.
_TEMPOS = {"4/4": (60, 190), "3/4": (80, 190), "6/8": (60, 130)}


def specs() -> list[Spec]:
    """All pieces of music: every round has every key once and the same mix of the rest."""
    made = []
    for number, split in enumerate(_ROUNDS):
        rng = random.Random(f"audiolla accuracy {number}")
        meters = ["4/4"] * 14 + ["3/4"] * 5 + ["6/8"] * 5
        rng.shuffle(meters)
        styles = list(_STYLES) * 4
        rng.shuffle(styles)
        drifts = list(_DRIFTS) * 3
        rng.shuffle(drifts)
        # Tempo: an even ladder for each metre, in random order.
        ladders = {}
        for meter, (low, high) in _TEMPOS.items():
            count = meters.count(meter)
            rungs = [low + (high - low) * (i + rng.random()) / count for i in range(count)]
            rng.shuffle(rungs)
            ladders[meter] = rungs
        keys = [(tonic, mode) for tonic in range(12) for mode in ("major", "minor")]
        rng.shuffle(keys)
        drummed = 0
        for index, ((tonic, mode), meter, style, drift) in enumerate(
            zip(keys, meters, styles, drifts, strict=True)
        ):
            bpm = ladders[meter].pop()
            drums = style in ("rock", "electronic") or (style != "classical" and drummed % 2 == 0)
            drummed += style in ("pop", "jazz", "folk")
            swing = 0.5
            if meter != "6/8" and style == "jazz":
                swing = rng.uniform(0.6, 0.667) if bpm < 170 else 0.58
            elif meter != "6/8" and style in ("pop", "folk") and rng.random() < 0.3:
                swing = rng.choice([0.56, 0.62, 2 / 3])
            if style == "electronic":
                drift = "steady" if drift != "gliding" else drift  # noqa: PLW2901
            made.append(
                Spec(
                    name=f"{number}{index:02d}-{style}",
                    split=split,
                    seed=1000 * (number + 1) + index,
                    tonic=tonic,
                    mode=mode,
                    meter=meter,
                    bpm=bpm,
                    style=style,
                    drums=drums,
                    swing=swing,
                    drift=drift,
                )
            )
    return made
