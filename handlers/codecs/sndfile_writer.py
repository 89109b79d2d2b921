"""FLAC and Ogg Vorbis through libsndfile, into a file of ours.

libsndfile does not notice a full disk, gives Ogg streams a random serial
number and can hold only a few tags. So it writes into an object that checks
every write, puts our own metadata blocks into the FLAC's head while it passes,
and gives every Ogg page a fixed number.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs import tags
from handlers.codecs.encoding import Integers, Level, Target, clipped_floats
from handlers.codecs.files import OutputFile
from handlers.codecs.sndfile_reader import vorbis_order

#: FLAC marker and STREAMINFO; libFLAC comes back to fill these in, and to nothing behind them.
_FLAC_HEAD = 42
#: Room for a tag editor, so that it need not rewrite the file.
_FLAC_PADDING = 4096
_OGG_SERIAL = 0x41554449


class Flac:
    """FLAC of 16 or 24 bits."""

    block_frames = BLOCK_FRAMES

    def __init__(self, file: OutputFile, target: Target) -> None:
        import soundfile

        # libsndfile takes 24 bits in the upper part of 32.
        self._integers = Integers(
            target.channels, int(target.depth), shift=8 * (target.depth == "24")
        )
        self._channels = target.channels
        self._file = file
        self._encoder: Any = soundfile.SoundFile(
            _FlacOut(file, target),
            "w",
            target.rate,
            target.channels,
            f"PCM_{target.depth}",
            format="FLAC",
        )

    def write(self, block: Samples) -> Level:
        """Encode one block."""
        values, level = self._integers.take(block)
        self._encoder.write(values.reshape(-1, self._channels))
        self._file.check()
        return level

    def finish(self, _frames: int) -> None:
        """Write what is held back, and the length and checksum in front."""
        self._encoder.close()


class _FlacOut:
    """Where libFLAC writes: its comment block is replaced by ours, the rest moves along."""

    def __init__(self, file: OutputFile, target: Target) -> None:
        self._file, self._metadata = file, target.metadata
        self._head: bytes | None = b""
        self._moved = 0
        self._at = 0
        self._size = 0

    def write(self, data: bytes) -> int:
        raw = bytes(data)
        if self._head is not None:
            self._head += raw
            self._at += len(raw)
            self._size = max(self._size, self._at)
            self._pass_head()
            return len(raw)
        self._file.seek(self._at if self._at < _FLAC_HEAD else self._at + self._moved)
        done = self._file.write(raw)
        self._at += done
        self._size = max(self._size, self._at)
        return done

    def _pass_head(self) -> None:
        head = self._head or b""
        at = 4
        while at + 4 <= len(head):
            kind, size = head[at], int.from_bytes(head[at + 1 : at + 4], "big")
            at += 4 + size
            if kind & 0x80 and at <= len(head):
                ours = head[:4] + bytes((head[4] & 0x7F,)) + head[5:_FLAC_HEAD] + self._blocks()
                self._moved = len(ours) - at
                self._file.write(ours + head[at:])
                self._head = None
                return

    def _blocks(self) -> bytes:
        blocks = [(4, tags.comment_block(self._metadata, "reference libFLAC"))]
        blocks += [(6, picture) for picture in tags.flac_pictures(self._metadata)]
        blocks.append((0x81, bytes(_FLAC_PADDING)))
        return b"".join(
            bytes((kind,)) + len(body).to_bytes(3, "big") + body for kind, body in blocks
        )

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, _count: int) -> bytes:
        raise OSError("a file that is being written cannot be read")


class Vorbis:
    """Ogg Vorbis; always of variable bitrate, whose mean is near the one asked for."""

    block_frames = 8192  # one long write crashes libvorbis, which keeps it on the stack

    def __init__(self, file: OutputFile, target: Target) -> None:
        import soundfile

        self._file, self._target = file, target
        self._out = _OggOut(file)
        self._buffer = np.empty(self.block_frames * target.channels, np.float32)
        quality = target.quality
        if quality is None:
            quality = _quality_for((target.bitrate or 0) / 1000 / target.channels)
        self._encoder: Any = soundfile.SoundFile(
            self._out,
            "w",
            target.rate,
            target.channels,
            "VORBIS",
            format="OGG",
            compression_level=1 - quality / 10,
        )

    def write(self, block: Samples) -> Level:
        """Encode one block."""
        values = self._buffer[: block.size]
        order = vorbis_order(self._target.channels)
        level = clipped_floats(block if order is None else block[order], values, clip=True)
        self._encoder.write(values.reshape(-1, self._target.channels))
        self._file.check()
        return level

    def finish(self, _frames: int) -> None:
        """Write the last pages, then the tags."""
        self._encoder.close()
        self._file.check()
        tags.write_ogg(self._file, self._target.metadata, "vorbis")


#: libvorbis' nominal kbit/s per channel at 44.1 kHz stereo, for quality 0, 1, ... 10.
_NOMINAL = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 250)


def _quality_for(kbps: float) -> float:
    return float(np.interp(kbps, _NOMINAL, range(11)))


class _OggOut:
    """Where libogg's pages go; each gets our serial number and its checksum anew."""

    def __init__(self, file: OutputFile) -> None:
        self._file = file
        self._page = b""
        self._at = 0

    def write(self, data: bytes) -> int:
        from handlers.kernels.pcm import crc32_ogg

        raw = bytes(data)
        self._at += len(raw)
        self._page += raw
        while len(self._page) >= 27:
            segments = self._page[26]
            size = 27 + segments + sum(self._page[27 : 27 + segments])
            if len(self._page) < max(size, 27 + segments):
                break
            page = bytearray(self._page[:size])
            self._page = self._page[size:]
            page[14:18] = struct.pack("<I", _OGG_SERIAL)
            page[22:26] = bytes(4)
            crc = crc32_ogg(np.frombuffer(bytes(page), np.uint8))
            page[22:26] = struct.pack("<I", crc)
            self._file.write(bytes(page))
        return len(raw)

    def seek(self, _offset: int, _whence: int = os.SEEK_SET) -> int:
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, _count: int) -> bytes:
        raise OSError("a file that is being written cannot be read")
