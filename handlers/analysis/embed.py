"""Where a sound is in the space of sounds and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.shelf import Lent
from handlers.errors import CannotProcess

if TYPE_CHECKING:
    from handlers.engines.clap_embed import Embedder
else:
    Embedder = object


class Embed(Params):
    """What to compare with."""

    query_text: str | None = Field(None, min_length=1, description="Text to compare with.")


class Embedding(Result):
    """A vector of unit length; with a text, how near the two are."""

    embedding: list[float]
    dim: int
    norm: float
    query_text: str | None
    similarity: float | None


@operation(
    route="/v1/audio/embed",
    category="analysis",
    lane="gpu",
    engines=["clap-embed"],
    examples=[Example("For a library."), Example("Is it this?", query_text="rain on a roof")],
)
def embed(sound: Blocks, p: Embed, model: Lent[Embedder], progress: Progress) -> Embedding:
    """Give the place of a sound among all sounds, as a vector of unit length.

    The dot product of two such vectors says how alike the sounds are. Long
    sounds are the mean of their windows of 10 s.

    Raises:
        CannotProcess: there is no sound.
    """
    if not sound.frames:
        raise CannotProcess("there is nothing to hear: the sound has no samples")
    with model() as embedder:
        vector = embedder.of_sound(sound, progress)
        near = None
        if p.query_text is not None:
            near = float(embedder.of_texts([p.query_text])[0] @ vector)
    return Embedding(
        embedding=[float(value) for value in vector],
        dim=vector.size,
        norm=1.0,
        query_text=p.query_text,
        similarity=near,
    )
