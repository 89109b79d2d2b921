"""Room, echo or noise taken out of a recording."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.separator import Separator
from handlers.engines.shelf import Lent

_ENGINES = ("uvr-dereverb", "uvr-deecho", "uvr-denoise")
_HARDER = {"uvr-deecho": "uvr-deecho-aggressive"}
"""Engines with a second model that takes more away."""


class Restore(Params):
    """What to take out, and how hard."""

    engine: str = Field(
        description="What to take out: the room, echo or noise.",
        json_schema_extra={"enum": list(_ENGINES)},
    )
    aggressive: bool = Field(
        default=False,
        description="Take more out, with less care for the rest (uvr-deecho only).",
    )

    @model_validator(mode="after")
    def _has_a_harder_model(self) -> Restore:
        if self.aggressive and self.engine in _ENGINES and self.engine not in _HARDER:
            raise PydanticCustomError(
                "no_harder_model",
                "{engine} has no aggressive model; only {known} has one",
                {"engine": self.engine, "known": ", ".join(_HARDER), "field": "aggressive"},
            )
        return self

    @property
    def model(self) -> str:
        """The engine whose model it takes."""
        return _HARDER[self.engine] if self.aggressive else self.engine


class Restored(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    engine: str
    aggressive: bool


@operation(
    route="/v1/audio/restore/{engine}",
    category="restoration",
    tool_aliases={"denoise": {"engine": "uvr-denoise"}},
    lane="gpu",
    engines=_ENGINES,
    lends=lambda p: p.model,
    pipeline=True,
    examples=[
        Example("A voice without its room.", engine="uvr-dereverb"),
        Example("A voice without hiss and hum.", engine="uvr-denoise"),
        Example("Strong echo.", engine="uvr-deecho", aggressive=True),
    ],
)
def restore(sound: Blocks, model: Lent[Separator], p: Restore, progress: Progress) -> Restored:
    """Take reverberation, echo or noise out of a recording.

    Keeps rate, channels and length. The models know stereo at 44.1 kHz: a mono sound is
    both of its channels, of more than two channels neighbours are taken for pairs, and
    nothing above 22.05 kHz is left (above 17.6 kHz with uvr-deecho). Silence stays silence.

    Raises:
        BadParameter: aggressive, and the engine has no second model.
        WeightsMissing: the model is not there.

    Source: Band-Split and Mel-Band RoFormer (Lu, Wang, Kong and Hung, ICASSP 2024;
    Wang, Lu and Won, 2023) and the VR network of vocal-remover 5.1 (tsurumeso), as
    audio-separator runs them.
    """
    from handlers.stems import restored

    return Restored(
        sound=restored(sound, model, progress), engine=p.engine, aggressive=p.aggressive
    )
