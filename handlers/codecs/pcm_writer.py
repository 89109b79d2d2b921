"""WAV (RF64 where it must be), AIFF and headerless PCM.

Sources: Multimedia Programming Interface (1991), mmreg.h (WAVE_FORMAT_EXTENSIBLE),
EBU Tech 3306 (RF64: a JUNK chunk that becomes ds64), AIFF-C (Apple 1991).
"""

from __future__ import annotations

import math
import struct

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs.encoding import Level, Raw, Target
from handlers.codecs.files import OutputFile
from handlers.codecs.metadata import riff_chunks
from handlers.codecs.tags import id3_bytes
from handlers.errors import CannotProcess

#: Sizes beyond this need RF64: a RIFF size has 32 bits, and all ones means "unknown".
RIFF_LIMIT = 2**32 - 2
#: Room left below the limit for what is written behind the samples.
_BEHIND = 64 << 20
#: Speakers of 1..8 channels in WAVE order, as dwChannelMask.
_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
_GUID = bytes.fromhex("000000001000800000aa00389b71")


class Wav:
    """RIFF/WAVE. Integers or float; more than two channels as WAVE_FORMAT_EXTENSIBLE."""

    block_frames = BLOCK_FRAMES

    def __init__(self, file: OutputFile, target: Target) -> None:
        self._file, self._target = file, target
        self._raw = Raw(file, target.channels, target.depth, big_endian=False)
        expected = None if target.frames is None else target.frames * self._raw.frame_bytes
        self._reserved = expected is None or expected > RIFF_LIMIT - _BEHIND
        head = b"RIFF\0\0\0\0WAVE"
        if self._reserved:
            head += b"JUNK" + struct.pack("<I", 28) + bytes(28)
        head += self._format()
        if target.depth == "32f":
            self._fact_at = len(head) + 8
            head += b"fact" + struct.pack("<II", 4, 0)
        self._data_at = len(head) + 8
        file.write(head + b"data\0\0\0\0")

    def _format(self) -> bytes:
        target, frame = self._target, self._raw.frame_bytes
        tag = 3 if target.depth == "32f" else 1
        bits = frame // target.channels * 8
        fields = (target.channels, target.rate, target.rate * frame, frame, bits)
        if target.channels > 2:
            body = struct.pack("<HHIIHH", 0xFFFE, *fields)
            mask = _MASKS.get(target.channels, 0)
            body += struct.pack("<HHIH", 22, bits, mask, tag) + _GUID
        elif tag == 3:
            body = struct.pack("<HHIIHHH", tag, *fields, 0)
        else:
            body = struct.pack("<HHIIHH", tag, *fields)
        return b"fmt " + struct.pack("<I", len(body)) + body

    def write(self, block: Samples) -> Level:
        """Write one block."""
        return self._raw.write(block)

    def finish(self, frames: int) -> None:
        """Write the chunks behind the samples, and the sizes."""
        file = self._file
        size = frames * self._raw.frame_bytes
        tail = b"\0" * (size & 1)
        for kind, body in riff_chunks(self._target.metadata, self._target.rate, frames):
            tail += kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
        file.write(tail)
        riff = file.size - 8
        wide = riff > RIFF_LIMIT
        if wide and not self._reserved:
            raise CannotProcess(
                f"the sound is longer than the {self._target.frames} frames it states"
            )
        if wide:
            file.seek(0)
            file.write(b"RF64\xff\xff\xff\xffWAVEds64")
            file.write(struct.pack("<IQQQI", 28, riff, size, frames, 0))
        else:
            file.seek(4)
            file.write(struct.pack("<I", riff))
        if self._target.depth == "32f":
            file.seek(self._fact_at)
            file.write(struct.pack("<I", min(frames, 2**32 - 1)))
        file.seek(self._data_at - 4)
        file.write(struct.pack("<I", 2**32 - 1 if wide else size))


class Aiff:
    """AIFF, or AIFF-C for float."""

    block_frames = BLOCK_FRAMES

    def __init__(self, file: OutputFile, target: Target) -> None:
        self._file, self._target = file, target
        self._raw = Raw(file, target.channels, target.depth, big_endian=True)
        bits = self._raw.frame_bytes // target.channels * 8
        common = struct.pack(">HIH", target.channels, 0, bits) + _extended(target.rate)
        float_ = target.depth == "32f"
        if float_:
            common += b"fl32" + b"\x1732-bit floating point\0"[:24]
        head = b"FORM\0\0\0\0" + (b"AIFC" if float_ else b"AIFF")
        if float_:
            head += b"FVER" + struct.pack(">II", 4, 0xA2805140)
        common += b"\0" * (len(common) & 1)
        self._frames_at = len(head) + 8 + 2
        head += b"COMM" + struct.pack(">I", len(common)) + common
        self._size_at = len(head) + 4
        file.write(head + b"SSND" + bytes(12))

    def write(self, block: Samples) -> Level:
        """Write one block.

        Raises:
            CannotProcess: the file would pass 4 GiB, which AIFF cannot state.
        """
        if self._file.size > RIFF_LIMIT - _BEHIND:
            raise CannotProcess("AIFF cannot hold more than 4 GiB; wav (as RF64) or flac can")
        return self._raw.write(block)

    def finish(self, frames: int) -> None:
        """Write the tags and the sizes."""
        file = self._file
        size = frames * self._raw.frame_bytes
        tail = b"\0" * (size & 1)
        tag = id3_bytes(self._target.metadata)
        if tag:
            tail += b"ID3 " + struct.pack(">I", len(tag)) + tag + b"\0" * (len(tag) & 1)
        file.write(tail)
        for at, value in ((4, file.size - 8), (self._frames_at, frames), (self._size_at, size + 8)):
            file.seek(at)
            file.write(struct.pack(">I", value))


def _extended(rate: int) -> bytes:
    """A positive whole number as an 80-bit IEEE 754 extended number."""
    mantissa, exponent = math.frexp(rate)
    return struct.pack(">HQ", exponent - 1 + 16383, int(mantissa * 2**64))


class HeaderlessPcm:
    """Interleaved little endian 16-bit samples and nothing else."""

    block_frames = BLOCK_FRAMES

    def __init__(self, file: OutputFile, target: Target) -> None:
        self._raw = Raw(file, target.channels, "16", big_endian=False)

    def write(self, block: Samples) -> Level:
        """Write one block."""
        return self._raw.write(block)

    def finish(self, frames: int) -> None:
        """Nothing is left to do."""
