"""The atoms that iTunes keeps tags in.

Sources: ISO/IEC 14496-12; "iTunes Metadata" in Apple's QuickTime File Format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from handlers.errors import CannotProcess
from handlers.tagging.images import look
from handlers.tagging.names import TOTALS, Picture, Tags, common_name, first_number, gathered

_ATOMS: Mapping[str, str] = {
    "title": "\xa9nam",
    "artist": "\xa9ART",
    "albumartist": "aART",
    "album": "\xa9alb",
    "composer": "\xa9wrt",
    "date": "\xa9day",
    "genre": "\xa9gen",
    "grouping": "\xa9grp",
    "comment": "\xa9cmt",
    "lyrics": "\xa9lyr",
    "encoder": "\xa9too",
    "copyright": "cprt",
    "description": "desc",
    "artistsort": "soar",
    "albumsort": "soal",
    "titlesort": "sonm",
    "albumartistsort": "soaa",
}
_NAMES = {atom: name for name, atom in _ATOMS.items()}
_PAIRS: Mapping[str, str] = {"tracknumber": "trkn", "discnumber": "disk"}
_FREEFORM = "----:com.apple.iTunes:"


class Mp4Tags:
    """The tags of an MP4 file under common names."""

    def __init__(self, file: Any) -> None:
        """`file` is mutagen's; it gets tags if it has none."""
        if file.tags is None:
            file.add_tags()
        self._file = file
        self.tags: Any = file.tags

    def values(self) -> Tags:
        """Everything they say in words."""
        found: dict[str, list[str]] = {}
        for atom, values in self.tags.items():
            if atom in _PAIRS.values() and values:
                kind = "track" if atom == "trkn" else "disc"
                number, total = values[0]
                found[f"{kind}number"] = [str(number)] if number else []
                found[f"{kind}total"] = [str(total)] if total else []
            elif atom == "tmpo" and values:
                found["bpm"] = [str(values[0])]
            elif atom == "cpil":
                found["compilation"] = ["1"] if values else []
            elif atom.startswith(_FREEFORM):
                name = atom.removeprefix(_FREEFORM)
                texts = [bytes(v).decode("utf-8", "replace") for v in values]
                found.setdefault(common_name(name), []).extend(texts)
            elif atom in _NAMES:
                found[_NAMES[atom]] = list(map(str, values))
        return gathered(found)

    def raw(self) -> dict[str, list[str]]:
        """Values under the names of atoms; bytes as a note in brackets."""
        said: dict[str, list[str]] = {}
        for atom, values in self.tags.items():
            if atom == "covr":
                said[atom] = [f"[{len(v)} bytes]" for v in values]
            elif atom.startswith("----"):
                said[atom] = [bytes(v).decode("utf-8", "replace") for v in values]
            else:
                said[atom] = [str(v) for v in values] if isinstance(values, list) else [str(values)]
        return said

    def pictures(self) -> Sequence[Picture]:
        """The covers; their type and description are not stored."""
        found = []
        for cover in self.tags.get("covr", ()):
            data = bytes(cover)
            seen = look(data)
            found.append((seen.mime if seen else "image/jpeg", 3, "", data))
        return found

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it."""
        if name in _PAIRS or name in TOTALS:
            self._put_number(name, values)
            return
        for atom in list(self.tags):
            freeform = atom.startswith(_FREEFORM)
            if freeform and common_name(atom.removeprefix(_FREEFORM)) == name:
                del self.tags[atom]
        atom = {"bpm": "tmpo", "compilation": "cpil"}.get(name) or _ATOMS.get(name)
        if atom is not None:
            self.tags.pop(atom, None)
        if not values:
            return
        if name == "compilation":
            self.tags["cpil"] = values[0] not in ("0", "false", "no")
        elif name == "bpm" and values[0].strip() == str(first_number(values[0])):
            self.tags["tmpo"] = [first_number(values[0])]
        elif name in _ATOMS:
            self.tags[_ATOMS[name]] = list(values)
        else:
            self._put_freeform(name, values)

    def _put_freeform(self, name: str, values: Sequence[str]) -> None:
        from mutagen.mp4 import AtomDataType, MP4FreeForm

        # `tmpo` is a whole number; a tempo that is none has a place of its own.
        said = "initialkey" if name == "key" else name.upper()
        self.tags[_FREEFORM + said] = [
            MP4FreeForm(value.encode(), AtomDataType.UTF8) for value in values
        ]

    def _put_number(self, name: str, values: Sequence[str]) -> None:
        atom = _PAIRS[TOTALS.get(name, name)]
        number, total = next(iter(self.tags.get(atom, ())), (0, 0))
        new = first_number(values[0]) if values else 0
        number, total = (number, new) if name in TOTALS else (new, total)
        self.tags.pop(atom, None)
        if number or total:
            self.tags[atom] = [(number, total)]

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all covers.

        Raises:
            CannotProcess: one is neither JPEG nor PNG.
        """
        from mutagen.mp4 import AtomDataType, MP4Cover

        formats = {"image/png": AtomDataType.PNG, "image/jpeg": AtomDataType.JPEG}
        for mime, _, _, _ in pictures:
            if mime not in formats:
                raise CannotProcess(f"an MP4 file holds covers as JPEG or PNG, not {mime}")
        self.tags.pop("covr", None)
        if pictures:
            self.tags["covr"] = [MP4Cover(data, formats[mime]) for mime, _, _, data in pictures]
