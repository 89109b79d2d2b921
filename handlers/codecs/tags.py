"""Tags and cover art between files and plain names, through mutagen.

Names are Vorbis comment names in lower case, whatever the file calls them.
mutagen is given the bytes of a tag and never asked how long a sound is: it
believes every length that it is told.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

from handlers.artifacts import Metadata
from handlers.codecs.files import InputFile, OutputFile

Tags = dict[str, tuple[str, ...]]
Pictures = tuple[tuple[str, int, str, bytes], ...]
_Reader = Callable[[Any], tuple[Tags, Pictures] | None]

_log = logging.getLogger(__name__)

MAX_TAG = 32 << 20
_MAX_TEXT, _MAX_TAGS, _MAX_PICTURES = 65536, 256, 16
#: True of the old samples or the old encoder only.
_STALE = re.compile(
    r"replaygain_.*|r128_.*|mp3gain_.*|itunnorm|itunsmpb|encoder|encoded[-_ ]?by|encodersettings|"
    r"encoding|duration|metadata_block_picture|coverart.*|waveformatextensible_channel_mask|"
    r"major_brand|minor_version|compatible_brands|handler_name|vendor_id|language|creation_time"
)

_ID3: Mapping[str, str] = {
    "title": "TIT2",
    "subtitle": "TIT3",
    "artist": "TPE1",
    "albumartist": "TPE2",
    "conductor": "TPE3",
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
    "artistsort": "TSOP",
    "albumsort": "TSOA",
    "titlesort": "TSOT",
    "albumartistsort": "TSO2",
}
_MP4: Mapping[str, str] = {
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
    "copyright": "cprt",
    "description": "desc",
    "artistsort": "soar",
    "albumsort": "soal",
    "titlesort": "sonm",
    "albumartistsort": "soaa",
}
_FREEFORM = "----:com.apple.iTunes:"
_ALIASES = {
    "album artist": "albumartist",
    "album_artist": "albumartist",
    "track": "tracknumber",
    "disc": "discnumber",
    "year": "date",
    "publisher": "organization",
    "totaltracks": "tracktotal",
    "totaldiscs": "disctotal",
}


def carried(found: Mapping[str, Iterable[str]]) -> Tags:
    """Tags under their common names, without those that are true of the old file only.

    `3/12` becomes `tracknumber` 3 and `tracktotal` 12.
    """
    out: Tags = {}
    for raw_name, raw_values in found.items():
        name = raw_name.lower().strip()
        name = _ALIASES.get(name, name)
        values = tuple(v.replace("\0", "").strip()[:_MAX_TEXT] for v in raw_values)
        values = tuple(v for v in values if v)
        if not values or _STALE.fullmatch(name) or len(out) >= _MAX_TAGS:
            continue
        if not re.fullmatch(r"[ -<>-}]{1,80}", name):  # what a Vorbis comment name may be
            continue
        for number, total in (("tracknumber", "tracktotal"), ("discnumber", "disctotal")):
            if name == number and "/" in values[0]:
                first, _, rest = values[0].partition("/")
                values = (first.strip(),)
                if rest.strip():
                    out.setdefault(total, (rest.strip(),))
        if values[0]:
            out[name] = values
    return out


def from_demuxer(found: Mapping[str, str]) -> Tags:
    """FFmpeg's names and values."""
    return carried({name: (value,) for name, value in found.items()})


def read_tags(file: InputFile, container: str, codec: str) -> tuple[Tags, Pictures] | None:
    """Tags and pictures of a file; None where mutagen does not know its kind."""
    reader = _reader(container, codec)
    if reader is None:
        return None
    try:
        with open(file.path, "rb") as opened:
            return reader(opened)
    except Exception as wrong:  # noqa: BLE001 - mutagen answers damage with IndexError and more
        _log.info("%s: tags left out, they cannot be read: %s", file.name, wrong)
        return None


def read_id3(raw: BytesIO) -> tuple[Tags, Pictures] | None:
    """The ID3 tag that `raw` holds, e.g. from a chunk; None where it cannot be read."""
    try:
        return _id3(raw)
    except Exception as wrong:  # noqa: BLE001 - see read_tags
        _log.info("an ID3 chunk is left out, it cannot be read: %s", wrong)
        return None


def _reader(container: str, codec: str) -> _Reader | None:
    readers: dict[str, _Reader | None] = {
        "flac": _flac,
        "mp3": _id3,
        "aac": _id3,
        "mov": _mp4,
        "wv": _ape,
        "ogg": {"vorbis": _vorbis, "opus": _opus, "flac": _ogg_flac}.get(codec),
    }
    return readers.get(container)


def _id3(opened: Any) -> tuple[Tags, Pictures] | None:
    from mutagen.id3 import ID3, ID3NoHeaderError

    head = opened.read(10)
    opened.seek(0)
    if head[:3] == b"ID3" and int.from_bytes(head[6:7], "big") > MAX_TAG >> 21:
        return None
    try:
        tag = ID3(opened)
    except ID3NoHeaderError:
        return {}, ()
    names = {frame: name for name, frame in _ID3.items()}
    found: dict[str, list[str]] = {}
    pictures = []
    for frame in tag.values():
        kind = frame.FrameID
        if kind == "APIC":
            pictures.append((frame.mime, int(frame.type), frame.desc, frame.data))
        elif kind == "TXXX":
            found.setdefault(frame.desc, []).extend(map(str, frame.text))
        elif kind == "COMM":
            if not frame.desc:
                found.setdefault("comment", []).extend(map(str, frame.text))
        elif kind == "USLT":
            found.setdefault("lyrics", []).append(str(frame.text))
        elif kind in ("TRCK", "TPOS"):
            name = "tracknumber" if kind == "TRCK" else "discnumber"
            found[name] = [str(frame.text[0])]
        elif kind == "TCON":
            found["genre"] = list(frame.genres)
        elif kind in names:
            found.setdefault(names[kind], []).extend(map(str, frame.text))
    return carried(found), _bounded(pictures)


def _comments(tag: Any) -> tuple[Tags, Pictures]:
    from mutagen.flac import Picture

    found: dict[str, list[str]] = {}
    pictures = []
    for name, value in tag or ():
        if name.lower() == "metadata_block_picture":
            picture = Picture(base64.b64decode(value))
            pictures.append((picture.mime, picture.type, picture.desc, picture.data))
        else:
            found.setdefault(name.lower(), []).append(value)
    return carried(found), _bounded(pictures)


def _flac(opened: Any) -> tuple[Tags, Pictures]:
    from mutagen.flac import FLAC

    file = FLAC(opened)
    found, _ = _comments(file.tags)
    return found, _bounded([(p.mime, p.type, p.desc, p.data) for p in file.pictures])


def _vorbis(opened: Any) -> tuple[Tags, Pictures]:
    from mutagen.oggvorbis import OggVorbis

    return _comments(OggVorbis(opened).tags)


def _opus(opened: Any) -> tuple[Tags, Pictures]:
    from mutagen.oggopus import OggOpus

    return _comments(OggOpus(opened).tags)


def _ogg_flac(opened: Any) -> tuple[Tags, Pictures]:
    from mutagen.oggflac import OggFLAC

    return _comments(OggFLAC(opened).tags)


def _ape(opened: Any) -> tuple[Tags, Pictures]:
    from mutagen.apev2 import APENoHeaderError, APEv2

    try:
        tag = APEv2(opened)
    except APENoHeaderError:
        return {}, ()
    found: dict[str, list[str]] = {}
    pictures = []
    for name, value in tag.items():
        if value.kind == 0:
            found[name] = list(value)
        elif name.lower() == "cover art (front)":
            desc, _, data = bytes(value).partition(b"\0")
            mime = "image/png" if data[:4] == b"\x89PNG" else "image/jpeg"
            pictures.append((mime, 3, desc.decode("utf-8", "replace"), data))
    return carried(found), _bounded(pictures)


def _mp4(opened: Any) -> tuple[Tags, Pictures]:
    from mutagen.mp4 import MP4, AtomDataType

    tag: Any = MP4(opened).tags
    names = {atom: name for name, atom in _MP4.items()}
    found: dict[str, list[str]] = {}
    pictures = []
    for atom, values in tag.items() if tag else ():
        if atom == "covr":
            for cover in values:
                png = cover.imageformat == AtomDataType.PNG
                pictures.append(("image/png" if png else "image/jpeg", 3, "", bytes(cover)))
        elif atom in ("trkn", "disk"):
            number, total = values[0]
            kind = "track" if atom == "trkn" else "disc"
            found[f"{kind}number"] = [str(number)] if number else []
            found[f"{kind}total"] = [str(total)] if total else []
        elif atom == "tmpo":
            found["bpm"] = [str(values[0])]
        elif atom == "cpil":
            found["compilation"] = ["1"] if values else []
        elif atom.startswith(_FREEFORM):
            found[atom.removeprefix(_FREEFORM)] = [bytes(v).decode("utf-8") for v in values]
        elif atom in names:
            found[names[atom]] = list(map(str, values))
    return carried(found), _bounded(pictures)


def _bounded(pictures: Iterable[tuple[str, int, str, bytes]]) -> Pictures:
    kept: list[tuple[str, int, str, bytes]] = []
    size = 0
    for picture in pictures:
        size += len(picture[3])
        if size > MAX_TAG or len(kept) >= _MAX_PICTURES:
            break
        kept.append(picture)
    return tuple(kept)


# -- writing -------------------------------------------------------------------------------------
def id3_bytes(metadata: Metadata) -> bytes:
    """An ID3v2.4 tag; empty where there is nothing to say."""
    from mutagen import id3

    kept = carried(metadata.tags)
    tag = id3.ID3()
    for name, values in kept.items():
        if name in ("tracktotal", "disctotal"):
            continue
        if name in ("tracknumber", "discnumber"):
            total = kept.get(name.replace("number", "total"))
            text = f"{values[0]}/{total[0]}" if total else values[0]
            frame = id3.TRCK if name == "tracknumber" else id3.TPOS
            tag.add(frame(encoding=3, text=[text]))
        elif name == "comment":
            tag.add(id3.COMM(encoding=3, lang="XXX", desc="", text=list(values)))
        elif name == "lyrics":
            tag.add(id3.USLT(encoding=3, lang="XXX", desc="", text="\n".join(values)))
        elif name in _ID3:
            tag.add(getattr(id3, _ID3[name])(encoding=3, text=list(values)))
        else:
            tag.add(id3.TXXX(encoding=3, desc=name, text=list(values)))
    for index, (mime, kind, desc, data) in enumerate(metadata.pictures):
        # A tag holds one picture per description.
        unique = desc if index == 0 else f"{desc} {index + 1}".strip()
        tag.add(id3.APIC(encoding=3, mime=mime, type=kind, desc=unique, data=data))
    if not tag:
        return b""
    out = BytesIO()
    tag.save(out, padding=lambda _: 0)
    return out.getvalue()


def comment_block(metadata: Metadata, vendor: str) -> bytes:
    """The tags as a Vorbis comment without framing, as FLAC has it."""
    comments = [
        f"{name.upper()}={value}".encode()
        for name, values in carried(metadata.tags).items()
        for value in values
    ]
    raw = vendor.encode()
    parts = [len(raw).to_bytes(4, "little"), raw, len(comments).to_bytes(4, "little")]
    for comment in comments:
        parts += [len(comment).to_bytes(4, "little"), comment]
    return b"".join(parts)


def picture_blocks(metadata: Metadata) -> list[bytes]:
    """The pictures as FLAC picture blocks (RFC 9639 section 8.8)."""
    from mutagen.flac import Picture

    blocks = []
    for mime, kind, desc, data in metadata.pictures:
        picture = Picture()
        picture.mime, picture.type, picture.desc, picture.data = mime, kind, desc, data
        raw = picture.write()
        if len(raw) < 1 << 24:  # a block's length has 24 bits
            blocks.append(raw)
    return blocks


def write_ogg(file: OutputFile, metadata: Metadata, codec: str) -> None:
    """Put the tags into a finished Ogg Vorbis or Opus file."""
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

    kept = carried(metadata.tags)
    pictures = picture_blocks(metadata)
    if not kept and not pictures:
        return
    file.seek(0)
    tagged = OggOpus(file) if codec == "opus" else OggVorbis(file)
    for name, values in kept.items():
        tagged[name] = list(values)
    if pictures:
        tagged["metadata_block_picture"] = [base64.b64encode(p).decode() for p in pictures]
    file.seek(0)
    tagged.save(file, padding=lambda _: 0)


def write_mp4(file: OutputFile, metadata: Metadata) -> None:
    """Put the tags into a finished MP4 file."""
    from mutagen.mp4 import MP4, AtomDataType, MP4Cover, MP4FreeForm

    kept = carried(metadata.tags)
    if not kept and not metadata.pictures:
        return
    file.seek(0)
    tagged = MP4(file)
    if tagged.tags is None:
        tagged.add_tags()
    for kind, atom in (("track", "trkn"), ("disc", "disk")):
        numbers = [_number(kept.pop(f"{kind}{part}", ("0",))[0]) for part in ("number", "total")]
        if any(numbers):
            tagged[atom] = [tuple(numbers)]
    bpm = kept.pop("bpm", None)
    if bpm and _number(bpm[0]):
        tagged["tmpo"] = [_number(bpm[0])]
    if kept.pop("compilation", None):
        tagged["cpil"] = True
    for name, values in kept.items():
        if name in _MP4:
            tagged[_MP4[name]] = list(values)
        else:
            tagged[_FREEFORM + name.upper()] = [
                MP4FreeForm(value.encode(), AtomDataType.UTF8) for value in values
            ]
    formats = {"image/png": AtomDataType.PNG, "image/jpeg": AtomDataType.JPEG}
    covers = [
        MP4Cover(data, formats[mime]) for mime, _, _, data in metadata.pictures if mime in formats
    ]
    if covers:
        tagged["covr"] = covers
    file.seek(0)
    tagged.save(file, padding=lambda _: 0)


def _number(text: str) -> int:
    match = re.match(r"\d{1,5}", text.strip())
    return min(int(match[0]), 65535) if match else 0
