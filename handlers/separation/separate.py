"""A mix taken apart into its instruments."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.registry import engines
from handlers.engines.separator import Separator
from handlers.engines.shelf import Lent

ENGINES = ("htdemucs", "htdemucs_ft", "htdemucs_6s", "mdx_extra", "uvr-vocal-bsr", "uvr-karaoke")


class Separate(Params):
    """Which model, and which of its stems."""

    engine: str = Field(
        description="Model. htdemucs, mdx_extra: drums, bass, other, vocals; htdemucs_ft: the "
        "same, a model for each, on CUDA only; htdemucs_6s: guitar and piano as well; "
        "uvr-vocal-bsr, uvr-karaoke: Vocals (of all singers, of the leading one) and Instrumental.",
        json_schema_extra={"enum": list(ENGINES)},
    )
    stems: list[str] = Field(
        default=[], description="Which stems to give; none named means all of the engine's."
    )

    @model_validator(mode="after")
    def _are_stems(self) -> Separate:
        for stem in self.stems:
            stem_of(self.engine, stem, "stems")
        return self

    @property
    def wanted(self) -> tuple[str, ...]:
        """The stems to give, in the engine's words and order, each once."""
        known = engines()[self.engine].stems
        asked = {stem_of(self.engine, stem, "stems") for stem in self.stems}
        return tuple(stem for stem in known if stem in asked or not asked)


def stem_of(engine: str, stem: str, field: str) -> str:
    """A stem in the engine's own words, which are found whatever their case.

    Raises:
        PydanticCustomError: the engine has no such stem.
    """
    declared = engines().get(engine)
    if declared is None or not declared.stems:
        return stem  # the engine itself will be refused
    for known in declared.stems:
        if known.lower() == stem.lower():
            return known
    raise PydanticCustomError(
        "unknown_stem",
        "{engine} has no stem {stem}; it has: {known}",
        {
            "engine": engine,
            "stem": repr(stem),
            "known": ", ".join(declared.stems),
            "field": field,
        },
    )


class Stems(Result):
    """The stems, and which they are: `stem` where it is one, `stems` where there are several."""

    sounds: dict[str, Blocks]
    engine: str
    stem: str | None = None
    stems: list[str] | None = None

    def descriptor(self) -> dict[str, Any]:
        """The facts; of `stem` and `stems` the one that applies."""
        return {name: fact for name, fact in super().descriptor().items() if fact is not None}


@operation(
    route="/v1/audio/separate",
    category="separation",
    lane="gpu",
    engines=ENGINES,
    tool_parts="stems",
    several=lambda p: len(p.wanted) > 1,
    examples=[
        Example("Four stems.", engine="htdemucs"),
        Example("The voice alone.", engine="htdemucs", stems=["vocals"]),
        Example("Voice and accompaniment; together they are the mix.", engine="uvr-vocal-bsr"),
    ],
)
def separate(sound: Blocks, model: Lent[Separator], p: Separate, progress: Progress) -> Stems:
    """Take a mix apart into its instruments or voices.

    One stem is a sound, several are one sound each. Stems keep rate, channels and
    length of the mix. The models know stereo: a mono sound is both of its channels,
    and of more than two channels neighbours are taken for pairs. Their rate is
    44.1 kHz: what lies above 22.05 kHz stays in the Instrumental of the uvr engines,
    and in no stem of the others. The stems of the uvr engines add up to the mix;
    those of Demucs nearly do. Silence stays silence.

    Raises:
        BadParameter: the engine has no such stem, or needs CUDA where there is none.
        WeightsMissing: the model is not there.

    Source: Demucs (Rouard, Massa and Defossez, ICASSP 2023; Defossez, ISMIR 2021),
    without random shifts; Band-Split and Mel-Band RoFormer (Lu, Wang, Kong and Hung,
    ICASSP 2024; Wang, Lu and Won, 2023), as audio-separator runs them.
    """
    from handlers.stems import stems_of

    sounds = stems_of(sound, model, p.wanted, progress)
    if len(p.wanted) == 1:
        return Stems(sounds=sounds, engine=p.engine, stem=p.wanted[0])
    return Stems(sounds=sounds, engine=p.engine, stems=list(p.wanted))
