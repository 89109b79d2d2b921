"""The Info frame in front of an MP3: exact length, encoder delay and padding, seek table.

An MP3 encoder puts some samples in front and fills up the last frame; without
this frame a player plays those as silence and cannot know the length.

Sources: ISO 11172-3 (frame header), "VBR header" (Xing), Gabriel Bouvigne,
"Mp3 info tag revision 1" (the LAME extension).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from handlers.codecs.sniff import mpeg_frame
from handlers.kernels.pcm import crc16

#: Samples that LAME's filter bank puts in front (its decoder-independent encoder delay).
ENCODER_DELAY = 576
_NEEDED = 4 + 32 + 120 + 36


@dataclass
class FrameCounter:
    """Counts MPEG frames in bytes that come in pieces, and where they began."""

    frames: int = 0
    size: int = 0
    first: bytes = b""
    _skip: int = 0
    _rest: bytes = b""
    _starts: list[int] = field(default_factory=list)

    def take(self, data: bytes) -> None:
        """The next bytes of the stream."""
        base = self.size - len(self._rest)
        self.size += len(data)
        data = self._rest + data
        at = self._skip
        while at + 4 <= len(data):
            frame = mpeg_frame(data[at : at + 4])
            if frame is None:
                raise RuntimeError("the MP3 encoder wrote bytes that are no frames")
            if not self.first:
                self.first = data[at : at + 4]
            self._starts.append(base + at)
            self.frames += 1
            at += frame[0]
        if at >= len(data):
            self._skip, self._rest = at - len(data), b""
        else:
            self._skip, self._rest = 0, data[at:]

    def seek_table(self, offset: int, total: int) -> bytes:
        """For each percent of the time, where in the file it is, in 256ths."""
        table = bytearray()
        for percent in range(100):
            index = min(self.frames - 1, self.frames * percent // 100) if self.frames else 0
            place = offset + self._starts[index] if self._starts else 0
            table.append(min(255, place * 256 // max(1, total)))
        return bytes(table)


def header_for(rate: int, channels: int, kbps: int) -> tuple[bytes, int]:
    """A frame header with room for the tag, and the frame's size.

    The frame has the stream's own bitrate if that is large enough.
    """
    version = 3 if rate >= 32000 else 2 if rate >= 16000 else 0
    rates = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
    candidates = []
    for index in range(1, 15):
        second = 0xE0 | version << 3 | 1 << 1 | 1
        third = index << 4 | rates[version].index(rate) << 2
        raw = bytes((0xFF, second, third, 0x40 if channels == 2 else 0xC0))
        frame = mpeg_frame(raw)
        if frame is not None and frame[0] >= _NEEDED:
            candidates.append((abs(frame[3] - kbps), raw, frame[0]))
    _, raw, size = min(candidates)
    return raw, size


def info_frame(
    *,
    header: bytes,
    size: int,
    counter: FrameCounter,
    music_crc: int,
    samples: int,
    samples_per_frame: int,
    peak: float,
    kbps: int,
    vbr_quality: float | None,
) -> bytes:
    """The finished frame of `size` bytes.

    Args:
        samples: length of the sound in frames of PCM.
        vbr_quality: LAME's V value, or None for a constant bitrate.
    """
    padding = counter.frames * samples_per_frame - ENCODER_DELAY - samples
    mpeg1, mono = header[1] >> 3 & 3 == 3, header[3] >> 6 == 3
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    total = size + counter.size
    frame = bytearray(size)
    frame[:4] = header
    at = 4 + side
    quality = 0 if vbr_quality is None else round(100 - 10 * vbr_quality)
    xing = b"Info" if vbr_quality is None else b"Xing"
    xing += struct.pack(">III", 15, counter.frames, total)
    xing += counter.seek_table(size, total) + struct.pack(">I", max(0, min(100, quality)))
    method = 1 if vbr_quality is None else 4
    lame = b"LAME3.100" + bytes((method, 0))
    lame += struct.pack(">I", min(round(peak * 2**23), 2**31))
    lame += bytes(4) + bytes((0, min(255, kbps)))
    lame += (ENCODER_DELAY << 12 | max(0, min(4095, padding))).to_bytes(3, "big")
    lame += bytes((0, 0, 0, 0)) + struct.pack(">IH", total, music_crc)
    body = xing + lame
    frame[at : at + len(body)] = body
    end = at + len(body)
    crc = crc16(np.frombuffer(bytes(frame[:end]), np.uint8), 0)
    frame[end : end + 2] = struct.pack(">H", crc)
    return bytes(frame)
