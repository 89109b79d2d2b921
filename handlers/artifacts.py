"""What operations take and give: sounds whole or in blocks, pictures, MIDI, reports.

Every sound is float32, shaped `(channels, frames)`, full scale at 1.0. Values
beyond full scale are kept; only an encoder for an integer or lossy target
clips, and says by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from handlers.codecs.files import InputFile
from handlers.errors import CannotProcess

Samples = NDArray[np.float32]
"""float32, `(channels, frames)`, C-contiguous."""

BLOCK_FRAMES = 32768
"""Frames per block. 256 KiB of stereo: stays in a core's L2 cache through a fused chain."""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its sound beside the samples.

    `tags` are the common text fields under their Vorbis comment names in
    lower case (`title`, `artist`, `album`, `date`, `tracknumber`, ...).
    `pictures` are `(mime, type, description, data)`. `chunks` are RIFF chunks
    that carry positions or production facts (`cue `, `smpl`, `bext`, `iXML`,
    ...), raw, by four-character id; positions in them count frames at the
    rate of the source. `span` is what they count in: rate and frames of that
    source; a sound of another rate or length must not be written with them.
    """

    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pictures: tuple[tuple[str, int, str, bytes], ...] = ()
    chunks: Mapping[str, bytes] = field(default_factory=dict)
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class SourceFacts:
    """The file a sound came from, as its container describes it."""

    name: str
    size_bytes: int
    container: str
    """Short name, e.g. `wav`, `flac`, `mp3`, `ogg`, `mov`, `matroska`."""
    codec: str
    """FFmpeg's name, e.g. `pcm_s16le`, `flac`, `mp3`, `opus`, `aac`."""
    sample_fmt: str
    """FFmpeg's name, e.g. `s16`, `s32`, `flt`, `fltp`."""
    bit_depth: int | None = None
    """Bits per sample as stored; None where it has no meaning (lossy codecs)."""
    bit_rate: int | None = None
    md5: str | None = None
    """MD5 of the samples before they were encoded, in hex, where the file states it (FLAC)."""
    metadata: Metadata = field(default_factory=Metadata)
    file: InputFile | None = field(default=None, compare=False, repr=False)
    """The file itself, for operations that work on it (`SourceFile`)."""


class Blocks:
    """A sound that is read piece by piece, in flat memory, as often as needed.

    Iterating starts a new pass from the first frame and yields C-contiguous
    float32 blocks `(channels, n)`, `n >= 1`; a sound without frames yields
    nothing. Whoever receives a block must not write into it.
    """

    def __init__(
        self,
        make: Callable[[], Iterator[Samples]],
        *,
        rate: int,
        channels: int,
        frames: int | None,
        about_frames: int | None = None,
        facts: SourceFacts | None = None,
        beside: object | None = None,
    ) -> None:
        """Where only reading tells the length, `about_frames` may say what it will be, roughly."""
        self._make = make
        self._frames = frames
        self._about = about_frames
        self.rate = rate
        self.channels = channels
        self.facts = facts
        #: The same for sounds that one pass makes: cheapest read side by side, block by block.
        self.beside = beside

    def __iter__(self) -> Iterator[Samples]:
        return self._make()

    @property
    def stated_frames(self) -> int | None:
        """Length in frames where it is known without a pass, else None."""
        return self._frames

    @property
    def expected_frames(self) -> int | None:
        """The length, or what it will be, roughly; None where nobody knows. For progress."""
        return self._about if self._frames is None else self._frames

    @property
    def frames(self) -> int:
        """Length in frames. Where the container does not tell, one pass counts them."""
        if self._frames is None:
            self._frames = sum(block.shape[1] for block in self)
        return self._frames

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate

    def like(
        self,
        make: Callable[[], Iterator[Samples]],
        *,
        rate: int | None = None,
        channels: int | None = None,
        frames: int | None = None,
        beside: object | None = None,
    ) -> Blocks:
        """A sound made from this one; `make` starts one pass over it.

        Rate, channels and frames stay those of this sound unless given; `beside`
        only where its blocks are those of this sound, one for one. It is
        the function that is handed over, not its iterator: a later step may
        need a second pass (measure, then apply).
        """
        return Blocks(
            make,
            rate=rate or self.rate,
            channels=channels or self.channels,
            frames=self._frames if frames is None else frames,
            about_frames=None if rate else self._about,
            facts=self.facts,
            beside=beside,
        )

    def remembered(self, limit_bytes: int) -> Blocks:
        """The same sound, kept in memory by its first whole pass if it fits.

        A sound larger than `limit_bytes` is computed again on every pass.
        """
        if self._frames is not None and self._frames * self.channels * 4 > limit_bytes:
            return self
        kept: list[Samples] | None = None

        def passes() -> Iterator[Samples]:
            nonlocal kept
            if kept is not None:
                yield from kept
                return
            keeping: list[Samples] | None = []
            size = 0
            for block in self:
                if keeping is not None:
                    size += block.nbytes
                    if size > limit_bytes:
                        keeping = None
                    else:
                        keeping.append(block)
                yield block
            kept = keeping

        return self.like(passes)

    def whole(self, into: Callable[[tuple[int, int]], Samples] | None = None) -> Audio:
        """Read everything. `into` may place the samples elsewhere than in memory.

        Raises:
            CannotProcess: the sound ends before its stated length.
        """
        frames = self.frames
        samples = (into or _in_memory)((self.channels, frames))
        at = 0
        for block in self:
            samples[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        if at != frames:
            raise CannotProcess(f"The sound ends after {at} of {frames} frames.")
        return Audio(samples, self.rate, self.facts)


def _in_memory(shape: tuple[int, int]) -> Samples:
    return np.empty(shape, np.float32)


@dataclass(frozen=True)
class Audio:
    """A whole sound: float32 `(channels, frames)` at `rate` samples per second."""

    samples: Samples
    rate: int
    facts: SourceFacts | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        """Length in frames."""
        return int(self.samples.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate

    def like(self, samples: Samples) -> Audio:
        """The same sound with other samples (any shape `(channels, frames)`)."""
        return replace(self, samples=samples)

    def blocks(self) -> Blocks:
        """This sound piece by piece."""

        def views() -> Iterator[Samples]:
            for at in range(0, self.frames, BLOCK_FRAMES):
                yield np.ascontiguousarray(self.samples[:, at : at + BLOCK_FRAMES])

        return Blocks(
            views, rate=self.rate, channels=self.channels, frames=self.frames, facts=self.facts
        )


class SoundItem(BaseModel):
    """One entry of a list of sounds, with settings of its own (a mixer's track)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    _sound: Blocks | None = PrivateAttr(default=None)

    @property
    def sound(self) -> Blocks:
        """The opened sound of this entry."""
        if self._sound is None:
            raise RuntimeError("this entry's sound has not been opened yet")
        return self._sound

    def opened(self, sound: Blocks) -> SoundItem:
        """A copy of this entry that holds its sound."""
        item = self.model_copy()
        item._sound = sound
        return item


class NamedSound(SoundItem):
    """A sound that a parameter names; the surfaces have resolved the name."""

    name: str = Field("", description="The name, as the parameter has it.")


class NamedFile(SoundItem):
    """A file that holds no sound (a picture) and that a parameter names."""

    name: str = Field("", description="The name, as the parameter has it.")
    _file: InputFile | None = PrivateAttr(default=None)

    @property
    def file(self) -> InputFile:
        """The open file."""
        if self._file is None:
            raise RuntimeError("this entry's file has not been opened yet")
        return self._file

    def holding(self, file: InputFile) -> NamedFile:
        """A copy of this entry that holds its file."""
        item = self.model_copy()
        item._file = file
        return item


@dataclass(frozen=True)
class SourceFile:
    """The file that a sound lies in: for work on what is around the samples.

    It is there as long as no step has changed the sound.
    """

    file: InputFile
    #: What lies in it.
    sound: Blocks
    #: Makes (once) and names a folder for new files, removed when the job has ended.
    scratch: Callable[[], Path]


@dataclass(frozen=True)
class Png:
    """A picture, as PNG bytes."""

    data: bytes
    media_type: ClassVar[str] = "image/png"
    ext: ClassVar[str] = "png"
    kind: ClassVar[str] = "png"


@dataclass(frozen=True)
class Svg:
    """A drawing, as SVG bytes (UTF-8)."""

    data: bytes
    media_type: ClassVar[str] = "image/svg+xml"
    ext: ClassVar[str] = "svg"
    kind: ClassVar[str] = "svg"


@dataclass(frozen=True)
class Midi:
    """A Standard MIDI File, as bytes."""

    data: bytes
    media_type: ClassVar[str] = "audio/midi"
    ext: ClassVar[str] = "mid"
    kind: ClassVar[str] = "midi"


@dataclass(frozen=True)
class Video:
    """A finished video in a scratch file that the caller moves away."""

    path: Path
    ext: str
    media_type: str
    kind: ClassVar[str] = "video"


@dataclass(frozen=True)
class FileCopy:
    """A changed copy of the source in its own container, in a scratch file."""

    path: Path
    ext: str
    media_type: str
    kind: ClassVar[str] = "file"


@dataclass(frozen=True)
class TextFile:
    """A small file that belongs to a report, e.g. its markers; as bytes."""

    data: bytes
    ext: str
    media_type: str
    kind: ClassVar[str] = "text"


File = Png | Svg | Midi | Video | FileCopy | TextFile
"""Every artifact that is a finished file rather than a sound."""

Artifact = Blocks | Audio | Png | Svg | Midi | Video | FileCopy | TextFile
"""Everything that is delivered."""


class Result(BaseModel):
    """Several things at once: named sounds or files, and facts about them.

    Fields that hold an artifact become deliverables, and so does a dict of
    sounds by name, where their number is not known beforehand; all others are
    the descriptor, as JSON. A Result without artifacts is a report; it may have
    some that are None unless they were asked for (`midi: Midi | None = None`).
    """

    model_config = ConfigDict(
        frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False, defer_build=True
    )

    def descriptor(self) -> dict[str, Any]:
        """The fields that are facts, ready for JSON."""
        deliver = {name for name in type(self).model_fields if self._delivers(name)}
        return self.model_dump(mode="json", exclude=deliver)

    def artifacts(self) -> list[tuple[str, Artifact]]:
        """All sounds and files, in order, without those left None.

        They are named after their fields; those in a dict after their keys.
        """
        return [found for field in self._fields() for found in _artifacts_of(*field)]

    @classmethod
    def _delivers(cls, name: str) -> bool:
        return bool(artifact_types(cls.model_fields[name].annotation))

    def _fields(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in type(self).model_fields]


def artifact_types(annotation: Any) -> tuple[type[Any], ...]:
    """The artifacts that a type may hold: `Midi | None`, `dict[str, Blocks]`, ..."""
    if annotation in get_args(Artifact):
        return (annotation,)
    return tuple(found for part in get_args(annotation) for found in artifact_types(part))


def _artifacts_of(name: str, value: Any) -> list[tuple[str, Artifact]]:
    if isinstance(value, Artifact):
        return [(name, value)]
    if isinstance(value, dict):
        return [(key, v) for key, v in value.items() if isinstance(v, Blocks | Audio)]
    return []
