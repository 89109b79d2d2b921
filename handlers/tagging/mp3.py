"""The tags of an MP3 file: ID3, and in some an APEv2 tag behind the sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handlers.tagging.ape import ApeTags
from handlers.tagging.chapters import Chapter
from handlers.tagging.id3 import Id3Tags
from handlers.tagging.names import Picture, Tags


class Mp3Tags:
    """Both tags under common names. Where both say something, ID3 wins; both are changed."""

    def __init__(self, id3: Id3Tags, ape: ApeTags | None) -> None:
        self._id3, self._ape = id3, ape

    def values(self) -> Tags:
        """Everything they say in words."""
        return {**(self._ape.values() if self._ape else {}), **self._id3.values()}

    def raw(self) -> dict[str, list[str]]:
        """Frames under their names, items of the APE tag as `APE:name`."""
        items = self._ape.raw() if self._ape else {}
        return {**self._id3.raw(), **{f"APE:{key}": value for key, value in items.items()}}

    def pictures(self) -> Sequence[Picture]:
        """Those of the ID3 tag, or if it has none of the other."""
        return self._id3.pictures() or (self._ape.pictures() if self._ape else ())

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it."""
        self._id3.put(name, values)
        if self._ape is not None:
            self._ape.put(name, values)

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all pictures."""
        self._id3.put_pictures(pictures)
        if self._ape is not None:
            self._ape.put_pictures(())

    def chapters(self) -> list[Chapter]:
        """Those of the ID3 tag."""
        return self._id3.chapters()

    def put_chapters(self, chapters: Sequence[Chapter]) -> None:
        """Replace the chapters."""
        self._id3.put_chapters(chapters)

    def save(self, opened: Any) -> None:
        """Write both back."""
        self._id3.save(opened)
        if self._ape is not None:
            opened.seek(0)
            self._ape.tag.save(opened)
