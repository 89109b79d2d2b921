"""Writes a sound as a file: one pass, flat memory, the same bytes every time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handlers.ahead import ahead
from handlers.artifacts import Blocks, Metadata, Samples
from handlers.codecs.checking import check_written
from handlers.codecs.decoding import reblocked
from handlers.codecs.encoding import Encoder, Level, Target
from handlers.codecs.files import OutputFile
from handlers.codecs.formats import Encoding
from handlers.codecs.resample import resampled
from handlers.errors import BadParameter, CannotProcess

#: Channel counts that a format can hold; the reader takes no more than 32.
CHANNELS: Mapping[str, Sequence[int]] = {
    "wav": range(1, 33),
    "aiff": range(1, 33),
    "pcm": range(1, 33),
    "flac": range(1, 9),
    "ogg": range(1, 9),
    # FFmpeg's libopus encoder (5.1 to 8.1) swaps the speakers of 5.0 and 6.1.
    "opus": (1, 2, 3, 4, 6, 8),
    "aac": range(1, 9),
    "m4a": range(1, 9),
    "mp3": (1, 2),
}


@dataclass(frozen=True)
class Written:
    """What has been written."""

    frames: int
    rate: int
    channels: int
    #: Bytes of the file.
    size: int
    #: Largest magnitude before clipping, linear; 1.0 is full scale.
    peak: float
    #: Samples beyond full scale that were clipped; float targets clip none.
    clipped: int
    #: By how many dB the peak was beyond full scale where it was clipped, else 0.
    over_db: float
    #: The rate that the format demanded, where it was not the sound's own.
    resampled_to: int | None = None
    #: Samples that were NaN or infinite and became 0.
    nonfinite: int = 0


def write_sound(
    sound: Blocks,
    path: str | os.PathLike[str],
    encoding: Encoding,
    *,
    metadata: Metadata | None = None,
    on_block: Callable[[int], None] | None = None,
) -> Written:
    """Encode a sound to exactly `path`, which is replaced if it exists.

    A rate that the format lacks is resampled (soxr, high quality) and reported.
    Depth is reduced with triangular dither; samples that fit already are kept
    bit for bit. Only integer and lossy targets clip. The file is not synced.

    Args:
        metadata: what to write beside the sound; None takes that of the file
            the sound came from, `Metadata()` none. See `handlers.codecs.metadata`.
        on_block: called after each block of `sound` with its number of frames;
            may raise to stop.

    Raises:
        CannotProcess: the format cannot hold so many channels or such a length.
        BadParameter: it has no such bitrate.
        StorageFull, StorageFailed: the disk; what was written so far is left.
    """
    target = _target(sound, encoding, metadata)
    source = resampled(_watched(sound, on_block), target.rate)
    reached = Level()
    frames = 0
    with OutputFile(path) as file:
        encoder = _encoder(encoding.format, file, target)
        blocks = reblocked(iter(source), target.channels, encoder.block_frames)
        # A lossy encoder takes longer than the whole chain before it: let both work.
        for block in ahead(blocks) if encoding.target.lossy else blocks:
            reached.add(encoder.write(np.ascontiguousarray(block, np.float32)))
            frames += block.shape[1]
            file.check()
        encoder.finish(frames)
        size = file.size
    check_written(
        path,
        encoding.format,
        frames=frames,
        channels=target.channels,
        depth=target.depth,
        size=size,
    )
    clips = encoding.target.lossy or target.depth != "32f"
    over = 20 * math.log10(reached.peak) if clips and reached.peak > 1 else 0.0
    return Written(
        frames=frames,
        rate=target.rate,
        channels=target.channels,
        size=size,
        peak=reached.peak,
        clipped=reached.clipped if clips else 0,
        over_db=over,
        resampled_to=target.rate if target.rate != sound.rate else None,
        nonfinite=reached.nonfinite,
    )


def _target(sound: Blocks, encoding: Encoding, metadata: Metadata | None) -> Target:
    known = CHANNELS[encoding.format]
    if sound.channels not in known:
        counts = f"up to {known[-1]}" if isinstance(known, range) else ", ".join(map(str, known))
        raise CannotProcess(
            f"{encoding.format} holds {counts} channels and the sound has {sound.channels}; "
            "convert it to fewer, or write wav",
            field="output_format",
        )
    if metadata is None:
        metadata = sound.facts.metadata if sound.facts else Metadata()
    rate = _rate(encoding.format, sound.rate)
    frames = sound.stated_frames
    return Target(
        rate=rate,
        channels=sound.channels,
        depth=_depth(sound, encoding),
        bitrate=_bitrate(encoding, rate, sound.channels),
        quality=encoding.quality,
        metadata=metadata,
        frames=frames if rate == sound.rate else None,
    )


def _rate(format: str, rate: int) -> int:
    """The format's own rate that is nearest from above, or the highest."""
    from handlers.codecs import av_writer, mp3_writer

    if format == "mp3":
        return mp3_writer.nearest_rate(rate)
    if format == "opus":
        return av_writer.OPUS_RATES[0]
    if format in ("aac", "m4a"):
        known = av_writer.AAC_RATES
        return rate if rate in known else min((r for r in known if r > rate), default=known[-1])
    if format == "ogg":
        return min(rate, 192_000)
    return rate


def _depth(sound: Blocks, encoding: Encoding) -> str:
    """`16`, `24` or `32f`."""
    target = encoding.target
    if target.lossy:
        return "16"
    asked = encoding.bit_depth or target.bit_depths[0]
    if asked != "source":
        return asked
    bits = sound.facts.bit_depth if sound.facts else None
    floats = sound.facts is not None and sound.facts.sample_fmt.startswith(("flt", "dbl"))
    if encoding.format == "flac":
        return "16" if bits is not None and bits <= 16 else "24"
    if bits is None:
        return target.bit_depths[0]
    return "32f" if floats or bits > 24 else "24" if bits > 16 else "16"


def _bitrate(encoding: Encoding, rate: int, channels: int) -> int | None:
    default = encoding.target.default_bitrate
    if default is None or encoding.quality is not None:
        return None
    if encoding.format == "mp3":
        from handlers.codecs.mp3_writer import bitrate_for

        return bitrate_for(rate, encoding.bitrate, default) * 1000
    kbps = encoding.bitrate or default
    if encoding.format == "opus":
        most = 256 * channels
        if encoding.bitrate and kbps > most:
            raise BadParameter(
                f"opus has at most {most} kbit/s for {channels} channel(s), not {kbps}",
                field="bitrate",
            )
        kbps = min(kbps, most)
    return kbps * 1000


def _encoder(format: str, file: OutputFile, target: Target) -> Encoder:
    from handlers.codecs import av_writer, mp3_writer, pcm_writer, sndfile_writer

    kinds: Mapping[str, Callable[[OutputFile, Target], Encoder]] = {
        "wav": pcm_writer.Wav,
        "aiff": pcm_writer.Aiff,
        "pcm": pcm_writer.HeaderlessPcm,
        "flac": sndfile_writer.Flac,
        "ogg": sndfile_writer.Vorbis,
        "mp3": mp3_writer.Mp3,
        "opus": av_writer.opus,
        "aac": av_writer.aac,
        "m4a": av_writer.m4a,
    }
    return kinds[format](file, target)


def _watched(sound: Blocks, on_block: Callable[[int], None] | None) -> Blocks:
    if on_block is None:
        return sound

    def blocks() -> Iterator[Samples]:
        for block in sound:
            yield block
            on_block(block.shape[1])

    return sound.like(blocks)
