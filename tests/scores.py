"""MIDI files to test with, made and read by mido and by hand, never by our own code."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import mido

from handlers.artifacts import Midi


def opened(midi: Midi) -> mido.MidiFile:
    """The file as mido reads it, in UTF-8."""
    return mido.MidiFile(file=io.BytesIO(midi.data), charset="utf-8")


def saved(file: mido.MidiFile) -> Midi:
    """What mido writes."""
    data = io.BytesIO()
    file.save(file=data)
    return Midi(data.getvalue())


def music() -> Midi:
    """Two bars: a conductor's track with two tempos, chords with a pedal, drums."""
    file = mido.MidiFile(type=1, ticks_per_beat=96)
    conductor, piano, drums = (file.add_track(name) for name in ("Song", "Piano", "Drums"))
    conductor += [
        mido.MetaMessage("time_signature", numerator=4, denominator=4),
        mido.MetaMessage("key_signature", key="Am"),
        mido.MetaMessage("set_tempo", tempo=500_000),
        mido.MetaMessage("marker", text="Verse"),
        mido.MetaMessage("set_tempo", tempo=600_000, time=384),
    ]
    piano.append(mido.Message("program_change", program=4))
    for _ in range(2):
        piano.append(mido.Message("control_change", control=64, value=127))
        piano += [mido.Message("note_on", note=n, velocity=70, time=3) for n in (57, 60, 64)]
        piano += [
            mido.Message("note_off", note=n, velocity=30, time=180 if n == 57 else 0)
            for n in (57, 60, 64)
        ]
        piano.append(mido.Message("control_change", control=64, value=0, time=195))
    for _ in range(8):
        drums.append(mido.Message("note_on", channel=9, note=36, velocity=110, time=2))
        drums.append(mido.Message("note_on", channel=9, note=36, velocity=0, time=46))
        drums.append(mido.Message("note_on", channel=9, note=42, velocity=60, time=0))
        drums.append(mido.Message("note_on", channel=9, note=42, velocity=0, time=48))
    return saved(file)


@dataclass(frozen=True)
class Note:
    """A note as a player hears it; ticks."""

    track: int
    channel: int
    pitch: int
    start: int
    end: int
    velocity: int

    @property
    def length(self) -> int:
        return self.end - self.start


def notes(midi: Midi) -> list[Note]:
    """All notes of a file, by their starts; the first to end is the first that began.

    Fails where a note never ends or an end has no note.
    """
    found: list[Note] = []
    for number, track in enumerate(opened(midi).tracks):
        tick = 0
        sounding: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity:
                key = (message.channel, message.note)
                sounding.setdefault(key, []).append((tick, message.velocity))
            elif message.type in ("note_on", "note_off"):
                key = (message.channel, message.note)
                start, velocity = sounding[key].pop(0)
                found.append(Note(number, *key, start, tick, velocity))
        assert not any(sounding.values()), "a note hangs"
    return sorted(found, key=lambda n: (n.track, n.start, n.channel, n.pitch))


def others(midi: Midi) -> list[tuple[int, int, str]]:
    """Everything but notes: track, tick, and what mido makes of it."""
    found: list[tuple[int, int, str]] = []
    for number, track in enumerate(opened(midi).tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type not in ("note_on", "note_off", "end_of_track"):
                found.append((number, tick, str(message.copy(time=0))))
    return found


def number(value: int) -> bytes:
    """A number of variable length, by the book."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def raw_track(*events: tuple[int, bytes], end: int | None = 0) -> bytes:
    """A track chunk from ticks and bytes. It ends `end` ticks after the last; None: it does not."""
    ticks = [0, *(tick for tick, _ in events)]
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    body = b"".join(number(gap) + data for gap, (_, data) in zip(gaps, events, strict=True))
    if end is not None:
        body += number(end) + b"\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(body)) + body


def raw_file(*chunks: bytes, kind: int = 1, division: int = 96, tracks: int | None = None) -> Midi:
    """A file from its chunks; `tracks` is what the header says, by default the truth."""
    count = sum(chunk[:4] == b"MTrk" for chunk in chunks) if tracks is None else tracks
    return Midi(b"MThd" + struct.pack(">IHHh", 6, kind, count, division) + b"".join(chunks))


def simple(
    starts: Sequence[tuple[int, int]], *, pitch: int = 60, channel: int = 0, division: int = 96
) -> Midi:
    """One track with notes of one pitch, each from a tick to another."""
    events = [(start, 1, bytes((0x90 | channel, pitch, 100))) for start, _ in starts]
    events += [(end, 0, bytes((0x80 | channel, pitch, 64))) for _, end in starts]
    return raw_file(
        raw_track(*((tick, data) for tick, _, data in sorted(events))), kind=0, division=division
    )


def heard(midi: Midi) -> tuple[list[tuple[float, float, int, int, int]], mido.MidiFile]:
    """Notes `(start, end, pitch, velocity, channel)` in seconds, and the file, as mido plays it."""
    song = opened(midi)
    now = 0.0
    sounding: dict[tuple[int, int], tuple[float, int]] = {}
    found = []
    for message in song:  # with its tempo, in seconds
        now += message.time
        if message.type == "note_on" and message.velocity:
            assert (message.channel, message.note) not in sounding
            sounding[message.channel, message.note] = now, message.velocity
        elif message.type in ("note_on", "note_off"):
            start, velocity = sounding.pop((message.channel, message.note))
            found.append((start, now, message.note, velocity, message.channel))
    assert not sounding
    return sorted(found), song
