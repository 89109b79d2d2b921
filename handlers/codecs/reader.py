"""Opens a user's file as a sound, whatever container and codec it has.

The container is found by its first bytes (`sniff`), and exactly one reader is
asked. Opening reads headers and decodes at most one packet; every pass decodes
anew, in flat memory.

| Container | Codec | Reader |
|---|---|---|
| WAV, RF64, BW64, W64, AIFF, CAF, AU | integers, floats, A-law, mu-law | our own |
| FLAC; MP3 with a length tag; Ogg Vorbis | | libsndfile |
| all others, and compressed codecs in those above | | FFmpeg |
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from handlers.artifacts import Blocks, Metadata, Samples, SourceFacts
from handlers.codecs import layout
from handlers.codecs.complete import completeness
from handlers.codecs.decoding import Decoding
from handlers.codecs.files import InputFile
from handlers.codecs.sniff import sniff_file
from handlers.errors import TooLarge, UnreadableInput
from handlers.units import Hertz, Seconds

MAX_CHANNELS = 32
MIN_RATE, MAX_RATE = 8000, 384_000


@dataclass(frozen=True)
class Caps:
    """What one sound may decode to, held while it is decoded: a header claims what it likes."""

    #: 4 for each sample of each channel; None is no cap.
    max_bytes: int | None = None
    max_seconds: Seconds | None = None
    max_channels: int = MAX_CHANNELS

    def check(self, file: InputFile, frames: int, channels: int, rate: Hertz) -> None:
        """Refuse what is beyond them.

        Raises:
            TooLarge: says which cap, and the figure.
        """
        size = frames * channels * 4
        if self.max_bytes is not None and size > self.max_bytes:
            raise TooLarge(
                f"{file.name} decodes to more than {self.max_bytes} bytes "
                f"({math.ceil(size / 2**20)} MiB or more); that is the limit"
            )
        if self.max_seconds is not None and frames > self.max_seconds * rate:
            raise TooLarge(
                f"{file.name} lasts longer than {self.max_seconds:g} s "
                f"({frames / rate:.0f} s or more); that is the limit"
            )


NO_CAPS = Caps()


class Source(Blocks):
    """A sound that is decoded from a file, as `open_sound` makes it."""

    facts: SourceFacts

    def __init__(self, file: InputFile, decoding: Decoding, facts: SourceFacts, caps: Caps) -> None:
        super().__init__(
            self._pass,
            rate=decoding.rate,
            channels=decoding.channels,
            frames=decoding.frames,
            facts=facts,
        )
        self._file = file
        self._decoding = decoding
        self._caps = caps
        #: Samples that were NaN or infinite and became 0 in the last whole pass; None before it.
        self.nonfinite_samples: int | None = None

    def _pass(self) -> Iterator[Samples]:
        from handlers.kernels.pcm import clean

        self._file.check_unchanged()
        stated = self._decoding.frames
        done = nonfinite = 0
        for decoded in self._decoding.start():
            block = decoded
            if stated is not None and done + block.shape[1] > stated:
                block = np.ascontiguousarray(block[:, : stated - done])
            if block.shape[1] == 0:
                break
            done += block.shape[1]
            self._caps.check(self._file, done, self.channels, self.rate)
            nonfinite += clean(block)
            yield block
        done += yield from self._end(done)
        # Some decoders take what is missing for the end, and what is new for more of the sound.
        self._file.check_unchanged()
        self.nonfinite_samples = nonfinite
        self._frames = done

    def _end(self, done: int) -> Generator[Samples, None, int]:
        """Judge where a pass ended; yields the silence that a lossy codec's last packet lacks."""
        decoding, second = self._decoding, self.rate
        missing = (decoding.frames or done) - done
        if 0 < missing <= decoding.slack and done:
            yield np.zeros((self.channels, missing), np.float32)
            return missing
        expected = (decoding.frames or 0) / second
        if decoding.about_seconds is not None:
            # Half a second: the container's length is rounded and counts what is skipped.
            expected = max(expected, decoding.about_seconds)
            missing = round((expected - 0.5) * second) - done
        if missing > 0:
            raise self._file.unreadable(
                f"is cut short or damaged: {done / second:.2f} s of {expected:.2f} s are there"
            )
        if done == 0:
            raise self._file.unreadable("holds no sound: it has no samples")
        return 0


def open_sound(
    path: str | os.PathLike[str], *, name: str | None = None, caps: Caps = NO_CAPS
) -> Source:
    """Open a file as a sound; nothing is decoded beyond one packet.

    Args:
        path: a regular file. Links are refused.
        name: what messages and `facts.name` call it; default the path's last part.
        caps: on the decoded sound, held while decoding.

    Returns:
        The sound. `frames` is exact; where the container does not state it,
        asking for it costs a pass. NaN and infinite samples become 0, and
        `nonfinite_samples` counts them after a pass. Passes raise
        `UnreadableInput` where the file ends before its stated length,
        `TooLarge` at the cap, `StorageFailed` where the disk fails.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableInput: it is no regular file, is empty, cut short or damaged,
            has no sound, or has more channels than allowed or a rate outside
            8..384 kHz.
        TooLarge: it states more samples than the caps allow.
    """
    file = InputFile(path, name)
    try:
        container, start = sniff_file(file.fd)
    except UnreadableInput as refused:
        raise UnreadableInput(f"{file.name}: {refused.detail}") from None
    header = None
    if container in layout.CONTAINERS:
        header = layout.read_header(file, container)
    else:
        state = completeness(file.fd)
        if state.verdict == "short":
            raise file.unreadable(f"is cut short: {state}")
    decoding = _open(file, container, start, header)
    if not 1 <= decoding.channels <= caps.max_channels:
        raise file.unreadable(
            f"has {decoding.channels} channels; 1 to {caps.max_channels} can be processed"
        )
    if not MIN_RATE <= decoding.rate <= MAX_RATE:
        raise file.unreadable(
            f"has {decoding.rate} samples per second; {MIN_RATE} to {MAX_RATE} can be processed"
        )
    if decoding.frames == 0:
        raise file.unreadable("holds no sound: it has no samples")
    caps.check(file, decoding.frames or 0, decoding.channels, decoding.rate)
    return Source(file, decoding, _facts(file, container, header, decoding), caps)


def _open(file: InputFile, container: str, start: int, header: layout.Header | None) -> Decoding:
    if header is not None and header.layout is not None:
        from handlers.codecs.pcm_reader import open_pcm

        return open_pcm(file, header.layout)
    from handlers.codecs import sndfile_reader

    found: Decoding | None = None
    if container == "flac":
        found = sndfile_reader.open_flac(file, start)
    elif container == "mp3":
        found = sndfile_reader.open_mp3(file, start)
    elif container == "ogg" and _only_vorbis(file):
        found = sndfile_reader.open_vorbis(file)
    if found is not None:
        return found
    from handlers.codecs.av_reader import open_av

    return open_av(file, container)


def _only_vorbis(file: InputFile) -> bool:
    """Whether an Ogg file is one Vorbis stream: no second stream beside it, none after it."""
    head = file.read(4096, 0)
    if len(head) < 64 or head[28:35] != b"\x01vorbis":
        return False
    second = 27 + head[26] + sum(head[27 : 27 + head[26]])
    if head[second : second + 4] != b"OggS" or head[second + 5] & 2:
        return False
    tail = file.read(65536 + 27, max(0, file.size - 65536 - 27))
    last = tail.rfind(b"OggS")
    return last >= 0 and tail[last + 14 : last + 18] == head[14:18]


def _facts(
    file: InputFile,
    container: str,
    header: layout.Header | None,
    decoding: Decoding,
) -> SourceFacts:
    from handlers.codecs.metadata import read_metadata

    chunks = header.chunks if header is not None else []
    found = read_metadata(file, container, decoding.codec, chunks, decoding.tags)
    span = (decoding.rate, decoding.frames) if decoding.frames is not None else None
    return SourceFacts(
        name=file.name,
        size_bytes=file.size,
        container=container,
        codec=decoding.codec,
        sample_fmt=decoding.sample_fmt,
        bit_depth=decoding.bit_depth,
        bit_rate=decoding.bit_rate,
        md5=decoding.md5,
        metadata=Metadata(found.tags, found.pictures, found.chunks, span),
        file=file,
    )
