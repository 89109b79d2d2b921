"""Speech made to stand out of noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.shelf import Lent

if TYPE_CHECKING:
    from handlers.engines.deepfilter import DeepFilter
else:
    DeepFilter = object


class Enhance(Params):
    """Which model."""

    engine: str = Field(
        "deepfilter",
        description="Model that makes speech stand out.",
        json_schema_extra={"enum": ["deepfilter"]},
    )


class Enhanced(Result):
    """The sound, and what made it."""

    sound: Blocks
    engine: str


@operation(
    route="/v1/audio/enhance/{engine}",
    category="restoration",
    lane="gpu",
    engines=["deepfilter"],
    pipeline=True,
    examples=[Example("A voice without the noise around it.")],
)
def enhance(sound: Blocks, model: Lent[DeepFilter], p: Enhance, progress: Progress) -> Enhanced:
    """Make speech stand out of noise.

    Keeps rate, channels and length; each channel is heard for itself. The model knows
    speech at 48 kHz: of a sound at a higher rate nothing above 24 kHz is left, and what
    is no speech (music too) fades. Silence stays silence.

    Raises:
        CannotProcess: a sample is no number.
        WeightsMissing: the model is not there.

    Source: DeepFilterNet 3 (Schröter, Rosenkranz, Escalante-B. and Maier, Interspeech 2023).
    """
    return Enhanced(sound=sound.like(lambda: _enhanced(sound, model, progress)), engine=p.engine)


def _enhanced(sound: Blocks, model: Lent[DeepFilter], progress: Progress) -> Iterator[Samples]:
    from handlers.codecs.resample import resampled
    from handlers.engines.deepfilter import RATE
    from handlers.streams import finite, fitted

    with model() as enhancer:
        at_rate = resampled(sound.like(lambda: finite(sound)), RATE)
        done = at_rate.like(lambda: enhancer.enhance(at_rate, progress))
        yield from fitted(resampled(done, sound.rate), sound.frames)
