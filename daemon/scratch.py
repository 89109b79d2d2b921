"""A sound between two lanes: raw float32 in a scratch file, memory-mapped.

The file is a NumPy `.npy` of shape `(channels, frames)`; its name carries the
sample rate, so that nothing else has to be kept with it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from handlers.artifacts import Audio, Blocks, Samples, SourceFacts
from handlers.errors import StorageFailed


def put(sound: Blocks, folder: Path, step: int) -> Path:
    """Write a sound for the worker that does `step`, durably; one pass over it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"before-{step}.{sound.rate}.npy"
    part = path.with_suffix(".part")

    def mapped(shape: tuple[int, int]) -> Samples:
        if 0 in shape:  # nothing to map; an empty array keeps the channel count
            return np.empty(shape, np.float32)
        return np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)

    audio = sound.whole(mapped)
    if isinstance(audio.samples, np.memmap):
        audio.samples.flush()
    else:
        with part.open("wb") as empty:
            np.save(empty, audio.samples)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.rename(path)
    return path


def get(path: Path, facts: SourceFacts | None) -> Blocks:
    """The sound that `put` wrote.

    Raises:
        StorageFailed: the scratch file is gone or damaged.
    """
    try:
        samples = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None)
        rate = int(path.suffixes[-2].removeprefix("."))
    except (OSError, ValueError, IndexError) as wrong:
        raise StorageFailed(f"scratch file {path.name} cannot be read: {wrong}") from wrong
    return Audio(samples, rate, facts).blocks()
