"""Reads an output back before the original that it was made of may go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon.delivering.hashes import hash_from_disk
from handlers.errors import StorageFailed, UnreadableInput

_SLACK_SECONDS = 0.1
"""A lossy decoder may give some padding more or less than went in."""


def read_back(part: Path, name: str, about: dict[str, Any]) -> None:
    """Make sure that a written file is on the disk as it was written, and that it can be played.

    Args:
        part: the finished, fsynced file.
        name: what messages and the decoder call it.
        about: what is told of it: `sha256`, and of a sound its `duration` in s.

    Raises:
        StorageFailed: the disk gives other bytes than it was given.
        UnreadableInput: it cannot be decoded to its end, or has another length.
    """
    if hash_from_disk(part) != about["sha256"]:
        raise StorageFailed(f"{name} was read back from the disk with other bytes than written")
    if about["role"] != "sound" or "duration" not in about:
        return
    from handlers.codecs.reader import open_sound

    sound = open_sound(part, name=name)
    frames = sum(block.shape[1] for block in sound)
    length = frames / sound.rate
    if abs(length - about["duration"]) > _SLACK_SECONDS:
        raise UnreadableInput(
            f"{name} has {length:.2f} s when it is read back, not the {about['duration']:.2f} s "
            "that were written"
        )
