"""The usual figures about a recording, as many as are asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, WithJsonSchema, field_validator

from handlers.artifacts import Result
from handlers.declare import Example, Measures, Params, operation
from handlers.hearing import Feature, Heard
from handlers.listening.chords import KEY
from handlers.listening.descriptors import CENTROID, RMS, ZERO_CROSSINGS
from handlers.listening.levels import INTEGRATED
from handlers.listening.rhythm import PULSE
from handlers.units import BeatsPerMinute, Hertz, LoudnessUnitsFS, Seconds

FeatureName = Literal["bpm", "key", "loudness", "duration", "spectral_centroid", "rms", "zcr"]
ALL: tuple[FeatureName, ...] = get_args(FeatureName)

_EVERYTHING: Any = "all"

_HEARD: dict[str, Feature[Any]] = {
    "bpm": PULSE,
    "key": KEY,
    "loudness": INTEGRATED,
    "spectral_centroid": CENTROID,
    "rms": RMS,
    "zcr": ZERO_CROSSINGS,
}


_FEATURES = WithJsonSchema(
    {"anyOf": [{"type": "array", "items": {"type": "string", "enum": list(ALL)}}, {"const": "all"}]}
)


class Analyze(Params):
    """What to find out."""

    features: Annotated[list[FeatureName], _FEATURES] = Field(
        _EVERYTHING,
        validate_default=True,
        description="What to measure; only that is computed. `all` for everything.",
    )

    @field_validator("features", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return list(ALL) if given in ("all", ["all"]) else given


class Analysis(Result):
    """The figures; None for what was not asked for, or what the sound has none of."""

    duration: Seconds
    bpm: Annotated[BeatsPerMinute | None, Measures("bpm", features=["bpm"])] = None
    bpm_confidence: float | None = None
    beats: int | None = None
    beats_per_bar: int | None = None
    key: Annotated[str | None, Measures("key", features=["key"])] = None
    key_confidence: float | None = None
    camelot: Annotated[str | None, Measures("camelot", features=["key"])] = None
    loudness_lufs: LoudnessUnitsFS | None = None
    spectral_centroid: Annotated[
        Hertz | None, Measures("spectral_centroid", features=["spectral_centroid"])
    ] = None
    rms: float | None = None
    zcr: float | None = None


@operation(
    route="/v1/audio/analyze",
    category="analysis",
    engines=["librosa-analyze"],
    hears=lambda p: tuple(_HEARD[name] for name in p.features if name in _HEARD),
    examples=[
        Example("Everything."),
        Example("Only tempo and key.", features=["bpm", "key"]),
    ],
)
def analyze(sound: Heard, p: Analyze) -> Analysis:
    """Measure tempo, key, loudness, brightness, level and zero crossings.

    `rms` and `zcr` are averages over the mean of all channels, `spectral_centroid` is in
    Hz. Confidences are probabilities that the value is right.

    Source: see the modules of `handlers.listening`.
    """
    found: dict[str, Any] = {}
    wanted = set(p.features)
    if "bpm" in wanted:
        pulse = sound[PULSE]
        found |= {
            "bpm": None if pulse.tempo is None else round(pulse.tempo, 2),
            "bpm_confidence": round(pulse.tempo_confidence, 3),
            "beats": len(pulse.beats),
            "beats_per_bar": None if pulse.tempo is None else pulse.beats_per_bar,
        }
    if "key" in wanted and (key := sound[KEY]) is not None:
        found |= {
            "key": key.name,
            "key_confidence": round(key.confidence, 3),
            "camelot": key.camelot,
        }
    if "loudness" in wanted:
        found["loudness_lufs"] = _rounded(sound[INTEGRATED], 2)
    if "spectral_centroid" in wanted:
        found["spectral_centroid"] = _rounded(sound[CENTROID], 2)
    if "rms" in wanted:
        found["rms"] = _rounded(sound[RMS], 6)
    if "zcr" in wanted:
        found["zcr"] = _rounded(sound[ZERO_CROSSINGS], 6)
    return Analysis(duration=sound.duration, **found)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
