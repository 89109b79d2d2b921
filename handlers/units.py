"""Numbers that know their unit.

A unit travels with the type, so every surface (help text, JSON Schema, form,
docs) shows it and no docstring repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Unit:
    """The symbol of a unit, e.g. `Hz`. It appears as `unit` in the JSON Schema."""

    symbol: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Put the symbol beside the type."""
        return {**handler(schema), "unit": self.symbol}


_MOST_FRAMES = 2**62
"""More than any sound has."""


def frames_in(seconds: float, rate: float) -> int:
    """Frames in a time, to the nearest; of an endless one, more than any sound has."""
    return round(min(seconds * rate, _MOST_FRAMES))


Seconds = Annotated[float, Unit("s")]
Milliseconds = Annotated[float, Unit("ms")]
Hertz = Annotated[float, Unit("Hz")]
SampleRate = Annotated[int, Unit("Hz")]
Decibels = Annotated[float, Unit("dB")]
DecibelsFS = Annotated[float, Unit("dBFS")]
DecibelsTP = Annotated[float, Unit("dBTP")]
LoudnessUnitsFS = Annotated[float, Unit("LUFS")]
LoudnessUnits = Annotated[float, Unit("LU")]
Semitones = Annotated[float, Unit("semitones")]
Beats = Annotated[float, Unit("beats")]
Ticks = Annotated[int, Unit("ticks")]
BeatsPerMinute = Annotated[float, Unit("BPM")]
Pixels = Annotated[int, Unit("px")]
Samples = Annotated[int, Unit("samples")]
PercentOfVelocity = Annotated[float, Unit("% of 127")]
Bytes = Annotated[int, Unit("bytes")]
