"""What a file is: container, codec, rate, channels, length."""

from __future__ import annotations

from typing import Annotated

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Measures, operation
from handlers.units import Bytes, SampleRate, Samples, Seconds


class Info(Result):
    """A file as its container describes it; what comes from no file has None there."""

    size_bytes: Bytes | None
    duration_sec: Seconds
    sample_rate: SampleRate
    channels: int
    codec: Annotated[str | None, Measures("codec")]
    sample_fmt: str | None
    format: Annotated[str | None, Measures("format")]
    bit_depth: Annotated[int | None, Measures("bit_depth")]
    bit_rate: int | None
    frames: Samples
    #: False where the container leaves it to a pass to count the frames.
    length_stated: bool
    #: Of the samples before they were encoded; FLAC states it.
    md5: str | None
    tags: dict[str, tuple[str, ...]]
    pictures: int
    #: RIFF chunks that say more than tags, such as `bext`, `cue ` and `smpl`.
    chunks: tuple[str, ...]


@operation(
    route="/v1/audio/info",
    category="analysis",
    examples=[Example("What is this file?")],
)
def info(sound: Blocks) -> Info:
    """Say what a file is: container, codec, rate, channels, bit depth, length, tags.

    Nothing is decoded where the container states the length; otherwise one
    pass counts the frames.
    """
    facts = sound.facts
    length_stated = sound.stated_frames is not None
    return Info(
        size_bytes=facts.size_bytes if facts else None,
        duration_sec=sound.duration,
        sample_rate=sound.rate,
        channels=sound.channels,
        codec=facts.codec if facts else None,
        sample_fmt=facts.sample_fmt if facts else None,
        format=facts.container if facts else None,
        bit_depth=facts.bit_depth if facts else None,
        bit_rate=facts.bit_rate if facts else None,
        frames=sound.frames,
        length_stated=length_stated,
        md5=facts.md5 if facts else None,
        tags=dict(facts.metadata.tags) if facts else {},
        pictures=len(facts.metadata.pictures) if facts else 0,
        chunks=tuple(facts.metadata.chunks) if facts else (),
    )
