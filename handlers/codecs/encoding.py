"""What every encoder is told and what it must do; and the arithmetic they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import BLOCK_FRAMES, Metadata, Samples
from handlers.codecs.files import OutputFile


@dataclass(frozen=True)
class Target:
    """What is to be written."""

    rate: int
    channels: int
    #: `16`, `24` or `32f`; meaningless for lossy codecs.
    depth: str
    #: Bits per second, or None for variable bitrate by `quality` (0..10) or no bitrate at all.
    bitrate: int | None
    quality: float | None
    metadata: Metadata
    #: Length where it is known beforehand.
    frames: int | None


class Encoder(Protocol):
    """Writes one sound into one file. Made anew for each."""

    #: Blocks must have exactly so many frames, but for the last.
    block_frames: int

    def write(self, block: Samples) -> Level:
        """Encode one block."""

    def finish(self, frames: int, /) -> None:
        """Complete the file; `frames` were written in all."""


@dataclass
class Level:
    """What a block, or a whole sound, reached before it was clipped."""

    peak: float = 0.0
    #: Samples beyond full scale that were clipped.
    clipped: int = 0
    #: Samples that were NaN or infinite and became 0.
    nonfinite: int = 0

    def add(self, other: Level) -> None:
        """Take in another block."""
        self.peak = max(self.peak, other.peak)
        self.clipped += other.clipped
        self.nonfinite += other.nonfinite


class Integers:
    """Blocks as interleaved integers of 16 or 24 bits, dithered where needed."""

    def __init__(self, channels: int, bits: int, *, shift: int = 0) -> None:
        self._bits, self._shift = bits, shift
        self._channels = channels
        self._at = 0
        self._out: NDArray[Any] = np.empty(
            BLOCK_FRAMES * channels, np.int16 if bits == 16 else np.int32
        )

    def take(self, block: Samples) -> tuple[NDArray[Any], Level]:
        """The block's integers, valid until the next call, and its level."""
        from handlers.kernels.pcm import quantise

        out = self._out[: block.shape[1] * self._channels]
        level = Level(*quantise(block, self._bits, self._shift, self._at, out))
        self._at += block.shape[1]
        return out, level


def clipped_floats(block: Samples, out: NDArray[np.float32], *, clip: bool) -> Level:
    """Interleave a block into `out`, within full scale if `clip`."""
    from handlers.kernels.pcm import limited

    return Level(*limited(block, clip, out))


class Raw:
    """Interleaved samples as bytes in a file: the body of WAV, AIFF and headerless PCM."""

    def __init__(self, file: OutputFile, channels: int, depth: str, *, big_endian: bool) -> None:
        self._file, self._depth, self._big = file, depth, big_endian
        self.frame_bytes = channels * {"16": 2, "24": 3, "32f": 4}[depth]
        self._channels = channels
        if depth == "32f":
            self._floats: NDArray[Any] = np.empty(BLOCK_FRAMES * channels, np.float32)
        else:
            self._integers = Integers(channels, int(depth))
        if depth == "24":
            self._packed = np.empty(BLOCK_FRAMES * channels * 3, np.uint8)

    def write(self, block: Samples) -> Level:
        """Write one block."""
        values: NDArray[Any]
        if self._depth == "32f":
            values = self._floats[: block.shape[1] * self._channels]
            level = clipped_floats(block, values, clip=False)
        else:
            values, level = self._integers.take(block)
        if self._depth == "24":
            from handlers.kernels.pcm import pack24

            packed = self._packed[: values.size * 3]
            pack24(values, self._big, packed)
            values = packed
        elif self._big:
            values.byteswap(inplace=True)
        self._file.write(values.data)
        return level
