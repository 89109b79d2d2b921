"""All that a file says beside its samples, read from it and written into a copy of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from handlers.artifacts import SourceFacts
from handlers.codecs import layout
from handlers.codecs.files import InputFile, OutputFile
from handlers.errors import AudiollaError, CannotProcess
from handlers.tagging.chapters import Chapter
from handlers.tagging.names import MAX_TAG, Picture, Tagging, bounded
from handlers.tagging.rewriting import rewrite, slot
from handlers.tagging.stores import find_store

if TYPE_CHECKING:
    from handlers.tagging.riff import RiffTags

_COPY = 1 << 20


class Chaptered(Protocol):
    """A tag that holds chapters."""

    def chapters(self) -> list[Chapter]:
        """Chapters in order of time."""

    def put_chapters(self, chapters: Sequence[Chapter]) -> None:
        """Replace the chapters."""


@dataclass(frozen=True)
class Contents:
    """What a file says."""

    values: Mapping[str, tuple[str, ...]]
    raw: Mapping[str, list[str]]
    pictures: Sequence[Picture] = ()
    chapters: Sequence[Chapter] = ()
    #: Production chunks of a WAV, as `Metadata.chunks`.
    chunks: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """What is to become different. None, or a name that is not there: it stays as it is."""

    #: Common names; no values: it is removed.
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Sequence[Picture] | None = None
    chapters: Sequence[Chapter] | None = None
    #: Chunks of a WAV by `rewriting.slot`; None: it is removed.
    chunks: Mapping[str, bytes | None] = field(default_factory=dict)


def read_contents(file: InputFile, facts: SourceFacts) -> Contents:
    """Read what a file says; nothing is decoded.

    Raises:
        UnreadableInput: its tags are damaged, or larger than any that mean well.
    """
    chunks = facts.metadata.chunks
    with _named_refusals(file):
        if facts.container in ("wav", "aiff"):
            header = layout.read_header(file, facts.container)
            tags: Tagging = _read_text(file, header, aiff=facts.container == "aiff")
        else:
            load = find_store(facts.container, facts.codec)
            if load is None:
                known = facts.metadata
                raw = {name: list(values) for name, values in known.tags.items()}
                return Contents(known.tags, raw, known.pictures, _by_ffmpeg(file, facts), chunks)
            with open(file.path, "rb") as opened:
                tags = load(opened).tags
        chapters = _chapters(tags)
        found = _by_ffmpeg(file, facts) if chapters is None else chapters
        return Contents(tags.values(), tags.raw(), bounded(tags.pictures()), found, chunks)


def write_copy(file: InputFile, facts: SourceFacts, out: OutputFile, changes: Changes) -> None:
    """Write a copy of a file that says something else and sounds the same, bit for bit.

    Raises:
        CannotProcess: the container holds no tags, or not these.
        UnreadableInput: its tags are damaged, or larger than any that mean well.
        StorageFull, StorageFailed: the disk.
    """
    with _named_refusals(file):
        if facts.container in ("wav", "aiff"):
            _rewrite(file, facts, out, changes)
            return
        load = find_store(facts.container, facts.codec)
        if load is None or facts.container == "aac":
            raise CannotProcess(
                f"{file.name} is {facts.container} ({facts.codec}), a container that holds no "
                "tags, or none that can be written; known are WAV, AIFF, MP3, FLAC, Ogg, MP4 and "
                "WavPack",
                field="tags",
            )
        _copy(file, out)
        out.seek(0)
        store = load(out)
        _apply(store.tags, changes, facts)
        store.save(out)
        out.check()


def _rewrite(file: InputFile, facts: SourceFacts, out: OutputFile, changes: Changes) -> None:
    from handlers.tagging import riff

    aiff = facts.container == "aiff"
    header = layout.read_header(file, facts.container)
    tags = _read_text(file, header, aiff=aiff)
    _apply(tags, changes, facts)
    wanted: dict[str, bytes | None] = {
        where: None for chunk in header.every if riff.is_text(where := slot(file, chunk), aiff=aiff)
    }
    wanted |= tags.chunks()
    wanted |= changes.chunks
    rewrite(file, header, out, wanted)


def _read_text(file: InputFile, header: layout.Header, *, aiff: bool) -> RiffTags:
    from handlers.tagging import riff

    bodies = []
    for chunk in header.every:
        where = slot(file, chunk)
        if riff.is_text(where, aiff=aiff):
            if chunk.size > MAX_TAG:
                raise file.unreadable(f"has a {where} chunk of {chunk.size} bytes")
            bodies.append((where, file.read(chunk.size, chunk.offset)))
    return riff.read_text(bodies, aiff=aiff)


def _apply(tags: Tagging, changes: Changes, facts: SourceFacts) -> None:
    for name, values in changes.values.items():
        tags.put(name, values)
    if changes.pictures is not None:
        tags.put_pictures(changes.pictures)
    if changes.chapters is not None:
        if _chapters(tags) is None:
            raise CannotProcess(
                f"chapters cannot be written into {facts.container} ({facts.codec}); known are "
                "MP3, WAV and AIFF (ID3), FLAC and Ogg",
                field="chapters",
            )
        cast(Chaptered, tags).put_chapters(changes.chapters)


def _chapters(tags: Tagging) -> list[Chapter] | None:
    """The chapters; None where this kind of tag holds none."""
    return cast(Chaptered, tags).chapters() if hasattr(tags, "put_chapters") else None


def _by_ffmpeg(file: InputFile, facts: SourceFacts) -> list[Chapter]:
    """Chapters that are a stream or a list of the container's own."""
    if facts.container not in ("mov", "matroska"):
        return []
    from handlers.codecs.av_reader import chapters

    return [
        Chapter.model_construct(start=start, end=end, title=title)
        for start, end, title in chapters(file, facts.container)
    ]


def _copy(file: InputFile, out: OutputFile) -> None:
    done = 0
    while piece := file.read(_COPY, done):
        out.write(piece)
        out.check()
        done += len(piece)


@contextmanager
def _named_refusals(file: InputFile) -> Iterator[None]:
    try:
        yield
    except (AudiollaError, OSError, MemoryError):
        raise
    except Exception as wrong:  # mutagen answers damage with IndexError and more
        raise file.unreadable(f"has tags that cannot be read: {wrong}") from wrong
