"""A sound at another rate, streaming."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handlers.artifacts import Blocks, Samples
from handlers.codecs.decoding import reblocked


def resampled(sound: Blocks, rate: int) -> Blocks:
    """The sound at `rate` samples per second; itself if it has that rate.

    soxr at high quality: linear phase, flat to 91 % of the lower Nyquist
    frequency, stop band below -120 dB, no delay. The length is
    `round(frames * rate / sound.rate)` exactly.
    """
    if rate == sound.rate:
        return sound

    def converted() -> Iterator[Samples]:
        import soxr

        stream = soxr.ResampleStream(
            sound.rate, rate, sound.channels, dtype="float32", quality="HQ"
        )
        taken = given = 0
        for block in sound:
            taken += block.shape[1]
            out = stream.resample_chunk(np.ascontiguousarray(block.T))
            if len(out):
                given += len(out)
                yield np.ascontiguousarray(out.T)
        # soxr's end may differ from the rounded length by a frame or two.
        missing = resampled_frames(taken, sound.rate, rate) - given
        last = stream.resample_chunk(np.zeros((0, sound.channels), np.float32), last=True)
        tail = np.zeros((sound.channels, max(0, missing)), np.float32)
        keep = min(len(last), tail.shape[1])
        tail[:, :keep] = last[:keep].T
        if tail.shape[1]:
            yield tail

    frames = sound.stated_frames
    return Blocks(
        lambda: reblocked(converted(), sound.channels),
        rate=rate,
        channels=sound.channels,
        frames=None if frames is None else resampled_frames(frames, sound.rate, rate),
        facts=sound.facts,
    )


def resampled_frames(frames: int, old: int, new: int) -> int:
    """Length at the new rate, halves rounded up."""
    return (2 * frames * new + old) // (2 * old)
