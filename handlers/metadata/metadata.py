"""Tags, pictures, chapters and production facts of a file: read, and written into a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from handlers.artifacts import Blocks, FileCopy, NamedFile, Result, SourceFacts, SourceFile
from handlers.codecs.chunks import cue_chunks
from handlers.codecs.files import OutputFile
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter, CannotProcess
from handlers.tagging.chapters import Chapter, in_order
from handlers.tagging.names import (
    MAX_PICTURES,
    MAX_TAGS,
    MAX_TEXT,
    NUMBERED,
    common_name,
    is_name,
    numbered,
)
from handlers.tagging.pictures import NewPicture, PictureFacts, loaded, shown
from handlers.tagging.production import (
    Bext,
    BextRead,
    Cue,
    Loop,
    Sampler,
    changed_bext,
    changed_smpl,
    cue_point,
    read_bext,
    read_cues,
    read_ixml,
    read_smpl,
)
from handlers.units import SampleRate, Seconds

if TYPE_CHECKING:
    from handlers.tagging.contents import Changes

#: The contract's fields, and the common names that they stand for.
_FIELDS: Mapping[str, str] = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "genre": "genre",
    "year": "date",
    "comment": "comment",
    "track_number": "tracknumber",
    "bpm": "bpm",
    "key": "key",
    "encoder": "encoder",
}
#: Media types, and the extension where the source's name has none.
_KINDS: Mapping[str, tuple[str, str]] = {
    "wav": ("audio/wav", "wav"),
    "aiff": ("audio/aiff", "aiff"),
    "mp3": ("audio/mpeg", "mp3"),
    "flac": ("audio/flac", "flac"),
    "ogg": ("audio/ogg", "ogg"),
    "mov": ("audio/mp4", "m4a"),
    "wv": ("audio/x-wavpack", "wv"),
    "asf": ("audio/x-ms-wma", "wma"),
    "tta": ("audio/x-tta", "tta"),
    "dsf": ("audio/x-dsf", "dsf"),
    "dff": ("audio/x-dff", "dff"),
    "ape": ("audio/x-ape", "ape"),
    "mpc": ("audio/x-musepack", "mpc"),
}

TagValue = str | int | float | list[str] | None
"""One text, a number, several texts; an empty text, an empty list or null removes the field."""


def _texts(value: TagValue) -> list[str]:
    parts = value if isinstance(value, list) else [] if value is None else [value]
    texts = (f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
    return [text for text in texts if text.strip()]


class Metadata(Params):
    """What to change. Without any, the file is only read."""

    tags: dict[str, TagValue] | None = Field(
        None,
        description="Fields to set: title, artist, album, genre, year, comment, track_number, bpm, "
        "key, encoder, or any other (albumartist, isrc, lyrics, ...). An empty text removes one.",
    )
    pictures: Annotated[list[NewPicture], Field(max_length=MAX_PICTURES)] | None = Field(
        None, description="Pictures that take the place of all there are; [] removes them."
    )
    chapters: Annotated[list[Chapter], Field(max_length=999)] | None = Field(
        None, description="Chapters that take the place of all there are; [] removes them."
    )
    bext: Bext | None = Field(None, description="Fields of a WAV's broadcast extension to set.")
    cues: Annotated[list[Cue], Field(max_length=10_000)] | None = Field(
        None, description="A WAV's cue points, in place of all there are; [] removes them."
    )
    loops: Annotated[list[Loop], Field(max_length=1000)] | None = Field(
        None, description="A WAV's sampler loops, in place of all there are; [] removes them."
    )
    root_note: int | None = Field(
        None, ge=0, le=127, description="MIDI number of the note that a WAV's sample sounds."
    )

    @field_validator("tags", mode="before")
    @classmethod
    def _is_object(cls, given: object) -> object:
        if given is not None and not isinstance(given, dict):
            raise ValueError('not a JSON object of fields and texts, as {"title": "Night train"}')
        return given

    @field_validator("tags")
    @classmethod
    def _known(cls, given: dict[str, TagValue] | None) -> dict[str, TagValue] | None:
        if given is None:
            return None
        if len(given) > MAX_TAGS:
            raise ValueError(f"{len(given)} fields are more than {MAX_TAGS}")
        for name, value in given.items():
            if not is_name(name):
                raise ValueError(
                    f"no field can be called {name!r}: 1 to 80 characters of ASCII without ="
                )
            if sum(map(len, _texts(value))) > MAX_TEXT:
                raise ValueError(f"{name} is longer than {MAX_TEXT} characters")
        return given

    @property
    def writes(self) -> bool:
        """Whether anything is to be written."""
        return any(getattr(self, name) is not None for name in type(self).model_fields)


class MetadataReport(Result):
    """What the file says; of a written copy, what that says."""

    title: str
    artist: str
    album: str
    genre: str
    year: str
    comment: str
    track_number: str
    bpm: str
    key: str
    encoder: str
    duration_sec: Seconds
    sample_rate: SampleRate
    channels: int
    container: str
    codec: str
    bit_depth: int | None
    #: Everything it says in words, under common names.
    tags: dict[str, tuple[str, ...]]
    #: The same under the names that its kind of tag has.
    raw_tags: dict[str, list[str]]
    pictures: list[PictureFacts]
    chapters: list[Chapter]
    bext: BextRead | None
    ixml: dict[str, Any] | None
    cues: list[Cue]
    sampler: Sampler | None
    persisted: bool | None = None
    tagged: FileCopy | None = None

    def descriptor(self) -> dict[str, Any]:
        """The facts; `persisted` only after a write."""
        facts = super().descriptor()
        if self.persisted is None:
            del facts["persisted"]
        return facts


@operation(
    route="/v1/audio/metadata",
    category="metadata",
    tool="audio_metadata",
    engines=("metadata",),
    examples=[
        Example("What does the file say?"),
        Example("Give it a name.", tags={"title": "Night train", "artist": "Somebody", "bpm": 128}),
    ],
)
def metadata(
    file: SourceFile,
    p: Metadata,
    covers: Annotated[list[NamedFile] | None, "The pictures that `pictures` names."] = None,
) -> MetadataReport:
    """Read the tags of a file, or write them into a copy of it.

    Reads tags, pictures, chapters, and of a WAV `bext`, iXML, cue points and
    sampler loops, without decoding. A write copies the file in its own container
    and changes only what is named: the sound stays the same bit for bit, other
    tags stay, and the source is not touched. The report is read from the copy.

    Raises:
        BadParameter: a position lies outside of the sound, a picture is none.
        CannotProcess: the container holds no tags, or not these.
        UnreadableInput: the tags are damaged, or larger than any that mean well.

    Source: `handlers.tagging`, which names the standard of each kind of tag.
    """
    facts = _facts(file)
    if not p.writes:
        return _report(file.sound)
    from handlers.tagging.contents import write_copy
    from handlers.tagging.others import open_tagged

    media_type, usual = _KINDS.get(facts.container, ("application/octet-stream", "bin"))
    ext = _extension(facts.name) or usual
    path = file.scratch() / f"tagged-{facts.container}.{ext}"
    changes = _changes(file, facts, p, covers or [])
    with OutputFile(path) as out:
        write_copy(file.file, facts, out, changes)
    report = _report(open_tagged(path, name=facts.name))
    return report.model_copy(update={"persisted": True, "tagged": FileCopy(path, ext, media_type)})


def _facts(file: SourceFile) -> SourceFacts:
    if file.sound.facts is None:
        raise CannotProcess("this sound comes from no file, so there are no tags")
    return file.sound.facts


def _extension(name: str) -> str:
    """The extension of a source's name, where it looks like one."""
    ext = Path(name).suffix.removeprefix(".").lower()
    return ext if ext.isascii() and ext.isalnum() and len(ext) <= 5 else ""


# -- what is to change ---------------------------------------------------------------------------
def _changes(
    file: SourceFile, facts: SourceFacts, p: Metadata, covers: Sequence[NamedFile]
) -> Changes:
    from handlers.tagging.contents import Changes

    values: dict[str, list[str]] = {}
    for name, value in (p.tags or {}).items():
        _put(values, _FIELDS.get(name.lower().strip()) or common_name(name), _texts(value))
    pictures = None
    if p.pictures is not None:
        files = {cover.name: cover.file for cover in covers}
        pictures = [loaded(n, new, lambda name: files[name]) for n, new in enumerate(p.pictures)]
    chapters = None if p.chapters is None else in_order(p.chapters, file.sound.duration)
    return Changes(values, pictures, chapters, _chunks(file, facts, p))


def _put(values: dict[str, list[str]], name: str, texts: list[str]) -> None:
    total = NUMBERED.get(name)
    if total is not None and not texts:
        values[total] = []
    elif total is not None and "/" in texts[0]:
        number, rest = numbered(texts[0])
        values[total] = [rest] if rest else []
        texts = [number] if number else []
    values[name] = texts


def _chunks(file: SourceFile, facts: SourceFacts, p: Metadata) -> dict[str, bytes | None]:
    """The chunks of a WAV that change, by `rewriting.slot`."""
    asked = [n for n in ("bext", "cues", "loops", "root_note") if getattr(p, n) is not None]
    if not asked:
        return {}
    if facts.container != "wav":
        raise BadParameter(
            f"{asked[0]} is for WAV files, and {facts.name} is {facts.container}", field=asked[0]
        )
    old, rate, frames = facts.metadata.chunks, file.sound.rate, file.sound.frames
    new: dict[str, bytes | None] = {}
    if p.bext is not None:
        new["bext"] = changed_bext(old.get("bext", b""), p.bext)
    if p.loops is not None or p.root_note is not None:
        new["smpl"] = changed_smpl(old.get("smpl", b""), rate, frames, p.loops, p.root_note)
    if p.cues is not None:
        points = cue_chunks([cue_point(cue, rate, frames) for cue in p.cues])
        new["cue "], new["LISTadtl"] = points.get("cue "), points.get("adtl")
    return new


# -- what is there -------------------------------------------------------------------------------
def _report(sound: Blocks) -> MetadataReport:
    from handlers.tagging.contents import read_contents

    facts = sound.facts
    if facts is None or facts.file is None:
        raise CannotProcess("this sound comes from no file, so there are no tags")
    found = read_contents(facts.file, facts)
    chunks = found.chunks
    said = {field: _said(found.values, name) for field, name in _FIELDS.items()}
    return MetadataReport(
        **said,
        duration_sec=sound.duration,
        sample_rate=sound.rate,
        channels=sound.channels,
        container=facts.container,
        codec=facts.codec,
        bit_depth=facts.bit_depth,
        tags=dict(found.values),
        raw_tags=dict(found.raw),
        pictures=[shown(picture) for picture in found.pictures],
        chapters=list(found.chapters),
        bext=read_bext(chunks.get("bext", b"")),
        ixml=read_ixml(chunks["iXML"]) if "iXML" in chunks else None,
        cues=read_cues(chunks, sound.rate),
        sampler=read_smpl(chunks.get("smpl", b""), sound.rate),
    )


def _said(values: Mapping[str, Sequence[str]], name: str) -> str:
    text = "; ".join(values.get(name, ()))
    total = "".join(values.get(NUMBERED.get(name, ""), ())[:1])
    return f"{text}/{total}" if total else text
