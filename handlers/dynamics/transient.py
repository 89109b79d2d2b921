"""Transient shaper."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.streams import surrounded
from handlers.units import Decibels


class Transient(Params):
    """How much to add or take away, and where."""

    attack_gain_db: Decibels = Field(
        0.0,
        ge=-40,
        le=40,
        description="Gain of the first moments of each hit: positive is punchier, negative softer.",
    )
    sustain_gain_db: Decibels = Field(
        0.0,
        ge=-40,
        le=40,
        description="Gain of what follows a hit: positive brings the room up, negative cuts tails.",
    )


@operation(
    route="/v1/audio/transient",
    category="dynamics",
    tool="transient_shaper",
    examples=[
        Example("Punchy drums in a dry room.", attack_gain_db=6, sustain_gain_db=-4),
        Example("A softer attack.", attack_gain_db=-6),
    ],
    pipeline=True,
)
def transient(sound: Blocks, p: Transient) -> Blocks:
    """Make attacks sharper or softer, and tails longer or shorter.

    Works on how the level changes, not on how high it is, so it needs no
    threshold; a steady tone passes unchanged, and with both gains 0 every
    sample does. All channels move together. Keeps rate, channels and length.

    Source: see `handlers.kernels.dynamics`.
    """
    if not (p.attack_gain_db or p.sustain_gain_db):
        return sound

    def shaped() -> Iterator[Samples]:
        from handlers.artifacts import BLOCK_FRAMES
        from handlers.kernels.dynamics import TransientShaper

        shaper = TransientShaper(sound.rate, p.attack_gain_db, p.sustain_gain_db)
        ahead = round(shaper.AHEAD_MS * sound.rate / 1000)
        started = False
        for window, count in surrounded(sound, BLOCK_FRAMES, 0, ahead):
            if not started:
                shaper.gains(np.ascontiguousarray(window[:, :ahead]))
                started = True
            coming = np.ascontiguousarray(window[:, ahead : ahead + count])
            yield window[:, :count] * shaper.gains(coming)

    return sound.like(shaped)
