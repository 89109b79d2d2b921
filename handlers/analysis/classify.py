"""Which of some words fits a sound best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.shelf import Lent
from handlers.errors import CannotProcess

if TYPE_CHECKING:
    from handlers.engines.clap_embed import Embedder
else:
    Embedder = object


class Classify(Params):
    """The words."""

    labels: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, max_length=1000, description="Words or sentences to choose from."
    )


class Fit(BaseModel):
    """How well one label fits."""

    label: str
    score: float


class Fits(Result):
    """All labels, the best first."""

    results: list[Fit]


@operation(
    route="/v1/audio/classify",
    category="analysis",
    lane="gpu",
    engines=["clap-embed"],
    examples=[Example("Sort a library.", labels=["a drum loop", "a voice", "birdsong"])],
)
def classify(sound: Blocks, p: Classify, model: Lent[Embedder], progress: Progress) -> Fits:
    """Say which of your own words or sentences fits a sound best.

    Scores are cosines between sound and text, -1 to 1: compare them with each
    other, their size alone says little.

    Raises:
        CannotProcess: there is no sound.
    """
    if not sound.frames:
        raise CannotProcess("there is nothing to hear: the sound has no samples")
    with model() as embedder:
        scores = embedder.of_texts(p.labels) @ embedder.of_sound(sound, progress)
    order = np.argsort(-scores, kind="stable")
    return Fits(results=[Fit(label=p.labels[i], score=float(scores[i])) for i in order])
