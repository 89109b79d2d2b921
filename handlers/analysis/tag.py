"""What can be heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.shelf import Lent
from handlers.errors import CannotProcess
from handlers.units import Seconds

if TYPE_CHECKING:
    from handlers.engines.ast_tag import Tagger
else:
    Tagger = object


class Tag(Params):
    """How many labels."""

    top_k: int = Field(10, ge=1, description="Number of labels, the most likely first.")


class Label(BaseModel):
    """One thing that may be heard."""

    label: str
    score: float


class Tags(Result):
    """What can be heard, the most likely first."""

    tags: list[Label]
    duration: Seconds


@operation(
    route="/v1/audio/tag",
    category="analysis",
    lane="gpu",
    engines=["ast-tag"],
    examples=[Example("The five most likely things.", top_k=5)],
)
def tag(sound: Blocks, p: Tag, model: Lent[Tagger], progress: Progress) -> Tags:
    """Say what can be heard: speech, instruments, animals, machines, in AudioSet's 527 classes.

    Scores are probabilities of each class for itself, averaged over windows of
    10.24 s; they do not add up to 1.

    Raises:
        CannotProcess: there is no sound.
    """
    if not sound.frames:
        raise CannotProcess("there is nothing to hear: the sound has no samples")
    with model() as tagger:
        scores = tagger.scores(sound, progress)
        labels = tagger.labels
    order = np.argsort(-scores, kind="stable")[: p.top_k]
    found = [Label(label=labels[i], score=round(float(scores[i]), 6)) for i in order]
    return Tags(tags=found, duration=sound.duration)
