"""Everything else through FFmpeg's libraries: Opus, AAC, ALAC, WavPack, Matroska, video files.

The demuxer is chosen by us and no other is allowed, nested ones included; the
only protocol is a local file, opened by path. Both matter: a playlist under
any name would make FFmpeg open other files, and a file object lifts the
restriction on protocols. Decoders are limited to sound, so no picture in a
video file is ever decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from handlers.artifacts import Samples
from handlers.codecs.decoding import Decoding, reblocked
from handlers.codecs.files import InputFile

_DECODERS = (
    "aac,aac_latm,ac3,eac3,alac,ape,dca,flac,libopus,opus,vorbis,mp1,mp1float,mp2,mp2float,mp3,"
    "mp3float,truehd,mlp,wavpack,tta,wmav1,wmav2,gsm,gsm_ms,adpcm_ima_wav,adpcm_ms,adpcm_ima_qt,"
    "adpcm_g722,adpcm_g726,adpcm_g726le,adpcm_swf,adpcm_yamaha,mace3,mace6,qdm2,qdmc,qcelp,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd"
)

#: PyAV counts planes up to the first that is NULL, and a frame has room for eight pointers: with
#: eight or more planes it runs into other memory (PyAV 18.1). FFmpeg interleaves those for us.
_TOO_MANY_PLANES = 8
#: MPEG audio without a length tag is cut and joined at will, and each join spoils a frame or
#: two that lean on what was before. Every player skips those.
_FORGIVING = frozenset({"mp1float", "mp2float", "mp3float", "mp1", "mp2", "mp3"})


def open_av(file: InputFile, demuxer: str) -> Decoding:
    """The first audio stream of a file, read by the one demuxer named.

    One packet is decoded, because only that shows the true rate of HE-AAC.

    Raises:
        UnreadableInput: it cannot be opened, or holds no audio that can be decoded.
    """
    with _Opened(file, demuxer) as opened:
        first = opened.first_frame()
        rate, channels = first.sample_rate, len(first.layout.channels)
        stream, codec = opened.stream, opened.stream.codec_context
        frames = _stated_frames(opened, rate)
        seconds = None
        if frames is None and demuxer == "matroska" and opened.container.duration:
            seconds = opened.container.duration / 1_000_000
        name = _codec_name(codec.name)
        tags = {**opened.container.metadata, **stream.metadata}
        depth = _bit_depth(name, codec.extradata or b"", file, demuxer)
        bit_rate = codec.bit_rate or opened.container.bit_rate or None
        exact_end = demuxer == "mov" and frames is not None
        slack = 2 * (codec.frame_size or 1024) if exact_end and depth is None else 0
        sample_fmt = first.format.name
    return Decoding(
        codec=name,
        sample_fmt=sample_fmt,
        rate=rate,
        channels=channels,
        frames=frames,
        start=lambda: reblocked(_pass(file, demuxer, rate, channels), channels),
        bit_depth=depth,
        bit_rate=bit_rate,
        slack=slack,
        about_seconds=seconds,
        tags=tags,
    )


def chapters(file: InputFile, demuxer: str) -> list[tuple[float, float, str]]:
    """Begin and end in seconds, and title, of each chapter that the container lists.

    Raises:
        UnreadableInput: it cannot be opened.
    """
    with _Opened(file, demuxer) as opened:
        return [
            (
                float(c["start"] * (c["time_base"] or 0)),
                float(c["end"] * (c["time_base"] or 0)),
                c["metadata"].get("title", ""),
            )
            for c in opened.container.chapters()
        ]


class _Opened:
    """A container with its first audio stream."""

    def __init__(self, file: InputFile, demuxer: str) -> None:
        import av
        from av.stream import Discard

        self._file = file
        try:
            self.container: Any = av.open(
                f"file:{file.path}",
                format=demuxer,
                options={
                    "format_whitelist": demuxer,
                    "protocol_whitelist": "file",
                    "codec_whitelist": _DECODERS,
                },
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError) as wrong:
            raise file.unreadable(
                f"cannot be read as {demuxer}; it is damaged or cut short ({_reason(wrong)})"
            ) from wrong
        if not self.container.streams.audio:
            self.container.close()
            raise file.unreadable(
                f"holds no sound: there is no audio stream in this {demuxer} file"
            )
        self.stream: Any = self.container.streams.audio[0]
        for other in self.container.streams:
            if other is not self.stream:
                other.discard = Discard.all

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def decoded(self) -> Iterator[Any]:
        """All frames of the stream, gapless information applied by FFmpeg."""
        import av

        done = Fraction(0)
        good = bad = 0
        try:
            for packet in self.container.demux(self.stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    bad += 1
                    if self.stream.codec_context.name not in _FORGIVING or bad > 8 + good // 50:
                        raise
                    continue
                good += 1
                for frame in frames:
                    done += Fraction(frame.samples, frame.sample_rate)
                    yield frame
        except av.FFmpegError as wrong:
            raise self._file.unreadable(
                f"is cut short or damaged after {float(done):.2f} s ({_reason(wrong)})"
            ) from wrong

    def first_frame(self) -> Any:
        """The first frame that has samples."""
        if self.stream.codec_context is None:
            raise self._file.unreadable("holds sound in a codec that is not known")
        for frame in self.decoded():
            if frame.samples:
                return frame
        raise self._file.unreadable("holds no sound: its audio stream is empty")


def _reason(wrong: Exception) -> str:
    return str(getattr(wrong, "strerror", None) or wrong)


def _stated_frames(opened: _Opened, rate: int) -> int | None:
    """The exact length where the container has it in samples, else None."""
    stream, demuxer = opened.stream, opened.container.format.name
    if demuxer.startswith("mov"):
        return _end_of_last_packet(opened, rate)
    if not stream.duration:
        return None
    exact = stream.duration * stream.time_base * rate
    if exact.denominator != 1:
        return None
    if demuxer in ("wv", "tta", "flac"):
        return int(exact)
    if demuxer == "ogg" and stream.codec_context.name == "opus" and not stream.start_time:
        # The last granule position counts what the decoder skips at the start (RFC 7845 4.2).
        skip = int.from_bytes((stream.codec_context.extradata or b"")[10:12], "little")
        return int(exact) - skip if int(exact) > skip else None
    return None


def _end_of_last_packet(opened: _Opened, rate: int) -> int | None:
    """Where the last packet of an MP4 ends, on the timeline that begins at the edit list's start.

    FFmpeg itself plays the last packet whole; the edit list, in coarser units
    than samples, cannot tell the exact end either. The packet's duration can.
    """
    import av

    stream = opened.stream
    if not stream.duration or (stream.time_base * rate).numerator == 0:
        return None
    end = None
    try:
        opened.container.seek(max(0, stream.duration - 1), stream=stream)
        for packet in opened.container.demux(stream):
            if packet.pts is not None and packet.duration:
                end = max(end or 0, packet.pts + packet.duration)
    except av.FFmpegError:
        return None  # the pass will say what is wrong, and where
    if end is None or end <= 0:
        return None
    exact = end * stream.time_base * rate
    return int(exact) if exact.denominator == 1 else None


def _codec_name(decoder: str) -> str:
    """The codec's name from its decoder's: `mp3float` decodes `mp3`."""
    return {"mp3float": "mp3", "mp2float": "mp2", "mp1float": "mp1", "libopus": "opus"}.get(
        decoder, decoder
    )


def _bit_depth(codec: str, extra: bytes, file: InputFile, demuxer: str) -> int | None:
    """Bits per sample as stored, for codecs that keep every bit."""
    plain = re.fullmatch(r"pcm_[suf](\d+)(le|be)?", codec)
    if plain:
        return int(plain[1])
    if codec in ("pcm_alaw", "pcm_mulaw"):
        return 8
    if codec == "alac" and len(extra) >= 18:
        return extra[17]  # ALACSpecificConfig behind a 12-byte box header
    if codec == "flac" and len(extra) >= 18:
        return (int.from_bytes(extra[-34:][10:18], "big") >> 36 & 31) + 1
    if codec == "wavpack" and demuxer == "wv":
        flags = int.from_bytes(file.read(4, 24), "little")
        return ((flags & 3) + 1) * 8 - (flags >> 13 & 31)
    return None


def _pass(file: InputFile, demuxer: str, rate: int, channels: int) -> Iterator[Samples]:
    convert = _Converter(channels)
    with _Opened(file, demuxer) as opened:
        for frame in opened.decoded():
            if frame.sample_rate != rate or len(frame.layout.channels) != channels:
                raise file.unreadable(
                    f"changes from {channels} channels at {rate} Hz to "
                    f"{len(frame.layout.channels)} at {frame.sample_rate} Hz midway"
                )
            if frame.samples:
                yield from convert(frame)
        yield from convert(None)


class _Converter:
    """Frames as samples."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._packer: Any = None

    def __call__(self, frame: Any) -> Iterator[Samples]:
        """The samples of one frame; None ends the sound and gives what was held back."""
        frames = [frame]
        if self._packer is not None or (
            frame is not None and frame.format.is_planar and self._channels >= _TOO_MANY_PLANES
        ):
            frames = self._packed(frame)
        for piece in frames:
            if piece is not None:
                yield _FORMATS[piece.format.name.removesuffix("p")](piece, self._channels)

    def _packed(self, frame: Any) -> list[Any]:
        from av import AudioResampler

        if self._packer is None:
            self._packer = AudioResampler(format=frame.format.name.removesuffix("p"))
        packed: list[Any] = self._packer.resample(frame)
        return packed


def _planes(frame: Any, channels: int) -> Any:
    values = frame.to_ndarray()
    return values if frame.format.is_planar else values.reshape(-1, channels).T


def _floats(frame: Any, channels: int) -> Samples:
    # What is no number or too large for float32 is for the reader to replace and count.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(_planes(frame, channels), np.float32, order="C")


def _scaled(by: float) -> Callable[[Any, int], Samples]:
    scale = np.float32(by)

    def read(frame: Any, channels: int) -> Samples:
        return np.ascontiguousarray(_planes(frame, channels) * scale, np.float32)

    return read


_FORMATS: dict[str, Callable[[Any, int], Samples]] = {
    "u8": lambda frame, channels: np.ascontiguousarray(
        (_planes(frame, channels).astype(np.float32) - 128) / 128
    ),
    "s16": _scaled(2.0**-15),
    "s32": _scaled(2.0**-31),
    "flt": _floats,
    "dbl": _floats,
}
