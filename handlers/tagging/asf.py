"""The attributes of ASF files (WMA).

Source: Advanced Systems Format specification, 01.20.05; Windows Media attribute list.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from handlers.tagging.names import (
    NUMBERED,
    TOTALS,
    Picture,
    Tags,
    common_name,
    gathered,
    joined_number,
)

_ATTRIBUTES: Mapping[str, str] = {
    "title": "Title",
    "artist": "Author",
    "album": "WM/AlbumTitle",
    "albumartist": "WM/AlbumArtist",
    "composer": "WM/Composer",
    "conductor": "WM/Conductor",
    "genre": "WM/Genre",
    "date": "WM/Year",
    "comment": "Description",
    "tracknumber": "WM/TrackNumber",
    "discnumber": "WM/PartOfSet",
    "bpm": "WM/BeatsPerMinute",
    "key": "WM/InitialKey",
    "encoder": "WM/EncodingSettings",
    "encodedby": "WM/EncodedBy",
    "copyright": "Copyright",
    "organization": "WM/Publisher",
    "isrc": "WM/ISRC",
    "lyrics": "WM/Lyrics",
    "mood": "WM/Mood",
}
_NAMES = {attribute.lower(): name for name, attribute in _ATTRIBUTES.items()}
_PICTURE = "WM/Picture"
_BYTES = 1


class AsfTags:
    """The attributes of an ASF file under common names."""

    def __init__(self, tags: Any) -> None:
        self.tags = tags

    def values(self) -> Tags:
        """Everything they say in words."""
        found: dict[str, list[str]] = {}
        for key, value in self.tags:
            if getattr(value, "TYPE", 0) != _BYTES:
                texts = found.setdefault(_NAMES.get(key.lower()) or common_name(key), [])
                # Some writers give an attribute under two names.
                if str(value) not in texts:
                    texts.append(str(value))
        return gathered(found)

    def raw(self) -> dict[str, list[str]]:
        """All attributes; bytes as a note in brackets."""
        said: dict[str, list[str]] = {}
        for key, value in self.tags:
            opaque = getattr(value, "TYPE", 0) == _BYTES
            said.setdefault(key, []).append(f"[{len(value.value)} bytes]" if opaque else str(value))
        return said

    def pictures(self) -> Sequence[Picture]:
        """Those that can be read."""
        found = []
        for value in self.tags.get(_PICTURE, ()):
            raw = bytes(value.value)
            if len(raw) < 5:
                continue
            kind, size = struct.unpack("<BI", raw[:5])
            head, data = raw[5 : len(raw) - size], raw[len(raw) - size :]
            texts = head.decode("utf-16-le", "replace").split("\0")
            found.append((texts[0], kind, texts[1] if len(texts) > 1 else "", data))
        return found

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it."""
        if name in NUMBERED or name in TOTALS:
            said = {part: "".join(texts[:1]) for part, texts in self.values().items()}
            said[name] = values[0] if values else ""
            name = TOTALS.get(name, name)
            self._remove(NUMBERED[name])
            values = joined_number(said.get(name, ""), said.get(NUMBERED[name], ""))
        self._remove(name)
        if values:
            self.tags[_ATTRIBUTES.get(name, name.upper())] = list(values)

    def _remove(self, name: str) -> None:
        for key in {k for k, _ in self.tags if (_NAMES.get(k.lower()) or common_name(k)) == name}:
            del self.tags[key]

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all pictures."""
        from mutagen.asf._attrs import ASFByteArrayAttribute

        if _PICTURE in self.tags:
            del self.tags[_PICTURE]
        if pictures:
            self.tags[_PICTURE] = [
                ASFByteArrayAttribute(
                    struct.pack("<BI", kind, len(data))
                    + f"{mime}\0{desc}\0".encode("utf-16-le")
                    + data
                )
                for mime, kind, desc, data in pictures
            ]
