"""Backwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Audio, Blocks, Samples
from handlers.declare import Example, operation


@operation(
    route="/v1/audio/reverse",
    category="editing",
    examples=[Example("A cymbal that swells.")],
    pipeline=True,
    batch=True,
)
def reverse(sound: Audio) -> Blocks:
    """Play a sound backwards, sample by sample.

    Cue points and loops of the source do not come along: they would point elsewhere.
    """

    def backwards() -> Iterator[Samples]:
        for end in range(sound.frames, 0, -BLOCK_FRAMES):
            piece = sound.samples[:, max(end - BLOCK_FRAMES, 0) : end]
            yield np.ascontiguousarray(piece[:, ::-1])

    facts = sound.facts
    if facts:
        facts = replace(facts, metadata=replace(facts.metadata, span=None))
    return Blocks(
        backwards, rate=sound.rate, channels=sound.channels, frames=sound.frames, facts=facts
    )
