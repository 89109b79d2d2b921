"""A sound between two lanes or two readers: raw float32, memory-mapped.

Between lanes the file is a NumPy `.npy` of shape `(channels, frames)`; its name
carries the sample rate, so that nothing else has to be kept with it. A sound
that several read is spooled while it goes by, whatever its length turns out to
be: frame after frame, with rate and channels in the name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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


_PIECE = 1 << 16
"""Frames that are read from a spool at a time."""


class Spool:
    """Keeps a sound that goes by once for those who read it later."""

    def __init__(self, path: Path, sound: Blocks, memory: int) -> None:
        """Nothing is read yet.

        Args:
            path: the file's path without its suffixes.
            sound: what it will be like.
            memory: bytes up to which it is kept in memory; 0 for a sound that has to outlive
                this process.
        """
        self._like = sound
        self._path = path.with_name(f"{path.name}.{sound.rate}.{sound.channels}.f32")
        self._memory = memory
        self._kept: list[Samples] | None = []

    def take(self, sound: Blocks) -> None:
        """Read a sound to its end: one pass."""
        size = 0
        kept: list[Samples] = []
        blocks = iter(sound)
        for block in blocks:
            kept.append(block)
            size += block.nbytes
            if size > self._memory:
                break
        else:
            if self._memory:
                self._kept = kept
                return
        self._kept = None
        part = self._path.with_suffix(".part")
        with part.open("wb", buffering=1 << 20) as file:
            for block in kept:
                file.write(block.T.tobytes())
            kept.clear()
            for block in blocks:
                file.write(block.T.tobytes())
            file.flush()
            if not self._memory:
                os.fsync(file.fileno())
        part.rename(self._path)

    @property
    def path(self) -> Path:
        """The file, for another process."""
        return self._path

    def sound(self) -> Blocks:
        """The sound, to be read as often as needed."""
        if self._kept is None:
            return spooled(self._path, self._like.facts)
        kept = self._kept
        frames = sum(block.shape[1] for block in kept)
        return self._like.like(lambda: iter(kept), frames=frames)


def spooled(path: Path, facts: SourceFacts | None) -> Blocks:
    """The sound that a spool wrote.

    Raises:
        StorageFailed: the file is gone.
    """
    rate, channels = (int(part.removeprefix(".")) for part in path.suffixes[-3:-1])
    try:
        frames = path.stat().st_size // (4 * channels)
    except OSError as wrong:
        raise StorageFailed(f"scratch file {path.name} cannot be read: {wrong}") from wrong

    def passing() -> Iterator[Samples]:
        if not frames:
            return
        samples = np.memmap(path, np.float32, mode="r", shape=(frames, channels))
        for at in range(0, frames, _PIECE):
            yield np.ascontiguousarray(samples[at : at + _PIECE].T)

    return Blocks(passing, rate=rate, channels=channels, frames=frames, facts=facts)
