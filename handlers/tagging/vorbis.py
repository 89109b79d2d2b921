"""Vorbis comments, as FLAC and all Ogg codecs hold them.

Sources: Vorbis comment specification; RFC 9639 (pictures); the wiki of Xiph.Org
(CHAPTERxxx, METADATA_BLOCK_PICTURE).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from handlers.tagging.chapters import Chapter
from handlers.tagging.names import Picture, Tags, common_name, gathered

_PICTURE = "metadata_block_picture"
_CHAPTER = re.compile(r"chapter(\d{3})(name|url)?", re.IGNORECASE)
_TIME = re.compile(r"(\d+):(\d{2}):(\d{2}(?:\.\d+)?)")
_MAX_BLOCK = 1 << 24
"""A FLAC block's length has 24 bits."""


def comment_name(name: str) -> str:
    """What a comment of this common name is called, in capitals as most programs write it."""
    # Programs for DJs look for the key under this name only.
    return "INITIALKEY" if name == "key" else name.upper()


class VorbisTags:
    """A Vorbis comment under common names."""

    def __init__(self, comments: Any, flac: Any = None) -> None:
        """The comments; `flac` is the file, where pictures are blocks of their own."""
        self.comments = comments
        self._flac = flac

    def values(self) -> Tags:
        """Everything it says in words."""
        found: dict[str, list[str]] = {}
        for name, value in self.comments or ():
            if name.lower() != _PICTURE and not _CHAPTER.fullmatch(name):
                found.setdefault(name.lower(), []).append(value)
        return gathered(found)

    def raw(self) -> dict[str, list[str]]:
        """All comments; pictures as a note in brackets."""
        said: dict[str, list[str]] = {}
        for name, value in self.comments or ():
            shown = f"[{len(value)} characters]" if name.lower() == _PICTURE else value
            said.setdefault(name.upper(), []).append(shown)
        return said

    def pictures(self) -> Sequence[Picture]:
        """Pictures in comments, and those in blocks."""
        from mutagen.flac import Picture as Block
        from mutagen.flac import error

        found = [] if self._flac is None else list(self._flac.pictures)
        for name, value in self.comments or ():
            if name.lower() == _PICTURE:
                try:
                    found.append(Block(base64.b64decode(value)))
                except (error, binascii.Error, ValueError):
                    continue  # one that cannot be read is none
        return [(p.mime, p.type, p.desc, p.data) for p in found]

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it under all its names."""
        for key in {key for key, _ in self.comments if common_name(key) == name}:
            del self.comments[key]
        if values:
            self.comments[comment_name(name)] = list(values)

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all pictures."""
        self._remove(lambda key: key.lower() == _PICTURE)
        blocks = picture_blocks(pictures)
        if self._flac is not None:
            from mutagen.flac import Picture as Block

            self._flac.clear_pictures()
            for raw in blocks:
                self._flac.add_picture(Block(raw))
        elif blocks:
            self.comments[_PICTURE] = [base64.b64encode(raw).decode() for raw in blocks]

    def chapters(self) -> list[Chapter]:
        """Chapters in order of time."""
        parts: dict[str, dict[str, str]] = {}
        for name, value in self.comments or ():
            match = _CHAPTER.fullmatch(name)
            if match:
                parts.setdefault(match[1], {})[(match[2] or "start").lower()] = value
        found = []
        for part in parts.values():
            time = _TIME.match(part.get("start", ""))
            if time:
                start = int(time[1]) * 3600 + int(time[2]) * 60 + float(time[3])
                title, url = part.get("name", ""), part.get("url", "")
                found.append(Chapter(start=start, title=title[:4096], url=url[:4096]))
        return sorted(found, key=lambda c: c.start)

    def put_chapters(self, chapters: Sequence[Chapter]) -> None:
        """Replace the chapters."""
        self._remove(lambda key: _CHAPTER.fullmatch(key) is not None)
        for number, chapter in enumerate(chapters):
            self.comments[f"CHAPTER{number:03}"] = [_clock(chapter.start)]
            self.comments[f"CHAPTER{number:03}NAME"] = [chapter.title]
            if chapter.url:
                self.comments[f"CHAPTER{number:03}URL"] = [chapter.url]

    def _remove(self, wanted: Any) -> None:
        for key in {key for key, _ in self.comments if wanted(key)}:
            del self.comments[key]


def picture_blocks(pictures: Sequence[Picture]) -> list[bytes]:
    """The pictures as FLAC picture blocks (RFC 9639 section 8.8)."""
    from mutagen.flac import Picture as Block

    from handlers.tagging.images import look

    blocks = []
    for mime, kind, desc, data in pictures:
        block = Block()
        block.mime, block.type, block.desc, block.data = mime, kind, desc, data
        seen = look(data)
        if seen is not None:
            block.width, block.height, block.depth = seen.width, seen.height, seen.depth
        raw = block.write()
        if len(raw) < _MAX_BLOCK:
            blocks.append(raw)
    return blocks


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
