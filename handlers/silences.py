"""Where a sound is silent."""

from __future__ import annotations

import numpy as np

from handlers.artifacts import Blocks


def loud_ranges(
    sound: Blocks, threshold_db: float, min_silence_sec: float
) -> list[tuple[int, int]]:
    """What lies between silences, each `[start, end)` in frames.

    Silence is where, for at least `min_silence_sec`, no sample of any channel
    reaches `threshold_db` (dBFS). Ranges begin and end with a sample that does.
    Costs one pass.
    """
    threshold = np.float32(10 ** (threshold_db / 20))
    longest_gap = max(round(min_silence_sec * sound.rate), 1)
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for block in sound:
        loud = np.flatnonzero((np.abs(block) >= threshold).any(axis=0)) + at
        at += block.shape[1]
        if not loud.size:
            continue
        # `gaps[i]` frames lie between loud frame i and the one before it.
        gaps = np.diff(loud, prepend=ends[-1] - 1 if ends else -longest_gap - 1) - 1
        begins = np.flatnonzero(gaps >= longest_gap)
        if not starts:
            begins = np.union1d(begins, [0])
        previous = loud[begins[begins > 0] - 1] + 1
        if ends and not (begins.size and begins[0] == 0):
            ends.pop()
        starts.extend(loud[begins].tolist())
        ends.extend([*previous.tolist(), int(loud[-1]) + 1])
    return list(zip(starts, ends, strict=True))
