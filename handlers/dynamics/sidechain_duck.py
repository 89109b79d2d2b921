"""Sidechain duck: one sound steps back while another is loud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.streams import Feed
from handlers.units import DecibelsFS, Milliseconds


class SidechainDuck(Params):
    """From what level of the trigger on, how far and how fast."""

    threshold_db: DecibelsFS = Field(
        -20.0, le=0, description="Peak level of the trigger where ducking starts."
    )
    ratio: float = Field(
        4.0,
        ge=1,
        description="How hard: x dB above the threshold cost x (1 - 1/ratio) dB; 1 does nothing.",
    )
    attack_ms: Milliseconds = Field(10.0, gt=0, le=10_000, description="Time to step back.")
    release_ms: Milliseconds = Field(
        200.0, gt=0, le=60_000, description="Time to come forward again."
    )


@operation(
    route="/v1/audio/sidechain-duck",
    category="dynamics",
    examples=[Example("A music bed under a host.", threshold_db=-30, ratio=8, release_ms=400)],
)
def sidechain_duck(
    sound: Blocks,
    trigger_file: Annotated[Blocks, "What the sound steps back for; silent after its end."],
    p: SidechainDuck,
) -> Blocks:
    """Turn a sound down while another one is loud.

    The trigger is heard in mono, at the rate of the sound, and every channel
    moves together, so the stereo image stays. Keeps the rate, channels and
    length of the sound, whatever those of the trigger.

    Source: see `handlers.kernels.dynamics`.
    """
    from handlers.codecs.channels import remixed
    from handlers.codecs.resample import resampled

    trigger = resampled(remixed(trigger_file, 1), sound.rate)

    def ducked() -> Iterator[Samples]:
        from handlers.kernels.dynamics import Compressor

        compressor = Compressor(sound.rate, p.threshold_db, p.ratio, p.attack_ms, p.release_ms)
        feed = Feed(trigger)
        for block in sound:
            heard = np.zeros((1, block.shape[1]), np.float32)
            said = feed.read(block.shape[1])
            heard[:, : said.shape[1]] = said
            yield block * compressor.gains(heard)

    return sound.like(ducked)
