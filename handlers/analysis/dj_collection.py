"""Tracks for a DJ's software: tempo, key and beat grids as an XML that it imports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict, Field

from handlers.artifacts import Blocks, Result, SoundItem, TextFile
from handlers.declare import Example, Params, operation
from handlers.hearing import Heard
from handlers.listening.chords import KEY, Key
from handlers.listening.rhythm import PULSE, Pulse
from handlers.streams import said_of
from handlers.units import BeatsPerMinute, Seconds

#: Beats further than this from an even grid are heard beside it. Where more than one in ten is,
#: each bar has its own tempo; a stray one, as at the end of a sound, bends no grid.
_EVEN_S, _MOST = 0.02, 90
_KINDS = {
    "wav": "WAV File",
    "aiff": "AIFF File",
    "flac": "FLAC File",
    "mp3": "MP3 File",
    "mov": "M4A File",
    "aac": "AAC File",
    "ogg": "OGG File",
}
_TAGS = {
    "Artist": "artist",
    "Album": "album",
    "Genre": "genre",
    "Label": "label",
    "Remixer": "remixer",
    "Composer": "composer",
    "Year": "date",
    "Comments": "comment",
}


class Track(SoundItem):
    """One track of the collection."""

    location: str = Field(
        "", description="Path of its file where the DJ has it; `folder` and its name if not given."
    )


class DjCollection(Params):
    """Where the tracks lie for the DJ, and how the keys are written."""

    playlist: str = Field("audiolla", min_length=1, description="Name of the playlist with them.")
    folder: str = Field(
        "/", description="Folder in which the DJ's machine has the tracks, e.g. `D:/Music/New`."
    )
    keys: Literal["camelot", "classical"] = Field(
        "camelot", description="How keys are written: `8A`, or `Am`."
    )


class Collected(BaseModel):
    """What the collection says of a track."""

    model_config = ConfigDict(frozen=True)

    title: str
    location: str
    duration: Seconds
    bpm: BeatsPerMinute | None
    key: str | None
    #: Tempos in its beat grid: 1 where the beats are even.
    tempos: int


class DjCollected(Result):
    """The collection; the file is the XML."""

    playlist: str
    tracks: list[Collected]
    collection: TextFile | None = None


@dataclass(frozen=True)
class Anchor:
    """A tempo from a beat on."""

    start: Seconds
    bpm: float
    #: Place of that beat in its bar, from 1.
    beat: int


@operation(
    route="/v1/audio/dj-collection",
    category="analysis",
    engines=["librosa-analyze", "chord-detect"],
    examples=[
        Example("New tracks for rekordbox."),
        Example(
            "On a stick, with keys as musicians write them.", folder="E:/New", keys="classical"
        ),
    ],
)
def dj_collection(
    tracks: Annotated[list[Track], MinLen(1), "The tracks, in the order of the playlist."],
    p: DjCollection,
) -> DjCollected:
    """Write tempo, key and beat grid of tracks into an XML that rekordbox imports.

    Titles, artists and the like are those of the files' tags. Where the beats are even to
    within 20 ms, the grid has one tempo; else each bar has its own. Times count from the first
    sample; software that plays the silence which an MP3 encoder puts in front shows the grid of
    an MP3 early by that. Tracks without a pulse have no grid.

    Raises:
        BadParameter: there is no track.

    Source: "rekordbox XML format list", AlphaTheta; read by Mixxx, Engine DJ and converters too.
    """
    root = ET.Element("DJ_PLAYLISTS", Version="1.0.0")
    ET.SubElement(root, "PRODUCT", Name="audiolla", Version="1", Company="")
    entries = ET.SubElement(root, "COLLECTION", Entries=str(len(tracks)))
    told = []
    for number, track in enumerate(tracks, start=1):
        with said_of(f"track {number - 1}"):
            heard = Heard(track.sound)
            found = _entry(entries, number, track, p, heard[PULSE], heard[KEY])
        told.append(found)
    top = ET.SubElement(ET.SubElement(root, "PLAYLISTS"), "NODE", Type="0", Name="ROOT", Count="1")
    listed = ET.SubElement(
        top, "NODE", Name=_plain(p.playlist), Type="1", KeyType="0", Entries=str(len(tracks))
    )
    for number in range(1, len(tracks) + 1):
        ET.SubElement(listed, "TRACK", Key=str(number))
    ET.indent(root)
    data = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return DjCollected(
        playlist=p.playlist,
        tracks=told,
        collection=TextFile(data, ext="xml", media_type="application/xml"),
    )


def _entry(
    entries: ET.Element, number: int, track: Track, p: DjCollection, pulse: Pulse, key: Key | None
) -> Collected:
    sound = track.sound
    facts = sound.facts
    tags = facts.metadata.tags if facts else {}
    name = facts.name if facts else f"track {number}"
    title = tags.get("title", (PurePath(name).stem,))[0]
    location = track.location or f"{p.folder.rstrip('/')}/{name}"
    anchors = grid(pulse)
    entry = ET.SubElement(
        entries,
        "TRACK",
        attrib={field: _plain(tags[tag][0]) for field, tag in _TAGS.items() if tags.get(tag)},
        TrackID=str(number),
        Name=_plain(title),
        Kind=_KINDS.get(facts.container, "") if facts else "",
        Size=str(facts.size_bytes if facts else 0),
        TotalTime=str(round(sound.duration)),
        BitRate=str(round(_bit_rate(sound) / 1000)),
        SampleRate=str(sound.rate),
        AverageBpm=f"{pulse.tempo or 0:.2f}",
        Tonality=_written(key, p.keys),
        Location=address(location),
    )
    metre = f"{pulse.beats_per_bar}/4"
    for anchor in anchors:
        ET.SubElement(
            entry,
            "TEMPO",
            Inizio=f"{anchor.start:.3f}",
            Bpm=f"{anchor.bpm:.2f}",
            Metro=metre,
            Battito=str(anchor.beat),
        )
    return Collected(
        title=title,
        location=location,
        duration=sound.duration,
        bpm=None if pulse.tempo is None else round(pulse.tempo, 2),
        key=key.name if key else None,
        tempos=len(anchors),
    )


def grid(pulse: Pulse) -> list[Anchor]:
    """The beat grid: one anchor where the beats are even, else one for each bar."""
    beats, places = pulse.beats, pulse.places
    if len(beats) < 2:
        return []
    numbers = np.arange(len(beats))
    period, first = np.polyfit(numbers, beats, 1)
    near = np.abs(beats - (first + period * numbers)) <= _EVEN_S
    if near.sum() > 1:
        period, first = np.polyfit(numbers[near], beats[near], 1)
    if np.percentile(np.abs(beats - (first + period * numbers)), _MOST) <= _EVEN_S:
        skipped = max(0, int(np.ceil(-first / period)))  # a grid begins within the sound
        beat = int(places[0] + skipped) % pulse.beats_per_bar + 1
        return [Anchor(float(first + skipped * period), 60 / float(period), beat)]
    starts = np.unique(np.concatenate(([0], np.flatnonzero(places == 0))))
    starts = starts[starts < len(beats) - 1]
    ends = np.append(starts[1:], len(beats) - 1)
    return [
        Anchor(
            float(beats[start]),
            60 * int(end - start) / float(beats[end] - beats[start]),
            int(places[start]) + 1,
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def address(path: str) -> str:
    """A path as `Location` has it: a URL of this machine, also for a path of Windows."""
    return "file://localhost/" + quote(path.replace("\\", "/").lstrip("/"), safe="/:")


def _bit_rate(sound: Blocks) -> float:
    facts = sound.facts
    if facts is None or not sound.duration:
        return 0.0
    return facts.bit_rate or 8 * facts.size_bytes / sound.duration


def _written(key: Key | None, how: str) -> str:
    if key is None:
        return ""
    return key.camelot if how == "camelot" else key.name.split()[0] + ("m" if key.minor else "")


def _plain(text: str) -> str:
    """The same without what XML 1.0 cannot hold."""
    return "".join(
        c
        for c in text
        if c in "\t\n\r" or (c >= " " and not 0xD800 <= ord(c) < 0xE000 and c not in "\ufffe\uffff")
    )
