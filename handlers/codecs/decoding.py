"""What every reader hands back: facts, and a way to begin a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples


@dataclass(frozen=True)
class Decoding:
    """One opened file, before its blocks are checked and counted."""

    codec: str
    sample_fmt: str
    rate: int
    channels: int
    #: Exact, or None where only a pass can count them.
    frames: int | None
    #: Begins a pass: fresh float32 arrays `(channels, n)`, C-contiguous, owned by the receiver.
    start: Callable[[], Iterator[Samples]]
    bit_depth: int | None = None
    bit_rate: int | None = None
    #: Frames that may be missing at the end and are then silence: the stream's stated end
    #: lies inside its last packet, and decoders differ in what they make of that packet.
    slack: int = 0
    #: A rough length in seconds that the container states; a pass that ends well before is cut.
    about_seconds: float | None = None
    #: MD5 of the samples that were encoded, in hex, where the file states it (FLAC).
    md5: str | None = None
    #: Tags that the demuxer knows and no tag reader does.
    tags: Mapping[str, str] = field(default_factory=dict)


def reblocked(
    pieces: Iterator[Samples], channels: int, size: int = BLOCK_FRAMES
) -> Iterator[Samples]:
    """The same sound in blocks of exactly `size` frames, the last one shorter.

    Pieces that already fit pass through without a copy.
    """
    held: Samples | None = None
    filled = 0
    for piece in pieces:
        at, count = 0, piece.shape[1]
        if filled == 0 and count == size:
            yield piece
            continue
        while at < count:
            if held is None:
                held = np.empty((channels, size), np.float32)
            take = min(size - filled, count - at)
            held[:, filled : filled + take] = piece[:, at : at + take]
            filled += take
            at += take
            if filled == size:
                yield held
                held, filled = None, 0
    if held is not None and filled:
        yield np.ascontiguousarray(held[:, :filled])
