"""MP3 through LAME, with the tag that makes it gapless."""

from __future__ import annotations

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs import lame_tag
from handlers.codecs.encoding import Integers, Level, Target
from handlers.codecs.files import OutputFile
from handlers.codecs.tags import id3_bytes
from handlers.errors import BadParameter
from handlers.kernels.pcm import crc16

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_KBPS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
#: LAME's own speed setting: 5 sounds like 2 at twice its speed.
_EFFORT = 5


class Mp3:
    """MPEG layer III at a constant bitrate, or a variable one by quality."""

    block_frames = BLOCK_FRAMES

    def __init__(self, file: OutputFile, target: Target) -> None:
        import lameenc

        self._file = file
        self._integers = Integers(target.channels, 16)
        self._encoder = lameenc.Encoder()
        self._encoder.silence()
        self._encoder.set_channels(target.channels)
        self._encoder.set_in_sample_rate(target.rate)
        # Stated, or LAME resamples by itself at low bitrates.
        self._encoder.set_out_sample_rate(target.rate)
        self._encoder.set_quality(_EFFORT)
        self._vbr: float | None = None
        if target.quality is not None:
            self._vbr = 10.0 - target.quality
            self._encoder.set_vbr(4)
            self._encoder.set_vbr_quality(min(9.0, self._vbr))
        self._kbps = (target.bitrate or 0) // 1000
        if self._vbr is None:
            self._encoder.set_bit_rate(self._kbps)
        self._samples_per_frame = 1152 if target.rate >= 32000 else 576
        self._counter = lame_tag.FrameCounter()
        self._crc = 0
        self._peak = 0.0
        file.write(id3_bytes(target.metadata))
        self._tag_at = file.size
        kbps = self._kbps or 128
        self._header, self._tag_size = lame_tag.header_for(target.rate, target.channels, kbps)
        file.write(bytes(self._tag_size))

    def write(self, block: Samples) -> Level:
        """Encode one block."""
        values, level = self._integers.take(block)
        self._peak = max(self._peak, min(1.0, level.peak))
        self._take(bytes(self._encoder.encode(values.tobytes())))
        return level

    def _take(self, data: bytes) -> None:
        self._counter.take(data)
        self._crc = crc16(np.frombuffer(data, np.uint8), self._crc)
        self._file.write(data)

    def finish(self, frames: int) -> None:
        """Write what LAME holds back, and the tag in front."""
        if frames:  # LAME cannot end what it has not begun
            self._take(bytes(self._encoder.flush()))
        if self._counter.first:
            # The same mode bits as the stream, so that no decoder starts anew behind the tag.
            kept = self._counter.first[3] & 0xCF
            self._header = self._header[:3] + bytes((kept,))
        frame = lame_tag.info_frame(
            header=self._header,
            size=self._tag_size,
            counter=self._counter,
            music_crc=self._crc,
            samples=frames,
            samples_per_frame=self._samples_per_frame,
            peak=self._peak,
            kbps=self._kbps,
            vbr_quality=self._vbr,
        )
        self._file.seek(self._tag_at)
        self._file.write(frame)


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
