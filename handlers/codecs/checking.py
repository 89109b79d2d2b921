"""Is what was written what should have been written? Encoders report success on a full disk.

Asked of every file before anybody is told of it: its size on the disk, and the length that its own
container states, against the frames that were given to the encoder. Headers are read, nothing is
decoded.
"""

from __future__ import annotations

import os
from pathlib import Path

from handlers.codecs.complete import completeness
from handlers.errors import StorageFailed

_PCM_BYTES = {"16": 2, "24": 3, "32f": 4}
#: The longest block of a lossy codec, in frames: what its own count may differ by.
_LOSSY_BLOCK = 8192
_OGG_PAGE = 27 + 255 + 255 * 255


def check_written(
    path: str | os.PathLike[str], format: str, *, frames: int, channels: int, depth: str, size: int
) -> None:
    """Compare a written sound with what went into it.

    Args:
        format: as in `OUTPUT_FORMATS`.
        frames, channels: of what was given to the encoder.
        depth: `16`, `24` or `32f`, for formats that have one.
        size: bytes that the encoder has written.

    Raises:
        StorageFailed: the file is not whole; trying again may help.
    """
    there = Path(path).stat().st_size
    if there != size:
        raise _broken(path, f"has {there} bytes on the disk; {size} were written")
    if not frames:
        return
    if format in ("wav", "aiff", "pcm"):
        least = frames * channels * _PCM_BYTES[depth]
        if there < least:
            raise _broken(path, f"has {there} bytes; {frames} frames take {least}")
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if format in ("wav", "aiff", "m4a"):
            state = completeness(handle)
            if state.verdict != "whole":
                raise _broken(path, f"is not whole: {state}")
        stated, slack = _stated(handle, format, there)
    finally:
        os.close(handle)
    if stated is not None and abs(stated - frames) > slack:
        raise _broken(path, f"states {stated} frames; {frames} were written")


def _stated(handle: int, format: str, size: int) -> tuple[int | None, int]:
    """Frames that the container states, and by how many it may be off."""
    if format == "flac":
        at = 4
        # STREAMINFO is the first block (RFC 9639 section 8.2).
        info = os.pread(handle, 18, at + 4)
        return int.from_bytes(info[10:18], "big") & (1 << 36) - 1, 0
    if format in ("ogg", "opus"):
        room = min(size, _OGG_PAGE)
        tail = os.pread(handle, room, size - room)
        at = tail.rfind(b"OggS")
        if at < 0:
            return 0, 0
        return int.from_bytes(tail[at + 6 : at + 14], "little", signed=True), _LOSSY_BLOCK
    return None, 0


def _broken(path: str | os.PathLike[str], why: str) -> StorageFailed:
    return StorageFailed(
        f"{Path(path).name} was written and {why}; the disk may be full or failing"
    )
