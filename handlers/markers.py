"""Places in a sound that have a name, and the files that other programs read them from.

Beats, chords, segments, silences, speech, clipped runs: whatever an operation
finds along the time of a sound it can give as `Marker`s. It takes the
parameter by inheriting from `Marked` and has a field for the file:

    class Vad(Marked): ...

    class Speech(Result):
        ...
        marker_file: TextFile | None = None

    return Speech(..., marker_file=marker_file(p, sound, (Marker(...) for ...)))
"""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import Field

from handlers.artifacts import SourceFacts, TextFile
from handlers.codecs.chunks import CuePoint, cue_chunks, riff_chunk
from handlers.declare import Params
from handlers.units import Seconds

MarkerFormat = Literal["none", "audacity", "csv", "jams", "webvtt", "cue"]


class Marked(Params):
    """The parameter of operations that find markers."""

    markers: MarkerFormat = Field(
        "none",
        description="Also write what was found to a file: Audacity labels, CSV, JAMS, WebVTT, or "
        "a WAV without samples that holds a cue chunk.",
    )


@dataclass(frozen=True)
class Marker:
    """A place in a sound, or with an `end` a stretch of it.

    `kind` says what it is, in one word: `beat`, `onset`, `note`, `segment`,
    `chord`, `key`, `silence`, `sound`, `speech`, `clip`, `loop`, ... Some kinds have
    a place of their own in JAMS, which takes its value from `extra`: the number
    of a `beat` within its bar (`position`), a `chord` in Harte's syntax (`harte`,
    as `F#:min7`), a `key` as `F#:minor` (`key_mode`), the MIDI number of a `note`
    (`midi`). Everything in `extra` is a column of the CSV.
    """

    start: Seconds
    end: Seconds | None = None
    label: str = ""
    kind: str = "marker"
    #: 0 to 1; None where nothing doubts.
    confidence: float | None = None
    extra: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def length(self) -> Seconds:
        """Length in seconds; 0 for a place."""
        return 0.0 if self.end is None else self.end - self.start


class Timed(Protocol):
    """What markers lie in: `Blocks`, `Audio` or `Heard`."""

    @property
    def rate(self) -> int:
        """Samples per second."""

    @property
    def duration(self) -> float:
        """Length in seconds."""

    @property
    def facts(self) -> SourceFacts | None:
        """The file it came from."""


def marker_file(p: Marked, sound: Timed, markers: Iterable[Marker]) -> TextFile | None:
    """The markers in the format that the parameters ask for, in order of time; None without one.

    Raises:
        CannotProcess: a marker lies where a cue chunk cannot point to.
    """
    if p.markers == "none":
        return None
    ordered = sorted(markers, key=lambda m: (m.start, m.length))
    writer = _WRITERS[p.markers]
    return TextFile(writer.write(ordered, sound), ext=writer.ext, media_type=writer.media_type)


def audacity(markers: Sequence[Marker], _sound: Timed) -> bytes:
    """Audacity's label track: start, end and label between tabs. A place ends where it starts.

    Source: Audacity manual, "Importing and Exporting Labels".
    """
    lines = (
        f"{m.start:.6f}\t{m.start + m.length:.6f}\t{_one_line(m.label or m.kind)}\n"
        for m in markers
    )
    return "".join(lines).encode()


def comma_separated(markers: Sequence[Marker], _sound: Timed) -> bytes:
    """A table with a line per marker; what is not known is left empty.

    Times have six decimals, more than a sample of 192 kHz needs. Source: RFC 4180.
    """
    more = sorted({name for m in markers for name in m.extra})
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["start_sec", "end_sec", "label", "kind", "confidence", *more])
    for m in markers:
        end = "" if m.end is None else f"{m.end:.6f}"
        sure = "" if m.confidence is None else f"{m.confidence:.4f}"
        rest = [m.extra.get(name, "") for name in more]
        table.writerow([f"{m.start:.6f}", end, m.label, m.kind, sure, *rest])
    return text.getvalue().encode()


def webvtt(markers: Sequence[Marker], sound: Timed) -> bytes:
    """A cue per marker, to the millisecond. A place lasts until the next marker.

    Source: W3C, "WebVTT: The Web Video Text Tracks Format", Candidate Recommendation 2019.
    """
    ends = [*(m.start for m in markers[1:]), sound.duration]
    cues = []
    for m, next_start in zip(markers, ends, strict=False):
        begin = round(m.start * 1000)
        # A cue must last; two places within a millisecond would not.
        end = max(round((next_start if m.end is None else m.end) * 1000), begin + 1)
        text = _one_line(m.label or m.kind)
        for raw, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(raw, written)
        cues.append(f"\n{_clock(begin)} --> {_clock(end)}\n{text}\n")
    return ("WEBVTT\n" + "".join(cues)).encode()


#: Kinds that have a namespace of their own in JAMS, and which of their extras is its value.
_JAMS: Mapping[str, tuple[str, str]] = {
    "beat": ("beat", "position"),
    "chord": ("chord", "harte"),
    "key": ("key_mode", "key_mode"),
    "note": ("note_midi", "midi"),
}


def jams(markers: Sequence[Marker], sound: Timed) -> bytes:
    """An annotation for each kind of marker. Kinds without a namespace of their own are tags.

    Source: Humphrey et al., "JAMS: A JSON Annotated Music Specification for Reproducible MIR
    Research", ISMIR 2014; schema and namespaces of jams 0.3.5.
    """
    by_namespace: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for m in markers:
        namespace, value = _observed(m)
        by_namespace.setdefault((m.kind, namespace), []).append(
            {"time": m.start, "duration": m.length, "value": value, "confidence": m.confidence}
        )
    about = {"annotation_tools": "audiolla", "data_source": "program"}
    document = {
        "annotations": [
            {
                "namespace": namespace,
                "annotation_metadata": about,
                "data": data,
                "time": 0.0,
                "duration": sound.duration,
                "sandbox": {"kind": kind},
            }
            for (kind, namespace), data in by_namespace.items()
        ],
        "file_metadata": {
            "title": sound.facts.name if sound.facts else "",
            "artist": "",
            "release": "",
            "duration": sound.duration,
            "identifiers": {},
            "jams_version": "0.3.5",
        },
        "sandbox": {},
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"


def _observed(m: Marker) -> tuple[str, str | float | None]:
    """Namespace and value of a marker in JAMS."""
    if m.kind in _JAMS:
        namespace, name = _JAMS[m.kind]
        # A beat may be counted or not; the values of the others are not optional.
        if name in m.extra or m.kind == "beat":
            return namespace, m.extra.get(name)
    if m.kind == "onset":
        return "onset", m.label
    if m.kind == "segment":
        return "segment_open", m.label
    return "tag_open", m.label or m.kind


def cue_wav(markers: Sequence[Marker], sound: Timed) -> bytes:
    """A WAV at the rate of the sound, without samples, that holds the markers as cue points.

    Its `cue ` and `LIST` chunks are those that the sound itself would have.
    """
    # One channel of 16 bits: no sample will ask.
    form = struct.pack("<HHIIHH", 1, 1, sound.rate, 2 * sound.rate, 2, 16)
    body = b"WAVE" + riff_chunk(b"fmt ", form) + riff_chunk(b"data", b"")
    chunks = cue_chunks(_points(markers, sound.rate))
    if chunks:
        body += riff_chunk(b"cue ", chunks["cue "])
        body += riff_chunk(b"LIST", b"adtl" + chunks["adtl"])
    return riff_chunk(b"RIFF", body)


def _points(markers: Sequence[Marker], rate: int) -> list[CuePoint]:
    found = []
    for m in markers:
        frame = round(m.start * rate)
        end = frame if m.end is None else round(m.end * rate)
        found.append(CuePoint(frame, m.label or m.kind, end - frame))
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"


@dataclass(frozen=True)
class _Writer:
    write: Callable[[Sequence[Marker], Timed], bytes]
    ext: str
    media_type: str


_WRITERS: Mapping[str, _Writer] = {
    "audacity": _Writer(audacity, "txt", "text/plain; charset=utf-8"),
    "csv": _Writer(comma_separated, "csv", "text/csv"),
    "jams": _Writer(jams, "jams", "application/json"),
    "webvtt": _Writer(webvtt, "vtt", "text/vtt"),
    "cue": _Writer(cue_wav, "wav", "audio/wav"),
}
