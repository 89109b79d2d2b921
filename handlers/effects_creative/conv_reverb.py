"""Convolution reverb."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from handlers.artifacts import BLOCK_FRAMES, Blocks, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import CannotProcess
from handlers.streams import Feed

_LONGEST_SEC = 60


class ConvReverb(Params):
    """How much room."""

    wet_mix: float = Field(0.3, ge=0, le=1, description="0 is only the sound, 1 only the room.")
    tail: bool = Field(
        False, description="Let the room ring out behind the end; otherwise the length is kept."
    )
    normalize_ir: bool = Field(
        True,
        description="Scale the impulse response to unit energy, so that the room is about as loud "
        "as the sound; otherwise it is taken as it is.",
    )


@operation(
    route="/v1/audio/conv-reverb",
    category="effects-creative",
    tool="convolution_reverb",
    examples=[Example("A voice on a plate.", wet_mix=0.25)],
)
def conv_reverb(
    sound: Blocks,
    ir_file: Annotated[Blocks, "Impulse response of the room, at most 60 s."],
    p: ConvReverb,
) -> Blocks:
    """Put a sound into the room that an impulse response was recorded in.

    The response is resampled to the rate of the sound. A mono response serves
    all channels, one of as many channels as the sound serves each its own, and
    a mono sound gets the channels of the response. Nothing is delayed.

    Source: see `handlers.kernels.convolution`.

    Raises:
        CannotProcess: the response is silent or too long, or its channels
            do not fit.
    """
    room = _response(ir_file, sound, normalized=p.normalize_ir)
    channels = max(sound.channels, room.shape[0])
    frames = sound.frames
    if p.tail and frames:
        frames += room.shape[1] - 1
    dry_gain = np.float32(1 - p.wet_mix)

    def reverberant() -> Iterator[Samples]:
        from handlers.kernels.convolution import convolved

        for dry, wet in convolved(Feed(sound), room * np.float32(p.wet_mix), frames):
            for at in range(0, dry.shape[1], BLOCK_FRAMES):
                end = min(at + BLOCK_FRAMES, dry.shape[1])
                mixed = np.empty((channels, end - at), np.float32)
                np.multiply(dry[:, at:end], dry_gain, out=mixed)
                mixed += wet[:, at:end]
                yield mixed

    return sound.like(reverberant, channels=channels, frames=frames)


def _response(ir_file: Blocks, sound: Blocks, *, normalized: bool) -> Samples:
    if ir_file.channels not in (1, sound.channels) and sound.channels != 1:
        raise CannotProcess(
            f"ir_file has {ir_file.channels} channels and the sound {sound.channels}; "
            f"it must have 1 or {sound.channels}"
        )
    if ir_file.duration > _LONGEST_SEC:
        raise CannotProcess(
            f"ir_file lasts {ir_file.duration:.1f} s; {_LONGEST_SEC} s is the longest response"
        )
    from handlers.codecs.resample import resampled

    # A response is a density over time: at another rate its samples have another size.
    density = np.float32(ir_file.rate / sound.rate)
    room = resampled(ir_file, sound.rate).whole().samples * density
    energy = float(np.square(room, dtype=np.float64).sum(axis=1).max(initial=0))
    if energy == 0:
        raise CannotProcess("ir_file is silent; it has no room to give")
    return room / np.float32(math.sqrt(energy)) if normalized else room
