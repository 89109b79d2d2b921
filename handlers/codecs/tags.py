"""Tags and cover art between files and plain names.

What becomes of a sound carries the tags of the file that it came from, as far
as they are still true. mutagen is given the bytes of a tag and never asked how
long a sound is: it believes every length that it is told.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from io import BytesIO

from handlers.artifacts import Metadata
from handlers.codecs.files import InputFile, OutputFile
from handlers.tagging.names import Picture, Tagging, Tags, bounded, carried
from handlers.tagging.vorbis import comment_name, picture_blocks

_log = logging.getLogger(__name__)

Pictures = tuple[Picture, ...]


def from_demuxer(found: Mapping[str, str]) -> Tags:
    """FFmpeg's names and values."""
    return carried({name: (value,) for name, value in found.items()})


def read_tags(file: InputFile, container: str, codec: str) -> tuple[Tags, Pictures] | None:
    """Tags and pictures of a file; None where mutagen does not know its kind."""
    from handlers.tagging.stores import find_store

    load = find_store(container, codec)
    if load is None:
        return None
    try:
        with open(file.path, "rb") as opened:
            tags = load(opened).tags
            return carried(tags.values()), bounded(tags.pictures())
    except Exception as wrong:  # noqa: BLE001 - mutagen answers damage with IndexError and more
        _log.info("%s: tags left out, they cannot be read: %s", file.name, wrong)
        return None


def read_id3(raw: BytesIO) -> tuple[Tags, Pictures] | None:
    """The ID3 tag that `raw` holds, e.g. from a chunk; None where it cannot be read."""
    from handlers.tagging.id3 import Id3Tags, load

    try:
        tags = Id3Tags(load(raw))
        return carried(tags.values()), bounded(tags.pictures())
    except Exception as wrong:  # noqa: BLE001 - see read_tags
        _log.info("an ID3 chunk is left out, it cannot be read: %s", wrong)
        return None


def id3_bytes(metadata: Metadata) -> bytes:
    """An ID3v2.4 tag; empty where there is nothing to say."""
    if not metadata.tags and not metadata.pictures:
        return b""
    from handlers.tagging.id3 import Id3Tags, empty

    tags = Id3Tags(empty())
    _fill(tags, metadata)
    return tags.to_bytes()


def comment_block(metadata: Metadata, vendor: str) -> bytes:
    """The tags as a Vorbis comment without framing, as FLAC has it."""
    comments = [
        f"{comment_name(name)}={value}".encode()
        for name, values in carried(metadata.tags).items()
        for value in values
    ]
    raw = vendor.encode()
    parts = [len(raw).to_bytes(4, "little"), raw, len(comments).to_bytes(4, "little")]
    for comment in comments:
        parts += [len(comment).to_bytes(4, "little"), comment]
    return b"".join(parts)


def flac_pictures(metadata: Metadata) -> list[bytes]:
    """The pictures as FLAC picture blocks."""
    return picture_blocks(metadata.pictures)


def write_ogg(file: OutputFile, metadata: Metadata, codec: str) -> None:
    """Put the tags into a finished Ogg Vorbis or Opus file."""
    _write(file, metadata, "ogg", codec)


def write_mp4(file: OutputFile, metadata: Metadata) -> None:
    """Put the tags into a finished MP4 file."""
    formats = ("image/png", "image/jpeg")
    known = tuple(picture for picture in metadata.pictures if picture[0] in formats)
    _write(file, Metadata(metadata.tags, known), "mov", "aac")


def _write(file: OutputFile, metadata: Metadata, container: str, codec: str) -> None:
    from handlers.tagging.stores import find_store

    load = find_store(container, codec)
    if load is None or not (carried(metadata.tags) or metadata.pictures):
        return
    file.seek(0)
    store = load(file)
    _fill(store.tags, metadata)
    store.save(file, tight=True)


def _fill(tags: Tagging, metadata: Metadata) -> None:
    for name, values in carried(metadata.tags).items():
        tags.put(name, values)
    if metadata.pictures:
        tags.put_pictures(metadata.pictures)
