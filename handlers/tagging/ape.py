"""APEv2 tags, as WavPack, Musepack, Monkey's Audio and some MP3 files hold them.

Source: APEv2 specification (Hydrogenaudio wiki).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from handlers.tagging.images import look
from handlers.tagging.names import (
    NUMBERED,
    TOTALS,
    Picture,
    Tags,
    common_name,
    gathered,
    joined_number,
)

_KEYS: Mapping[str, str] = {
    "albumartist": "Album Artist",
    "date": "Year",
    "tracknumber": "Track",
    "discnumber": "Disc",
    "bpm": "BPM",
    "key": "KEY",
    "isrc": "ISRC",
    "organization": "Label",
}
_FRONT, _BACK = 3, 4
_COVERS: Mapping[int, str] = {_FRONT: "Cover Art (Front)", _BACK: "Cover Art (Back)"}


class ApeTags:
    """An APEv2 tag under common names."""

    def __init__(self, tag: Any) -> None:
        self.tag = tag

    def values(self) -> Tags:
        """Everything it says in words."""
        found: dict[str, list[str]] = {}
        for key, value in self.tag.items():
            if value.kind == 0:
                name = "organization" if key.lower() == "label" else common_name(key)
                found.setdefault(name, []).extend(value)
        return gathered(found)

    def raw(self) -> dict[str, list[str]]:
        """All items; bytes as a note in brackets."""
        return {
            key: [f"[{len(value.value)} bytes]"] if value.kind == 1 else [str(v) for v in value]
            for key, value in self.tag.items()
        }

    def pictures(self) -> Sequence[Picture]:
        """Front and back cover, their descriptions being file names."""
        found = []
        for kind, key in _COVERS.items():
            value = self.tag.get(key)
            if value is not None and value.kind == 1:
                desc, _, data = bytes(value.value).partition(b"\0")
                seen = look(data)
                mime = seen.mime if seen else "image/jpeg"
                found.append((mime, kind, desc.decode("utf-8", "replace"), data))
        return found

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it."""
        if name in NUMBERED or name in TOTALS:
            self._put_number(name, values[0] if values else "")
            return
        key = _KEYS.get(name, name.title())
        for old in [k for k in self.tag if common_name(k) == name or k.lower() == key.lower()]:
            del self.tag[old]
        if values:
            self.tag[key] = list(values)

    def _put_number(self, name: str, text: str) -> None:
        number_of = TOTALS.get(name, name)
        said = self.values()
        number = "".join(said.get(number_of, ())[:1])
        total = "".join(said.get(NUMBERED[number_of], ())[:1])
        number, total = (number, text) if name in TOTALS else (text, total)
        for old in [k for k in self.tag if common_name(k) in (number_of, NUMBERED[number_of])]:
            del self.tag[old]
        if joined := joined_number(number, total):
            self.tag[_KEYS[number_of]] = joined

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace the covers: the first picture of the back is that, any other the front."""
        from mutagen.apev2 import BINARY, APEValue

        for key in _COVERS.values():
            self.tag.pop(key, None)
        for mime, kind, desc, data in pictures:
            key = _COVERS[kind if kind == _BACK else _FRONT]
            if key not in self.tag:
                name = desc or f"cover.{mime.rpartition('/')[2]}"
                self.tag[key] = APEValue(name.encode() + b"\0" + data, BINARY)
