"""MP3 through LAME, with the tag that makes it gapless."""

from __future__ import annotations

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs.encoding import Level, Target, clipped_floats
from handlers.codecs.files import OutputFile
from handlers.codecs.lame import Lame
from handlers.codecs.tags import id3_bytes
from handlers.errors import BadParameter

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_KBPS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Mp3:
    """MPEG layer III at a constant bitrate, or a variable one by quality."""

    block_frames = BLOCK_FRAMES

    def __init__(self, file: OutputFile, target: Target) -> None:
        quality = target.quality
        self._file = file
        self._lame = Lame(
            rate=target.rate,
            channels=target.channels,
            kbps=(target.bitrate or 0) // 1000 if quality is None else None,
            vbr_quality=None if quality is None else 10.0 - quality,
        )
        self._buffer = np.empty(BLOCK_FRAMES * target.channels, np.float32)
        file.write(id3_bytes(target.metadata))
        self._tag_at = file.size

    def write(self, block: Samples) -> Level:
        """Encode one block."""
        values = self._buffer[: block.size]
        level = clipped_floats(block, values, clip=True)
        self._file.write(self._lame.encode(values))
        return level

    def finish(self, frames: int) -> None:
        """Write what LAME holds back, and the Info frame in the place that was kept for it."""
        if frames:  # LAME cannot end what it has not begun
            self._file.write(self._lame.flush())
        self._file.seek(self._tag_at)
        self._file.write(self._lame.tag_frame())
        self._lame.close()


def bitrate_for(rate: int, asked: int | None, default: int) -> int:
    """The kbit/s to encode at.

    Raises:
        BadParameter: MP3 has no such bitrate at this sample rate.
    """
    table = _KBPS[rate >= 32000]
    if asked is None:
        return min(default, table[-1])
    if asked not in table:
        known = ", ".join(map(str, table))
        raise BadParameter(
            f"mp3 at {rate} Hz has no {asked} kbit/s; it has: {known}", field="bitrate"
        )
    return asked


def nearest_rate(rate: int) -> int:
    """The rate that a sound is resampled to where MP3 lacks its own."""
    if rate in RATES:
        return rate
    if rate > RATES[-1]:
        return 44100 if rate % 11025 == 0 else 48000
    return min(known for known in RATES if known > rate)
