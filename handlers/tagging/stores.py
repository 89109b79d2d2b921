"""Where the tags of a file are, and how they get back there.

RIFF and AIFF are not among them: their chunks are rewritten by
`handlers.tagging.rewriting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from handlers.codecs.files import OutputFile
from handlers.tagging import guards
from handlers.tagging.names import Tagging


@dataclass
class Store:
    """The tags of an open file."""

    tags: Tagging
    #: Writes them back into a file with the same content.
    _save: Callable[[Any, bool], None]

    def save(self, file: OutputFile, *, tight: bool = False) -> None:
        """Write the tags into a file; `tight` leaves no room for later changes."""
        file.seek(0)
        self._save(file, tight)


Load = Callable[[Any], Store]
"""From an open file to its tags. Raises whatever mutagen raises, and `TooMuch`."""


def find_store(container: str, codec: str) -> Load | None:
    """How to get at the tags of such a file; None where there is no way."""
    if container == "ogg":
        return _OGG.get(codec)
    return _STORES.get(container)


def _none(_: object) -> int:
    return 0


def _plain(file: Any, out: Any, tight: bool) -> None:
    """mutagen's own way to save."""
    if tight:
        file.save(out, padding=_none)
    else:
        file.save(out)


def _id3(opened: Any) -> Store:
    """ID3 in front, and at the end an APEv2 tag where there is one."""
    from mutagen.apev2 import APENoHeaderError, APEv2
    from mutagen.id3 import ID3NoHeaderError

    from handlers.tagging.ape import ApeTags
    from handlers.tagging.id3 import Id3Tags, empty, load
    from handlers.tagging.mp3 import Mp3Tags

    guards.check_ape(opened)
    opened.seek(0)
    try:
        ape = ApeTags(APEv2(opened))
    except APENoHeaderError:
        ape = None
    opened.seek(0)
    try:
        tag = load(opened)
    except ID3NoHeaderError:
        tag = empty()
    tags = Mp3Tags(Id3Tags(tag), ape)
    return Store(tags, lambda out, _: tags.save(out))


def _flac(opened: Any) -> Store:
    from mutagen.flac import FLAC

    from handlers.tagging.vorbis import VorbisTags

    guards.check_flac(opened)
    opened.seek(0)
    file = FLAC(opened)
    if file.tags is None:
        file.add_tags()
    return Store(VorbisTags(file.tags, file), partial(_plain, file))


def _ogg(module: str, cls: str, opened: Any) -> Store:
    from handlers.tagging.vorbis import VorbisTags

    guards.check_ogg(opened)
    opened.seek(0)
    file = getattr(import_module(module), cls)(opened)
    return Store(VorbisTags(file.tags), partial(_plain, file))


def _mp4(opened: Any) -> Store:
    from mutagen.mp4 import MP4

    from handlers.tagging.mp4 import Mp4Tags

    guards.check_mp4(opened)
    opened.seek(0)
    file = MP4(opened)
    return Store(Mp4Tags(file), partial(_plain, file))


def _ape(opened: Any) -> Store:
    from mutagen.apev2 import APENoHeaderError, APEv2

    from handlers.tagging.ape import ApeTags

    guards.check_ape(opened)
    opened.seek(0)
    try:
        tag = APEv2(opened)
    except APENoHeaderError:
        tag = APEv2()

    def save(out: Any, _: bool) -> None:
        tag.save(out)

    return Store(ApeTags(tag), save)


def _asf(opened: Any) -> Store:
    from mutagen.asf import ASF

    from handlers.tagging.asf import AsfTags

    guards.check_asf(opened)
    file = ASF(opened)
    return Store(AsfTags(file.tags), partial(_plain, file))


def _dsd(module: str, cls: str, opened: Any) -> Store:
    """DSF and DSDIFF, which hold an ID3 tag at a place that their header tells."""
    from handlers.tagging.id3 import Id3Tags

    guards.check_dsd(opened)
    opened.seek(0)
    file = getattr(import_module(module), cls)(opened)
    if file.tags is None:
        file.add_tags()
    return Store(Id3Tags(file.tags), partial(_plain, file))


_OGG: Mapping[str, Load] = {
    "vorbis": partial(_ogg, "mutagen.oggvorbis", "OggVorbis"),
    "opus": partial(_ogg, "mutagen.oggopus", "OggOpus"),
    "flac": partial(_ogg, "mutagen.oggflac", "OggFLAC"),
    "speex": partial(_ogg, "mutagen.oggspeex", "OggSpeex"),
}
_STORES: Mapping[str, Load] = {
    "flac": _flac,
    "mp3": _id3,
    "aac": _id3,
    "mov": _mp4,
    "wv": _ape,
    "asf": _asf,
    "tta": _id3,
    "dsf": partial(_dsd, "mutagen.dsf", "DSF"),
    "dff": partial(_dsd, "mutagen.dsdiff", "DSDIFF"),
    "ape": _ape,
    "mpc": _ape,
    "ofr": _ape,
    "tak": _ape,
}
