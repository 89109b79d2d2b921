"""Opus, AAC and M4A through FFmpeg's encoders.

Samples are given interleaved and in whole blocks; PyAV cuts them into the
codec's frames and makes planes of them. It cannot be given eight planes.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs import tags
from handlers.codecs.encoding import Level, Target, clipped_floats
from handlers.codecs.files import OutputFile

OPUS_RATES = (48000,)
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "3.0",
    4: "quad",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}
#: AV_CODEC_FLAG_BITEXACT: no version of the encoder in the file.
BITEXACT = 1 << 23


class _Encoder:
    """One encoder and its container."""

    block_frames = BLOCK_FRAMES

    def __init__(
        self,
        file: OutputFile,
        target: Target,
        *,
        container: str,
        codec: str,
        codec_options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        finish: Callable[[OutputFile], None] | None = None,
    ) -> None:
        import av

        self._file, self._target, self._finish = file, target, finish
        self._container: Any = av.open(
            file,
            "w",
            format=container,
            options={"fflags": "+bitexact", **(container_options or {})},
        )
        self._layout = LAYOUTS[target.channels]
        stream: Any = self._container.add_stream(
            codec, rate=target.rate, layout=self._layout, options=codec_options or {}
        )
        context = stream.codec_context
        context.flags |= BITEXACT
        context.bit_rate = target.bitrate
        # libopus takes interleaved floats, FFmpeg's own encoder planes.
        context.format = "flt" if codec == "libopus" else "fltp"
        stream.time_base = Fraction(1, target.rate)
        context.open()
        self._stream = stream
        self._buffer = np.empty(self.block_frames * target.channels, np.float32)
        self._at = 0

    def write(self, block: Samples) -> Level:
        """Encode one block."""
        import av

        values = self._buffer[: block.size]
        level = clipped_floats(block, values, clip=True)
        frame = av.AudioFrame.from_ndarray(values.reshape(1, -1), format="flt", layout=self._layout)
        frame.sample_rate = self._target.rate
        frame.time_base = Fraction(1, self._target.rate)
        frame.pts = self._at
        self._at += block.shape[1]
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
        self._file.check()
        return level

    def finish(self, frames: int) -> None:
        """Write what the encoder holds back, and the tags."""
        if frames:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        self._container.close()
        self._file.check()
        if self._finish is not None:
            self._finish(self._file)


def opus(file: OutputFile, target: Target) -> _Encoder:
    """Opus in Ogg, always at 48 kHz; complexity 5 is twice as fast as 10 and close to it."""
    return _Encoder(
        file,
        target,
        container="ogg",
        codec="libopus",
        codec_options={"compression_level": "5", "application": "audio", "vbr": "on"},
        finish=lambda out: tags.write_ogg(out, target.metadata, "opus"),
    )


def aac(file: OutputFile, target: Target) -> _Encoder:
    """AAC in ADTS, which cannot say that its first 1024 samples are the encoder's."""
    return _Encoder(file, target, container="adts", codec="aac")


def m4a(file: OutputFile, target: Target) -> _Encoder:
    """AAC in MP4. The edit list counts in samples, so the length is exact."""
    return _Encoder(
        file,
        target,
        container="ipod",
        codec="aac",
        container_options={"movie_timescale": str(target.rate)},
        finish=lambda out: tags.write_mp4(out, target.metadata),
    )
