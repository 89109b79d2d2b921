"""Text in a WAV's `LIST INFO`: one line for each of a few names.

Sources: Multimedia Programming Interface (1991); Exif 2.3, whose table of INFO
identifiers is the longest in print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handlers.codecs.chunks import decoded, riff_chunk, sub_chunks
from handlers.tagging.names import Tags, gathered

INFO: Mapping[str, str] = {
    "INAM": "title",
    "IART": "artist",
    "IPRD": "album",
    "ICRD": "date",
    "IGNR": "genre",
    "ICMT": "comment",
    "ICOP": "copyright",
    "ITRK": "tracknumber",
    "ISFT": "encoder",
    "IENG": "engineer",
    "ISBJ": "subject",
    "IKEY": "keywords",
    "ISRC": "source",
}
"""INFO identifiers and the common names they stand for."""

ALSO: Mapping[str, str] = {"IPRT": "tracknumber", "TRCK": "tracknumber", "IMUS": "composer"}
"""Further identifiers that are read, and never written."""


def read_info(body: bytes) -> dict[str, str]:
    """Texts of an INFO list by identifier; of two with the same, the first."""
    found: dict[str, str] = {}
    for kind, raw in sub_chunks(body):
        found.setdefault(kind.decode("latin-1"), decoded(raw))
    return found


def info_values(texts: Mapping[str, str]) -> Tags:
    """What an INFO list says, under common names."""
    found: dict[str, list[str]] = {}
    for kind, text in texts.items():
        name = INFO.get(kind) or ALSO.get(kind)
        if name and text:
            found.setdefault(name, [text])
    return gathered(found)


def info_body(texts: Mapping[str, str]) -> bytes:
    """An INFO list without its type; empty where it says nothing."""
    return b"".join(
        riff_chunk(kind.encode("latin-1"), text.encode() + b"\0") for kind, text in texts.items()
    )


def info_of(values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What INFO can hold of these values, by identifier."""
    return {kind: values[name][0] for kind, name in INFO.items() if values.get(name)}


def beyond_info(values: Mapping[str, Sequence[str]]) -> bool:
    """Whether INFO cannot hold all of these values."""
    return any(name not in INFO.values() or len(texts) > 1 for name, texts in values.items())
