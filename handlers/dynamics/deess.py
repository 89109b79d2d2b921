"""De-esser."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from handlers.artifacts import Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.units import DecibelsFS, Hertz

#: An s lasts 50 to 200 ms and begins within a few: fast enough to catch it, slow enough to
#: leave the shape of the noise alone.
_ATTACK_MS = 1.0
_RELEASE_MS = 60.0


class Deess(Params):
    """From where on, from what level on, and how much."""

    threshold_db: DecibelsFS = Field(
        -20.0, le=0, description="Peak level of the high band where reduction starts."
    )
    frequency_hz: Hertz = Field(
        6000.0, ge=2000, le=15000, description="Where the high band begins."
    )
    ratio: float = Field(
        4.0, ge=1, le=20, description="How hard: 1 does nothing, 20 nearly stops at the threshold."
    )


@operation(
    route="/v1/audio/deess",
    category="dynamics",
    examples=[Example("A bright voice.", threshold_db=-30, frequency_hz=5500, ratio=6)],
    pipeline=True,
)
def deess(sound: Blocks, p: Deess) -> Blocks:
    """Turn hissing s sounds down where they are too loud.

    Only what lies above the frequency is turned down, by a compressor that
    listens to nothing else; no frequency ever gets louder. All channels move
    together. Keeps rate, channels and length, and delays nothing. A sound that
    has nothing above the frequency (half its sample rate) passes unchanged.

    Source: see `handlers.kernels.crossover` and `handlers.kernels.dynamics`.
    """
    if p.frequency_hz >= sound.rate / 2:
        return sound

    def softened() -> Iterator[Samples]:
        from handlers.kernels.crossover import split
        from handlers.kernels.dynamics import Compressor

        compressor = Compressor(sound.rate, p.threshold_db, p.ratio, _ATTACK_MS, _RELEASE_MS)
        for low, high in split(sound, [p.frequency_hz]):
            yield low + high * compressor.gains(high)

    return sound.like(softened)
