"""Several sounds one after another."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MinLen
from pydantic import Field

from handlers.artifacts import Blocks, Result, SoundItem
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter
from handlers.streams import joined, named, said_of
from handlers.units import Seconds, frames_in


class Piece(SoundItem):
    """One sound of the sequence."""


class Concat(Params):
    """How the sounds meet."""

    crossfade_sec: Seconds = Field(
        0.0,
        ge=0,
        description="How long the end of each is blended into the beginning of the next; "
        "0 joins them end to end.",
    )


class Concatenated(Result):
    """The sequence, and of how many."""

    sound: Blocks
    file_count: int


@operation(
    route="/v1/audio/concat",
    category="editing",
    examples=[
        Example("Intro, talk and outro."),
        Example("Songs that run into each other.", crossfade_sec=1),
    ],
)
def concat(
    files: Annotated[list[Piece], MinLen(2), "The sounds, in the order of playing."], p: Concat
) -> Concatenated:
    """Play two or more sounds one after another.

    The result has the highest rate and the most channels among them; others
    are converted to these. A crossfade has constant power and shortens the
    whole by its length at each seam.

    Raises:
        BadParameter: fewer than two sounds.
        CannotProcess: a sound is shorter than the crossfade, or its channels
            have no agreed way into those of the others.
    """
    from handlers.codecs.channels import remixed
    from handlers.codecs.resample import resampled

    if len(files) < 2:
        raise BadParameter(f"concat needs at least 2 files; got {len(files)}", field="files")
    rate = max(piece.sound.rate for piece in files)
    channels = max(piece.sound.channels for piece in files)
    sounds = []
    for index, piece in enumerate(files):
        with said_of(f"file {index}"):
            sounds.append(named(remixed(resampled(piece.sound, rate), channels), f"file {index}"))
    whole = joined(sounds, frames_in(p.crossfade_sec, rate))
    return Concatenated(sound=whole, file_count=len(files))
