"""What is in a MIDI file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import BaseModel

from handlers.artifacts import Midi, Png, Result, Svg
from handlers.declare import Example, operation
from handlers.errors import CannotProcess
from handlers.pictures.plots import Drawn
from handlers.smf.clock import clocks_of, seconds_of, tempo
from handlers.smf.file import (
    COPYRIGHT,
    CUE,
    KEY_SIGNATURE,
    LYRIC,
    MARKER,
    PROGRAM,
    TEMPO,
    TIME_SIGNATURE,
    TRACK_NAME,
    MidiFile,
)
from handlers.smf.making import key_name
from handlers.smf.notes import Notes
from handlers.units import Beats, BeatsPerMinute, Bytes, Seconds, Ticks

_MOST_ENTRIES = 50_000
_LONGEST_TEXT = 1000
#: Denominators beyond a 32768th are damage.
_LARGEST_POWER = 15


class MidiInspect(Drawn):
    """What to give beside the facts."""


class Tempo(BaseModel):
    """A tempo and where it begins."""

    tick: Ticks
    seconds: Seconds
    bpm: BeatsPerMinute


class TimeSignature(BaseModel):
    """A time signature and where it begins."""

    tick: Ticks
    numerator: int
    denominator: int


class KeySignature(BaseModel):
    """A key and where it begins."""

    tick: Ticks
    key: str


class PlacedText(BaseModel):
    """A marker, a cue or a syllable, and where it stands."""

    tick: Ticks
    seconds: Seconds
    text: str


class TrackFacts(BaseModel):
    """One track."""

    index: int
    name: str | None
    length_ticks: Ticks
    length_beats: Beats | None
    note_on_count: int
    note_off_count: int
    channels: list[int]
    programs: list[int]
    #: Note-ons that nothing ends.
    hanging_count: int
    lowest_pitch: int | None
    highest_pitch: int | None


class Smpte(BaseModel):
    """Time in frames rather than beats."""

    frames_per_second: float
    ticks_per_frame: int


class Inspected(Result):
    """A whole file."""

    #: 0 one track, 1 tracks together, 2 independent tracks.
    type: int
    ticks_per_beat: int | None
    smpte: Smpte | None
    length_seconds: Seconds
    tempo_changes: list[Tempo]
    time_signatures: list[TimeSignature]
    key_signatures: list[KeySignature]
    tracks: list[TrackFacts]
    track_count: int
    size_bytes: Bytes
    note_count: int
    most_notes_at_once: int
    markers: list[PlacedText]
    lyrics: list[PlacedText]
    copyright: str | None
    plot: Svg | Png | None = None


@operation(
    route="/v1/midi/inspect",
    category="midi",
    engines=("midi-compose",),
    examples=[Example("What is in it?"), Example("With its piano roll.", plot=True)],
)
def midi_inspect(file: Midi, p: MidiInspect) -> Inspected:
    """Read what a MIDI file holds: tempos, signatures, tracks, notes, texts; draw its piano roll.

    Ticks and beats are those of the file; seconds follow its tempos. Lengths
    count to the ends of tracks. A note-on of velocity 0 counts as a note-off.
    Texts are cut after 1000 characters.

    Raises:
        UnreadableInput: the file is no Standard MIDI File, or damaged; says where.
        CannotProcess: it holds more tempos, signatures or texts than a report lists.
    """
    from handlers.smf.notes import notes_of
    from handlers.smf.picture import roll
    from handlers.smf.reading import read

    score = read(file)
    notes = notes_of(score)
    seconds = _seconds(score)
    length = seconds_of(score)
    rights = score.metas(COPYRIGHT)
    return Inspected(
        type=score.kind,
        ticks_per_beat=score.ticks_per_beat,
        smpte=_smpte(score),
        length_seconds=round(length, 6),
        tempo_changes=[
            Tempo(tick=tick, seconds=seconds(index), bpm=round(60e6 / tempo(score, index), 3))
            for index, tick in _told(score, TEMPO, 3)
        ],
        time_signatures=[
            TimeSignature(tick=tick, numerator=top, denominator=2**power)
            for index, tick in _told(score, TIME_SIGNATURE, 2)
            for top, power in [score.payload(index)[:2]]
            if power <= _LARGEST_POWER
        ],
        key_signatures=[
            KeySignature(tick=tick, key=key)
            for index, tick in _told(score, KEY_SIGNATURE, 2)
            for key in [_key(score.payload(index))]
            if key is not None
        ],
        tracks=_tracks(score, notes),
        track_count=score.tracks,
        size_bytes=len(file.data),
        note_count=notes.count,
        most_notes_at_once=_most_at_once(notes),
        markers=_texts(score, seconds, MARKER, CUE),
        lyrics=_texts(score, seconds, LYRIC),
        copyright=score.text(rights[0])[:_LONGEST_TEXT] if rights.size else None,
        plot=p.drawing(lambda: roll(score, notes, length)),
    )


def _seconds(score: MidiFile) -> Callable[[int], float]:
    """When an event is."""
    clocks = clocks_of(score)

    def when(index: int) -> float:
        event = score.events[index]
        return round(float(clocks[event["track"]].seconds_at(event["tick"])), 6)

    return when


def _smpte(score: MidiFile) -> Smpte | None:
    if score.smpte is None:
        return None
    frames, ticks = score.smpte
    return Smpte(frames_per_second=frames, ticks_per_frame=ticks)


def _told(score: MidiFile, kind: int, least: int = 0) -> list[tuple[int, int]]:
    """Index and tick of the meta events of one type, as they are played."""
    found = score.metas(kind, least)
    if found.size > _MOST_ENTRIES:
        raise CannotProcess(
            f"the file holds {found.size} meta events of type 0x{kind:02X}; "
            f"no report lists more than {_MOST_ENTRIES}"
        )
    ticks = score.events["tick"][found]
    order = np.argsort(ticks, kind="stable")
    return list(zip(found[order].tolist(), ticks[order].tolist(), strict=True))


def _key(payload: bytes) -> str | None:
    fifths, minor = payload[:2]
    return key_name(fifths - 256 if fifths > 127 else fifths, minor == 1)


def _texts(score: MidiFile, seconds: Callable[[int], float], *kinds: int) -> list[PlacedText]:
    found = [entry for kind in kinds for entry in _told(score, kind)]
    return [
        PlacedText(tick=tick, seconds=seconds(index), text=score.text(index)[:_LONGEST_TEXT])
        for index, tick in sorted(found, key=lambda entry: entry[1])
    ]


def _tracks(score: MidiFile, notes: Notes) -> list[TrackFacts]:
    events = score.events
    last = score.last_of_tracks
    starts, ends, kinds, channels = (
        score.starts_note,
        score.ends_note,
        score.kinds,
        score.channels,
    )
    hanging = np.zeros(events.size, bool)
    hanging[notes.on[notes.off < 0]] = True
    names = {int(events["track"][index]): index for index in score.metas(TRACK_NAME)[::-1]}
    told: list[TrackFacts] = []
    for track in range(score.tracks):
        part = slice(int(last[track - 1]) + 1 if track else 0, int(last[track]) + 1)
        pitches = events["data1"][part][starts[part]]
        length = int(events["tick"][last[track]])
        name = score.text(names[track])[:_LONGEST_TEXT] if track in names else ""
        told.append(
            TrackFacts(
                index=track,
                name=name or None,
                length_ticks=length,
                length_beats=length / score.ticks_per_beat if score.ticks_per_beat else None,
                note_on_count=int(starts[part].sum()),
                note_off_count=int(ends[part].sum()),
                channels=np.unique(channels[part][channels[part] >= 0]).tolist(),
                programs=np.unique(events["data1"][part][kinds[part] == PROGRAM]).tolist(),
                hanging_count=int(hanging[part].sum()),
                lowest_pitch=int(pitches.min()) if pitches.size else None,
                highest_pitch=int(pitches.max()) if pitches.size else None,
            )
        )
    return told


def _most_at_once(notes: Notes) -> int:
    """How many notes sound together; one that ends makes room for one that begins."""
    ended = notes.off >= 0
    ticks = np.append(notes.end[ended], notes.start[ended])
    change = np.append(np.full(ended.sum(), -1), np.full(ended.sum(), 1))
    running = np.cumsum(change[np.argsort(ticks, kind="stable")])
    return int(running.max(initial=0))
