"""A video file: pictures and their sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handlers.artifacts import Samples
from handlers.codecs.av_writer import AAC_RATES, BITEXACT, LAYOUTS, OPUS_RATES
from handlers.codecs.encoding import clipped_floats

Container = Literal["mp4", "webm"]

MEDIA_TYPES: dict[Container, str] = {"mp4": "video/mp4", "webm": "video/webm"}

#: What H.273 calls BT.709, for primaries, transfer and matrix; and limited range.
_BT709, _LIMITED = 1, 1
_VIDEO: dict[Container, tuple[str, dict[str, str]]] = {
    # With x264's `mbtree` the same pictures give other bytes now and then (seen with B-frames);
    # without it they never did, and it is faster.
    "mp4": ("libx264", {"preset": "veryfast", "crf": "22", "x264-params": "mbtree=0"}),
    # `crf` with a bit rate of 0 is constant quality; row-mt spreads a picture over cores.
    "webm": (
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "32", "b": "0"},
    ),
}
_SOUND: dict[Container, tuple[str, str, int]] = {
    "mp4": ("aac", "fltp", 96000),
    "webm": ("libopus", "flt", 80000),
}


def sound_rate(container: Container, rate: int) -> int:
    """The rate at which a sound of `rate` is written: its own, or 48 kHz."""
    # Players of video need not know AAC at more than 48 kHz.
    known = OPUS_RATES if container == "webm" else [r for r in AAC_RATES if r <= 48000]
    return rate if rate in known else 48000


class Film:
    """Writes H.264 and AAC as MP4, or VP9 and Opus as WebM."""

    def __init__(
        self,
        path: Path,
        container: Container,
        *,
        width: int,
        height: int,
        fps: int,
        rate: int,
        channels: int,
    ) -> None:
        """`rate` must be that of `sound_rate`; `width` and `height` even for MP4."""
        import av

        options = {"fflags": "+bitexact"}
        if container == "mp4":
            # The index comes first, so that a player can begin before it has all.
            options["movflags"] = "+faststart"
        self._file: Any = av.open(str(path), "w", format=container, options=options)
        self._rate, self._layout = rate, LAYOUTS[channels]
        codec, settings = _VIDEO[container]
        video: Any = self._file.add_stream(codec, rate=fps, options=settings)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.flags |= BITEXACT
        context.time_base = Fraction(1, fps)
        context.thread_count = 0
        context.color_range = _LIMITED
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        codec, layout, per_channel = _SOUND[container]
        sound: Any = self._file.add_stream(codec, rate=rate, layout=self._layout)
        sound.codec_context.flags |= BITEXACT
        sound.codec_context.format = layout
        sound.codec_context.bit_rate = per_channel * channels
        sound.time_base = Fraction(1, rate)
        self._video, self._sound = video, sound
        self._at = 0

    def add_sound(self, block: Samples) -> None:
        """The next piece of sound, within full scale."""
        import av

        values = np.empty(block.size, np.float32)
        clipped_floats(block, values, clip=True)
        frame = av.AudioFrame.from_ndarray(values.reshape(1, -1), format="flt", layout=self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._at
        self._at += block.shape[1]
        self._file.mux(self._sound.encode(frame))

    def add_picture(self, picture: Any) -> None:
        """The next picture; its `pts` counts pictures."""
        # The encoder decides; what a filter says about its picture is about that filter.
        picture.pict_type = 0
        self._file.mux(self._video.encode(picture))

    def finish(self) -> None:
        """Write what the encoders hold back."""
        for stream in (self._video, self._sound):
            self._file.mux(stream.encode(None))

    def close(self) -> None:
        """Write the index, if it was finished, and let go of the file."""
        self._file.close()
