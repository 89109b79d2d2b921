"""FLAC, MP3 and Ogg Vorbis through libsndfile, which is the fastest for each.

libsndfile is only asked where it is right: it stops early in an MP3 whose
length is an estimate (no Xing tag, or one that lies) and in a FLAC that does
not state its length. Those go to FFmpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.codecs.decoding import Decoding
from handlers.codecs.files import InputFile
from handlers.codecs.sniff import HEAD_BYTES, mpeg_frame
from handlers.errors import UnreadableInput

#: A FLAC frame is at least 10 bytes and at most 65535 samples long.
_FLAC_MIN_FRAME, _FLAC_MAX_SAMPLES = 10, 65535
#: ID3v1 and room for a small APE tag behind the last MP3 frame.
_MP3_TAIL = 8192
#: Some encoders leave the tag's own frame out of the bytes they state.
_MP3_MAX_FRAME = 1441


def open_flac(file: InputFile, start: int) -> Decoding | None:
    """A FLAC file, from its STREAMINFO (RFC 9639 section 8.2).

    None if its length is not stated, or libsndfile cannot open it (a damaged tag is enough).

    Raises:
        UnreadableInput: the header is damaged, or states more than such a file can hold.
    """
    raw = file.read(42, start)
    if len(raw) < 42 or raw[4] & 0x7F != 0:
        raise file.unreadable("ends inside its FLAC header")
    packed = int.from_bytes(raw[18:26], "big")
    rate, channels = packed >> 44, (packed >> 41 & 7) + 1
    depth, frames = (packed >> 36 & 31) + 1, packed & (1 << 36) - 1
    if rate == 0:
        raise file.unreadable("is damaged: its FLAC header states a rate of 0 Hz")
    if frames == 0:
        return None
    if frames > (file.size // _FLAC_MIN_FRAME + 1) * _FLAC_MAX_SAMPLES:
        raise file.unreadable(
            f"is cut short or damaged: it states {frames} frames, more than {file.size} bytes hold"
        )
    opened = _try(file, "FLAC")
    if opened is None:
        return None
    opened.close()
    return Decoding(
        codec="flac",
        sample_fmt="s16" if depth <= 16 else "s32",
        rate=rate,
        channels=channels,
        frames=frames,
        start=_pass(file, "FLAC", rate, channels),
        bit_depth=depth,
        bit_rate=_average(file.size - start, frames, rate),
        # All zeros say that the encoder left it out.
        md5=raw[26:42].hex() if any(raw[26:42]) else None,
    )


def open_mp3(file: InputFile, start: int) -> Decoding | None:
    """An MP3 whose Xing or Info tag states its length; None for any other."""
    head = file.read(HEAD_BYTES, start)
    frame = mpeg_frame(head)
    if frame is None or head[1] >> 1 & 3 != 1:
        return None
    size, rate, channels, _, _ = frame
    side = (32 if channels == 2 else 17) if head[1] >> 3 & 3 == 3 else 17 if channels == 2 else 9
    tag = head[4 + side : size]
    if tag[:4] not in (b"Xing", b"Info") or tag[7] & 3 != 3:
        return None
    stated = int.from_bytes(tag[12:16], "big")
    if file.size - start > stated + _MP3_TAIL:
        # Files joined end to end begin with a tag that counts only the first.
        return None
    there = file.size - start
    if there < stated - _MP3_MAX_FRAME:
        raise file.unreadable(f"is cut short: {there} of {stated} bytes of MP3 are there")
    opened = _try(file, "MP3")
    if opened is None:
        return None
    frames = opened.frames
    opened.close()
    if opened.samplerate != rate or opened.channels != channels:
        return None
    return Decoding(
        codec="mp3",
        sample_fmt="fltp",
        rate=rate,
        channels=channels,
        frames=frames,
        start=_pass(file, "MP3", rate, channels),
        bit_rate=_average(min(stated, file.size - start), frames, rate),
    )


def open_vorbis(file: InputFile) -> Decoding | None:
    """An Ogg file that is one Vorbis stream and nothing else; None if libsndfile cannot open it."""
    opened = _try(file, "OGG")
    if opened is None:
        return None
    rate, channels, frames = opened.samplerate, opened.channels, opened.frames
    opened.close()
    return Decoding(
        codec="vorbis",
        sample_fmt="fltp",
        rate=rate,
        channels=channels,
        frames=frames if 0 < frames < 2**62 else None,
        start=_pass(file, "OGG", rate, channels),
        bit_rate=_average(file.size, frames, rate) if 0 < frames < 2**62 else None,
    )


def _average(size: int, frames: int, rate: int) -> int | None:
    return round(size * 8 * rate / frames) if frames else None


def vorbis_order(channels: int) -> list[int] | None:
    """For each channel in Vorbis' order, which one it is in WAVE's; None where they agree.

    libsndfile neither reads nor writes them in another order than the file's
    (Vorbis I specification, section 4.3.9).
    """
    return {
        3: [0, 2, 1],
        5: [0, 2, 1, 3, 4],
        6: [0, 2, 1, 4, 5, 3],
        7: [0, 2, 1, 5, 6, 4, 3],
        8: [0, 2, 1, 6, 7, 4, 5, 3],
    }.get(channels)


def _try(file: InputFile, kind: str) -> Any:
    try:
        return _open(file, kind)
    except UnreadableInput:
        return None  # FFmpeg may be more forgiving, or will say what is wrong


def _open(file: InputFile, kind: str) -> Any:
    import soundfile

    try:
        opened = soundfile.SoundFile(file.path)
    except soundfile.LibsndfileError as wrong:
        raise file.unreadable(f"cannot be decoded: {wrong.error_string}") from wrong
    if opened.format != kind:
        # libsndfile sniffs for itself; it must not see something else than we did.
        opened.close()
        raise file.unreadable(f"looks like {kind} and like {opened.format} at once")
    return opened


def _pass(file: InputFile, kind: str, rate: int, channels: int) -> Callable[[], Iterator[Samples]]:
    def blocks() -> Iterator[Samples]:
        import soundfile

        from handlers.kernels import pcm

        order = vorbis_order(channels) if kind == "OGG" else None
        buffer = np.empty((BLOCK_FRAMES, channels), np.float32)
        done = 0
        with _open(file, kind) as opened:
            if (opened.samplerate, opened.channels) != (rate, channels):
                raise file.unreadable("states one rate or channel count and holds another")
            while True:
                try:
                    count = len(opened.read(out=buffer))
                except soundfile.LibsndfileError as wrong:
                    raise file.unreadable(
                        f"is cut short or damaged after {done / rate:.2f} s: {wrong.error_string}"
                    ) from wrong
                if count == 0:
                    return
                out = np.empty((channels, count), np.float32)
                pcm.from_float(buffer[:count].reshape(-1), out)
                done += count
                yield out if order is None else out[np.argsort(order)]

    return blocks
