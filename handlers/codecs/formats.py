"""The formats that a sound can be written in, and how to ask for one.

The first six are the contract's, exactly as `operations.yaml` has them; the
others are a superset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from handlers.errors import BadParameter, UnknownFormat
from handlers.units import Unit


@dataclass(frozen=True)
class OutputFormat:
    """One target: container and codec with the contract's defaults."""

    name: str
    content_type: str
    ext: str
    lossy: bool
    #: Bit depths that it can hold, its default first; empty for lossy codecs.
    bit_depths: tuple[str, ...] = ()
    #: kbit/s; None where the bitrate follows from the samples.
    default_bitrate: int | None = None
    #: The only rate it is written at; others are resampled, which the result says.
    sample_rate: int | None = None


OUTPUT_FORMATS: Mapping[str, OutputFormat] = {
    f.name: f
    for f in (
        OutputFormat("wav", "audio/wav", "wav", False, ("16", "24", "32f")),
        OutputFormat("mp3", "audio/mpeg", "mp3", True, default_bitrate=192),
        OutputFormat("flac", "audio/flac", "flac", False, ("source", "16", "24")),
        OutputFormat(
            "opus", "audio/ogg; codecs=opus", "opus", True, default_bitrate=128, sample_rate=48000
        ),
        OutputFormat("aac", "audio/aac", "aac", True, default_bitrate=192),
        OutputFormat("pcm", "audio/pcm", "pcm", False, ("16",)),
        OutputFormat("m4a", "audio/mp4", "m4a", True, default_bitrate=192),
        OutputFormat("ogg", "audio/ogg; codecs=vorbis", "ogg", True, default_bitrate=192),
        OutputFormat("aiff", "audio/aiff", "aiff", False, ("16", "24", "32f")),
    )
}

FormatName = Literal["wav", "mp3", "flac", "opus", "aac", "pcm", "m4a", "ogg", "aiff"]


class Encoding(BaseModel):
    """How a result is written. Only `format` is the contract's; the rest is a superset."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: FormatName = Field("wav", description="Container and codec of the result.")
    bit_depth: Literal["16", "24", "32f", "source"] | None = Field(
        None,
        description="Bits per sample for wav, flac and aiff: 16, 24, 32f (float), or as the "
        "source has them; reducing adds triangular dither.",
    )
    bitrate: Annotated[int, Unit("kbit/s")] | None = Field(
        None, ge=8, le=640, description="Bitrate of a lossy format; default as the format's."
    )
    quality: float | None = Field(
        None,
        ge=0,
        le=10,
        description="Variable bitrate instead of a fixed one (mp3, ogg): 10 best, 0 smallest.",
    )

    @property
    def target(self) -> OutputFormat:
        """The format asked for."""
        return OUTPUT_FORMATS[self.format]


def encoding(
    format: str = "wav",
    *,
    bit_depth: str | None = None,
    bitrate: int | None = None,
    quality: float | None = None,
) -> Encoding:
    """An `Encoding` from values that a user wrote.

    Raises:
        UnknownFormat: no such format.
        BadParameter: the format cannot have this depth, bitrate or quality.
    """
    target = OUTPUT_FORMATS.get(format)
    if target is None:
        raise UnknownFormat(
            f"unknown output_format {format!r}; known are: {', '.join(OUTPUT_FORMATS)}",
            field="output_format",
        )
    depths = (*target.bit_depths, "source") if target.bit_depths else ()
    if bit_depth is not None and bit_depth not in depths:
        can = ", ".join(depths) or "none: it is lossy"
        raise BadParameter(
            f"{format} has no bit_depth {bit_depth}; it has: {can}", field="bit_depth"
        )
    if bitrate is not None and not target.lossy:
        raise BadParameter(f"{format} has no bitrate", field="bitrate")
    if quality is not None and format not in ("mp3", "ogg"):
        raise BadParameter(f"{format} has no quality; use bitrate", field="quality")
    if bitrate is not None and quality is not None:
        raise BadParameter("give bitrate or quality, not both", field="quality")
    if bitrate is not None and not 8 <= bitrate <= 640:
        raise BadParameter(f"bitrate {bitrate} kbit/s is outside 8..640", field="bitrate")
    if quality is not None and not 0 <= quality <= 10:
        raise BadParameter(f"quality {quality} is outside 0..10", field="quality")
    return Encoding.model_validate(
        {"format": format, "bit_depth": bit_depth, "bitrate": bitrate, "quality": quality}
    )
