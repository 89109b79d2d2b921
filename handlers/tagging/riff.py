"""Text in the chunks of WAV and AIFF files: `LIST INFO`, an ID3 tag, AIFF's own text chunks.

INFO holds one text for a few names; an ID3 tag in a chunk holds everything
else. Where both say something, the ID3 tag wins: it is richer, and written by
the same hand later.

Source of AIFF's chunks: Audio Interchange File Format (Apple 1989).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

from handlers.codecs.chunks import decoded
from handlers.tagging.chapters import Chapter
from handlers.tagging.id3 import Id3, Id3Tags, empty, load
from handlers.tagging.info import ALSO, INFO, beyond_info, info_body, read_info
from handlers.tagging.names import Picture, Tags, gathered

_AIFF = {"NAME": "title", "AUTH": "artist", "(c) ": "copyright", "ANNO": "comment"}


class RiffTags:
    """The text of a WAV or AIFF file under common names."""

    def __init__(self, texts: Mapping[str, str], tag: Id3 | None, *, aiff: bool) -> None:
        """Native texts by identifier, the ID3 tag if there is one."""
        self.texts = dict(texts)
        self.id3 = None if tag is None else Id3Tags(tag)
        self._aiff = aiff
        self._names: Mapping[str, str] = _AIFF if aiff else {**INFO, **ALSO}

    def values(self) -> Tags:
        """Everything it says in words."""
        native = {self._names[k]: [text] for k, text in self.texts.items() if k in self._names}
        return {**gathered(native), **(self.id3.values() if self.id3 else {})}

    def raw(self) -> dict[str, list[str]]:
        """Native texts and frames by identifier."""
        native = {kind: [text] for kind, text in self.texts.items()}
        return {**native, **(self.id3.raw() if self.id3 else {})}

    def pictures(self) -> Sequence[Picture]:
        """Those of the ID3 tag."""
        return self.id3.pictures() if self.id3 else ()

    def chapters(self) -> list[Chapter]:
        """Those of the ID3 tag."""
        return self.id3.chapters() if self.id3 else []

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name, wherever it is or fits; without values, remove it."""
        had = [kind for kind in self.texts if self._names.get(kind) == name]
        for kind in had:
            del self.texts[kind]
        if values and (had or not self._aiff):
            # The first identifier of a name is the one that is written.
            for kind in [k for k, n in self._names.items() if n == name][:1]:
                self.texts[kind] = values[0]
        if self.id3 is None and values and (self._aiff or beyond_info({name: values})):
            self._with_id3()
        if self.id3 is not None:
            self.id3.put(name, values)

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all pictures."""
        if pictures or self.id3 is not None:
            self._with_id3().put_pictures(pictures)

    def put_chapters(self, chapters: Sequence[Chapter]) -> None:
        """Replace the chapters."""
        if chapters or self.id3 is not None:
            self._with_id3().put_chapters(chapters)

    def _with_id3(self) -> Id3Tags:
        """The ID3 tag; a new one says all that has been said without it."""
        if self.id3 is None:
            said = self.values()
            self.id3 = Id3Tags(empty())
            for name, values in said.items():
                self.id3.put(name, values)
        return self.id3

    def chunks(self) -> dict[str, bytes]:
        """What to write, by `rewriting.slot`."""
        out: dict[str, bytes] = {}
        if self._aiff:
            out |= {kind: text.encode() for kind, text in self.texts.items() if text}
        elif info := info_body(self.texts):
            out["LISTINFO"] = info
        if self.id3 is not None and (tag := self.id3.to_bytes()):
            out["id3 "] = tag
        return out


def is_text(where: str, *, aiff: bool) -> bool:
    """Whether the chunk in this `rewriting.slot` is one that `RiffTags` reads and writes."""
    return where == "id3 " or (where in _AIFF if aiff else where == "LISTINFO")


def read_text(bodies: Iterable[tuple[str, bytes]], *, aiff: bool) -> RiffTags:
    """The text in these chunks, by `rewriting.slot`; lists with their type.

    Raises:
        TooMuch: an ID3 tag is larger than any that means well.
        MutagenError: it cannot be read.
    """
    texts: dict[str, str] = {}
    tag: Id3 | None = None
    for where, body in bodies:
        if where == "id3 ":
            tag = tag if tag is not None else load(BytesIO(body))
        elif aiff:
            texts.setdefault(where, decoded(body))
        else:
            texts = {**read_info(body[4:]), **texts}
    return RiffTags(texts, tag, aiff=aiff)
