"""The common names of tags, and what is done to all tags whatever file they come from.

Common names are Vorbis comment names in lower case (`title`, `albumartist`,
`tracknumber`, ...). `key` is the musical key, whatever a file calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

Tags = dict[str, tuple[str, ...]]
Picture = tuple[str, int, str, bytes]
"""MIME type, type as in ID3v2 (3 is the front cover), description, data."""

MAX_TAG = 32 << 20
"""Bytes that one tag may have, and all pictures of a file together."""

MAX_TEXT = 65536
MAX_TAGS = 256
MAX_PICTURES = 16

#: True of the old samples or the old encoder only.
_STALE = re.compile(
    r"replaygain_.*|r128_.*|mp3gain_.*|itunnorm|itunsmpb|encoder|encoded[-_ ]?by|encodersettings|"
    r"encoding|duration|metadata_block_picture|coverart.*|waveformatextensible_channel_mask|"
    r"major_brand|minor_version|compatible_brands|handler_name|vendor_id|language|creation_time"
)
_ALIASES = {
    "album artist": "albumartist",
    "album_artist": "albumartist",
    "track": "tracknumber",
    "disc": "discnumber",
    "year": "date",
    "publisher": "organization",
    "totaltracks": "tracktotal",
    "totaldiscs": "disctotal",
    "initialkey": "key",
    "initial key": "key",
    "tempo": "bpm",
}
NUMBERED: Mapping[str, str] = {"tracknumber": "tracktotal", "discnumber": "disctotal"}
"""Numbers that many kinds of tag hold together with how many there are."""


TOTALS: Mapping[str, str] = {total: name for name, total in NUMBERED.items()}
"""The other way round."""


class Tagging(Protocol):
    """One tag of a file, under common names."""

    def values(self) -> Tags:
        """Everything it says in words."""

    def raw(self) -> dict[str, list[str]]:
        """The same under the tag's own names; what is no text as a note in brackets."""

    def pictures(self) -> Sequence[Picture]:
        """Cover art and the like."""

    def put(self, name: str, values: Sequence[str]) -> None:
        """Set one common name; without values, remove it."""

    def put_pictures(self, pictures: Sequence[Picture]) -> None:
        """Replace all pictures."""


def common_name(name: str) -> str:
    """What a field is called here, whatever somebody calls it."""
    name = name.lower().strip()
    return _ALIASES.get(name, name)


def is_name(name: str) -> bool:
    """Whether a Vorbis comment may be called so, and with it any tag here."""
    return re.fullmatch(r"[ -<>-}]{1,80}", name) is not None


def gathered(found: Mapping[str, Iterable[str]]) -> Tags:
    """Tags under their common names, bounded in number and size.

    `3/12` becomes `tracknumber` 3 and `tracktotal` 12.
    """
    out: Tags = {}
    for raw_name, raw_values in found.items():
        name = common_name(raw_name)
        values = tuple(v.replace("\0", "").strip()[:MAX_TEXT] for v in raw_values)
        values = tuple(v for v in values if v)
        if not values or len(out) >= MAX_TAGS or not is_name(name):
            continue
        total = NUMBERED.get(name)
        if total is not None and "/" in values[0]:
            first, rest = numbered(values[0])
            values = (first,)
            if rest:
                out.setdefault(total, (rest,))
        if values[0]:
            out[name] = values
    return out


def numbered(text: str) -> tuple[str, str]:
    """`3/12` as 3 and 12."""
    first, _, rest = text.partition("/")
    return first.strip(), rest.strip()


def joined_number(number: str, total: str) -> list[str]:
    """3 and 12 as `3/12`; nothing where there is neither."""
    if total:
        return [f"{number}/{total}"]
    return [number] if number else []


def carried(found: Mapping[str, Iterable[str]]) -> Tags:
    """Tags under their common names, without those that are true of the old file only."""
    fresh = {
        name: values for name, values in found.items() if not _STALE.fullmatch(common_name(name))
    }
    return gathered(fresh)


def bounded(pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """The first pictures, as far as they are few and small enough."""
    kept: list[Picture] = []
    size = 0
    for picture in pictures:
        size += len(picture[3])
        if size > MAX_TAG or len(kept) >= MAX_PICTURES:
            break
        kept.append(picture)
    return tuple(kept)


def first_number(text: str) -> int:
    """The whole number that a text begins with, at most 65535; 0 where there is none."""
    match = re.match(r"\d{1,5}", text.strip())
    return min(int(match[0]), 65535) if match else 0
