"""How alike two sounds are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Progress, operation
from handlers.engines.shelf import Lent
from handlers.errors import CannotProcess

if TYPE_CHECKING:
    from handlers.engines.clap_embed import Embedder
else:
    Embedder = object


class Similarity(Result):
    """1 for the same sound, around 0 for sounds that have nothing in common."""

    similarity: float
    dim: int


@operation(
    route="/v1/audio/similar",
    category="analysis",
    lane="gpu",
    engines=["clap-embed"],
    examples=[Example("Do these belong together?")],
)
def similar(
    sound: Blocks,
    reference_file: Annotated[Blocks, "The other sound."],
    model: Lent[Embedder],
    progress: Progress,
) -> Similarity:
    """Say how alike two sounds are to somebody who listens to what they are, not to each sample.

    Raises:
        CannotProcess: there is no sound.
    """
    for name, one in (("the sound", sound), ("reference_file", reference_file)):
        if not one.frames:
            raise CannotProcess(f"there is nothing to hear: {name} has no samples")
    with model() as embedder:
        first = embedder.of_sound(sound, lambda share: progress(share / 2))
        second = embedder.of_sound(reference_file, lambda share: progress((1 + share) / 2))
    return Similarity(similarity=float(first @ second), dim=first.size)
