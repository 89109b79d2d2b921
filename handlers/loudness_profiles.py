"""Loudness targets by name, from `loudness_profiles.yaml` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from handlers.units import Decibels, DecibelsFS, DecibelsTP, LoudnessUnits, LoudnessUnitsFS


class Profile(BaseModel):
    """What one publisher asks for or plays at; the data file says what each field means."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    title: str
    target_lufs: LoudnessUnitsFS | None = None
    target_rms_db: DecibelsFS | None = None
    tolerance_lu: LoudnessUnits | None
    true_peak_dbtp: DecibelsTP | None
    max_short_term_lufs: LoudnessUnitsFS | None = None
    noise_floor_db: Decibels | None = None
    basis: Literal["published", "observed", "convention"]
    source: str = Field(min_length=1)
    date: str = Field(min_length=4)
    album: Literal["together", "loudest"] = "together"
    note: str = ""

    @model_validator(mode="after")
    def _one_target(self) -> Profile:
        if (self.target_lufs is None) == (self.target_rms_db is None):
            raise ValueError("give one of target_lufs and target_rms_db")
        return self


@cache
def profiles() -> Mapping[str, Profile]:
    """All profiles by name."""
    import yaml

    # It is read at every start; the loader in C takes a tenth of the time.
    raw = yaml.load(Path(__file__).with_suffix(".yaml").read_text("utf-8"), yaml.CSafeLoader)
    return {name: Profile(name=name, **fields) for name, fields in raw.items()}


def _known(name: str) -> str:
    if name not in profiles():
        raise ValueError(f"there is no such profile; there are: {', '.join(profiles())}")
    return name


class _Choices:
    """Shows the names in the JSON Schema without reading the file before somebody asks."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "enum": list(profiles())}


ProfileName = Annotated[str, AfterValidator(_known), _Choices()]
"""The name of a profile."""
