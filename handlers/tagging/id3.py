"""ID3v2 tags, as MP3, AIFF, WAV, DSF and others hold them.

Sources: ID3v2.4.0 structure and native frames; ID3v2 Chapter Frame Addendum 1.0.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from mutagen import id3
from mutagen.id3 import _frames, _tags

from handlers.tagging import guards
from handlers.tagging.chapters import Chapter
from handlers.tagging.names import MAX_TAG, TOTALS, Picture, Tags, gathered, joined_number, numbered

_FRAMES: Mapping[str, str] = {
    "title": "TIT2",
    "subtitle": "TIT3",
    "artist": "TPE1",
    "albumartist": "TPE2",
    "conductor": "TPE3",
    "remixer": "TPE4",
    "album": "TALB",
    "composer": "TCOM",
    "lyricist": "TEXT",
    "date": "TDRC",
    "originaldate": "TDOR",
    "genre": "TCON",
    "grouping": "TIT1",
    "bpm": "TBPM",
    "key": "TKEY",
    "isrc": "TSRC",
    "copyright": "TCOP",
    "organization": "TPUB",
    "media": "TMED",
    "mood": "TMOO",
    "compilation": "TCMP",
    "language": "TLAN",
    "encoder": "TSSE",
    "encodedby": "TENC",
    "artistsort": "TSOP",
    "albumsort": "TSOA",
    "titlesort": "TSOT",
    "albumartistsort": "TSO2",
}
_NAMES = {frame: name for name, frame in _FRAMES.items()}
_NUMBERS: Mapping[str, str] = {"tracknumber": "TRCK", "discnumber": "TPOS"}
#: CTOC: the top of the table, and its entries are in order.
_TOP_LEVEL_ORDERED = 3


class _Unpacker(threading.local):
    """What mutagen unpacks compressed frames with: no more than a tag may have in all.

    It would unpack whatever a frame holds, and 32 KB of zlib can hold 32 MB.
    """

    error = zlib.error
    left = MAX_TAG

    def decompress(self, data: bytes) -> bytes:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(data, self.left + 1)
        self.left -= len(unpacked)
        if self.left < 0:
            raise guards.TooMuch(f"its compressed frames hold more than {MAX_TAG} bytes")
        return unpacked


_unpacker = _Unpacker()
vars(_frames)["zlib"] = _unpacker


class Id3(id3.ID3):
    """mutagen's tag, whose chapters are written in their order.

    It sorts frames by size; FFmpeg and many players list chapters as they lie
    in the file and do not look at the table of contents.
    """

    def _write(self, config: Any) -> bytes:
        tag: Any = self
        found = sorted(tag.getall("CHAP"), key=lambda c: (c.start_time, c.end_time))
        tag.delall("CHAP")
        try:
            rest = bytes(super()._write(config))  # type: ignore[no-untyped-call]
        finally:
            for chapter in found:
                tag[chapter.HashKey] = chapter
        return rest + b"".join(_tags.save_frame(chapter, config=config) for chapter in found)


def load(opened: Any) -> Id3:
    """The tag at the current place of a file.

    Raises:
        ID3NoHeaderError: there is none.
        TooMuch: it is larger than any that means well.
    """
    guards.check_id3(opened)
    _unpacker.left = MAX_TAG
    return Id3(opened)  # type: ignore[no-untyped-call]


def empty() -> Id3:
    """A tag that says nothing yet."""
    return Id3()  # type: ignore[no-untyped-call]


class Id3Tags:
    """An ID3 tag under common names."""

    def __init__(self, tag: Id3) -> None:
        self.tag: Any = tag

    def values(self) -> Tags:
        """Everything it says in words."""
        found: dict[str, list[str]] = {}
        for frame in self.tag.values():
            kind = frame.FrameID
            if kind == "TXXX":
                found.setdefault(frame.desc, []).extend(map(str, frame.text))
            elif kind == "COMM":
                if not frame.desc:
                    found.setdefault("comment", []).extend(map(str, frame.text))
            elif kind == "USLT":
                found.setdefault("lyrics", []).append(str(frame.text))
            elif kind in ("TRCK", "TPOS"):
                name = "tracknumber" if kind == "TRCK" else "discnumber"
                found[name] = [str(frame.text[0])] if frame.text else []
            elif kind == "TCON":
                found["genre"] = list(frame.genres)
            elif kind in _NAMES:
                found.setdefault(_NAMES[kind], []).extend(map(str, frame.text))
        return gathered(found)

    def raw(self) -> dict[str, list[str]]:
        """Text under the names of frames; what is no text as a note in brackets."""
        said: dict[str, list[str]] = {}
        for key, frame in self.tag.items():
            text = getattr(frame, "text", None)
            url = getattr(frame, "url", None)
            data = getattr(frame, "data", None)
            if isinstance(text, str) or url is not None:
                said[key] = [text if isinstance(text, str) else str(url)]
            elif text is not None:
                said[key] = [str(part) for part in text]
            elif isinstance(data, bytes):
                said[key] = [f"[{len(data)} bytes]"]
            else:
                said[key] = [frame.pprint().partition("=")[2][:1000]]
        return said

    def pictures(self) -> Sequence[Picture]:
        """All attached pictures."""
        return [
            (frame.mime, int(frame.type), frame.desc, frame.data)
            for frame in self.tag.getall("APIC")
        ]

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it."""
        tag, text = self.tag, list(values)
        if name in _NUMBERS or name in TOTALS:
            self._put_number(name, text[0] if text else "")
        elif name == "comment":
            # Comments with a description are other programs' notes.
            for frame in tag.getall("COMM"):
                if not frame.desc:
                    del tag[frame.HashKey]
            if text:
                tag.add(id3.COMM(encoding=3, lang="XXX", desc="", text=text))
        elif name == "lyrics":
            tag.delall("USLT")
            if text:
                tag.add(id3.USLT(encoding=3, lang="XXX", desc="", text="\n".join(text)))
        else:
            if name in _FRAMES:
                tag.delall(_FRAMES[name])
            for frame in tag.getall("TXXX"):
                if frame.desc.lower() == name:
                    del tag[frame.HashKey]
            if text and name in _FRAMES:
                tag.add(getattr(id3, _FRAMES[name])(encoding=3, text=text))
            elif text:
                tag.add(id3.TXXX(encoding=3, desc=name, text=text))

    def _put_number(self, name: str, text: str) -> None:
        number_of = TOTALS.get(name, name)
        frame = _NUMBERS[number_of]
        old = self.tag.get(frame)
        number, total = numbered(str(old.text[0]) if old is not None and old.text else "")
        number, total = (number, text) if name in TOTALS else (text, total)
        self.tag.delall(frame)
        if said := joined_number(number, total):
            self.tag.add(getattr(id3, frame)(encoding=3, text=said))

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all pictures."""
        self.tag.delall("APIC")
        used: set[str] = set()
        for mime, kind, desc, data in pictures:
            # A tag holds one picture per description.
            unique, number = desc, 1
            while unique in used:
                number += 1
                unique = f"{desc} {number}".strip()
            used.add(unique)
            self.tag.add(id3.APIC(encoding=3, mime=mime, type=kind, desc=unique, data=data))

    def chapters(self) -> list[Chapter]:
        """Chapters in order of time."""
        found = []
        for frame in self.tag.getall("CHAP"):
            title = frame.sub_frames.get("TIT2")
            url = next((f.url for f in frame.sub_frames.getall("WXXX")), "")
            found.append(
                Chapter(
                    start=frame.start_time / 1000,
                    end=frame.end_time / 1000,
                    title=str(title) if title else "",
                    url=url,
                )
            )
        return sorted(found, key=lambda c: c.start)

    def put_chapters(self, chapters: Sequence[Chapter]) -> None:
        """Replace the chapters and their table of contents."""
        self.tag.delall("CHAP")
        self.tag.delall("CTOC")
        names = [f"chp{number}" for number in range(len(chapters))]
        for name, chapter in zip(names, chapters, strict=True):
            inside: list[Any] = (
                [id3.TIT2(encoding=3, text=[chapter.title])] if chapter.title else []
            )
            if chapter.url:
                inside.append(id3.WXXX(encoding=3, desc="chapter url", url=chapter.url))
            self.tag.add(
                id3.CHAP(
                    element_id=name,
                    start_time=round(chapter.start * 1000),
                    end_time=round((chapter.end or chapter.start) * 1000),
                    sub_frames=inside,
                )
            )
        # The table counts its entries in one byte.
        if 0 < len(names) < 256:
            self.tag.add(
                id3.CTOC(element_id="toc", flags=_TOP_LEVEL_ORDERED, child_element_ids=names)
            )

    def save(self, opened: Any) -> None:
        """Write it in front of a file, in the version it had (2.2 becomes 2.4)."""
        opened.seek(0)
        if self.tag.version[:2] == (2, 3):
            self.tag.update_to_v23()
            self.tag.save(opened, v2_version=3)
        else:
            self.tag.save(opened)

    def to_bytes(self) -> bytes:
        """The tag alone; empty where there is nothing to say."""
        if not self.tag:
            return b""
        out = BytesIO()
        if self.tag.version[:2] == (2, 3):
            self.tag.update_to_v23()
            self.tag.save(out, v2_version=3, padding=lambda _: 0)
        else:
            self.tag.save(out, padding=lambda _: 0)
        return out.getvalue()
