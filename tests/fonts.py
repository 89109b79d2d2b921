"""SoundFonts to test with, written here byte by byte after the SoundFont 2.04 specification.

Their one instrument is a sine that begins at once and holds, so that pitch and
time of what is rendered can be measured to the sample.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

RATE = 44100
KEY, FREQ = 69, 440.0
#: Frames in which the sine turns a whole number of times.
LOOP = 2205
_SAMPLE_MODES, _SAMPLE, _INSTRUMENT = 54, 53, 41


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) % 2)


def group(kind: bytes, *chunks: bytes) -> bytes:
    return chunk(b"LIST", kind + b"".join(chunks))


def sine_font(*, peak: float = 0.5, version: int = 2) -> bytes:
    """A font whose program 0 (and so, as a last resort, every other) is a sine."""
    frames = 4 * LOOP
    wave = np.sin(2 * np.pi * FREQ / RATE * np.arange(frames + 46)) * (peak * 32767)
    wave[frames:] = 0  # 46 zeros follow each sample (section 6.1)
    return chunk(
        b"RIFF",
        b"sfbk"
        + group(
            b"INFO",
            chunk(b"ifil", struct.pack("<HH", version, 4)),
            chunk(b"isng", b"EMU8000\0"),
            chunk(b"INAM", b"One sine\0\0"),
        )
        + group(b"sdta", chunk(b"smpl", np.rint(wave).astype("<i2").tobytes()))
        + group(b"pdta", *_presets(frames)),
    )


def write_font(path: Path, **about: float) -> Path:
    path.write_bytes(sine_font(**about))
    return path


def _presets(frames: int) -> list[bytes]:
    def named(text: bytes, layout: str, *values: int) -> bytes:
        return struct.pack(f"<20s{layout}", text, *values)

    zones = struct.pack("<HH", 0, 0)
    nothing = struct.pack("<HHhHH", 0, 0, 0, 0, 0)
    loops = struct.pack("<HHHH", _SAMPLE_MODES, 1, _SAMPLE, 0)
    end = struct.pack("<HH", 0, 0)
    sample = (0, frames, 2 * LOOP, 3 * LOOP, RATE, KEY, 0, 0, 1)
    return [
        chunk(
            b"phdr",
            named(b"Sine", "HHHIII", 0, 0, 0, 0, 0, 0)
            + named(b"Drums", "HHHIII", 0, 128, 1, 0, 0, 0)
            + named(b"EOP", "HHHIII", 0, 0, 2, 0, 0, 0),
        ),
        chunk(b"pbag", zones + struct.pack("<HH", 1, 0) + struct.pack("<HH", 2, 0)),
        chunk(b"pmod", nothing),
        chunk(b"pgen", struct.pack("<HHHH", _INSTRUMENT, 0, _INSTRUMENT, 0) + end),
        chunk(b"inst", named(b"Sine", "H", 0) + named(b"EOI", "H", 1)),
        chunk(b"ibag", zones + struct.pack("<HH", 2, 0)),
        chunk(b"imod", nothing),
        chunk(b"igen", loops + end),
        chunk(b"shdr", named(b"Sine", "IIIIIBbHH", *sample) + named(b"EOS", "IIIIIBbHH", *[0] * 9)),
    ]
