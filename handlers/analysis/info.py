"""What a file is: container, codec, rate, channels, length."""

from __future__ import annotations

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, operation
from handlers.units import Bytes, SampleRate, Samples, Seconds


class Info(Result):
    """A file as its container describes it; what comes from no file has None there."""

    size_bytes: Bytes | None
    duration_sec: Seconds
    sample_rate: SampleRate
    channels: int
    codec: str | None
    sample_fmt: str | None
    format: str | None
    bit_depth: int | None
    bit_rate: int | None
    frames: Samples
    tags: dict[str, tuple[str, ...]]


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
        tags=dict(facts.metadata.tags) if facts else {},
    )
