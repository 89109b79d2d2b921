"""A Standard MIDI File in memory: the events of all tracks in one table.

Nothing that a file holds is lost between `reading` and `writing`: texts, system
exclusive messages, chunks of other kinds, and which events went without a
status byte ("running status") come back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENT = np.dtype(
    [
        ("tick", "<i8"),
        ("track", "<i4"),
        ("start", "<i4"),
        ("size", "<i4"),
        ("status", "u1"),
        ("data1", "u1"),
        ("data2", "u1"),
        ("running", "u1"),
    ]
)
"""One event. `tick` counts from the beginning of its track. A meta event has status 0xFF and
its type in `data1`; its payload, and that of a system exclusive one (0xF0, 0xF7), are the `size`
bytes at `start` of the file's pool. `running`: it came without a status byte."""

Events = NDArray[np.void]
"""`(n,)` of `EVENT`: track after track, each in the order of its file."""
Ticks = NDArray[np.int64]
Mask = NDArray[np.bool_]

LAST_TICK = 2**31 - 1
"""No track is longer. At 480 ticks per beat and 120 BPM that is 26 days."""
LARGEST_GAP = 2**28 - 1
"""Ticks between two events of a track: what the format's numbers of four bytes hold."""

NOTE_OFF, NOTE_ON, KEY_PRESSURE, CONTROLLER, PROGRAM, CHANNEL_PRESSURE, PITCH_BEND = range(
    0x80, 0xF0, 0x10
)
"""Statuses of channel events, for channel 0."""
SYSEX, ESCAPE, META = 0xF0, 0xF7, 0xFF

TEXT, COPYRIGHT, TRACK_NAME, INSTRUMENT, LYRIC, MARKER, CUE = range(0x01, 0x08)
END_OF_TRACK, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x2F, 0x51, 0x58, 0x59
"""Types of meta events."""

BANK_HIGH, VOLUME, PAN, BANK_LOW = 0, 7, 10, 32
"""Controllers."""

DRUMS = 9
"""The channel that General MIDI keeps for percussion, counted from 0."""

DEFAULT_TEMPO = 500_000
"""Microseconds per beat where a file says nothing: 120 BPM."""


@dataclass(frozen=True)
class MidiFile:
    """A whole file. Every track ends with its end of track event, and has only that one."""

    #: 0: one track; 1: tracks to be played together; 2: independent ones.
    kind: int
    #: As in the header: ticks per beat, or (negative) SMPTE frames and ticks per frame.
    division: int
    tracks: int
    events: Events
    #: Where payloads lie.
    pool: bytes
    #: Chunks of unknown kinds, raw, by the number of the track that they stand before.
    foreign: Mapping[int, bytes] = field(default_factory=dict)
    #: What a longer header holds behind its three numbers.
    header: bytes = b""

    @property
    def ticks_per_beat(self) -> int | None:
        """None where the file counts SMPTE time."""
        return self.division if self.division > 0 else None

    @property
    def smpte(self) -> tuple[float, int] | None:
        """Frames per second and ticks per frame; None where the file counts beats."""
        if self.division > 0:
            return None
        frames = -(self.division >> 8)
        # 29 stands for the drop-frame count, whose frames are those of NTSC.
        return 30000 / 1001 if frames == 29 else float(frames), self.division & 0xFF

    @property
    def channels(self) -> NDArray[np.int8]:
        """Channel of each event; -1 for those that have none."""
        status = self.events["status"]
        return np.where(status < SYSEX, (status & 0x0F).astype(np.int8), np.int8(-1))

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """`NOTE_OFF` to `PITCH_BEND` for channel events, else the status."""
        status = self.events["status"]
        return np.where(status < SYSEX, status & np.uint8(0xF0), status)

    @property
    def starts_note(self) -> Mask:
        """Which events begin a note: a note-on with velocity 0 ends one."""
        return np.asarray((self.kinds == NOTE_ON) & (self.events["data2"] > 0))

    @property
    def ends_note(self) -> Mask:
        """Which events end a note."""
        kinds = self.kinds
        silent = (kinds == NOTE_ON) & (self.events["data2"] == 0)
        return np.asarray((kinds == NOTE_OFF) | silent)

    @property
    def last_of_tracks(self) -> NDArray[np.int64]:
        """Where the end of each track is."""
        return np.searchsorted(self.events["track"], np.arange(self.tracks), "right") - 1

    def metas(self, kind: int, least: int = 0) -> NDArray[np.int64]:
        """Where the meta events of one type are whose payload has at least so many bytes."""
        table = self.events
        found = (table["status"] == META) & (table["data1"] == kind) & (table["size"] >= least)
        return np.flatnonzero(found)

    def payload(self, index: int) -> bytes:
        """The payload of one event."""
        event = self.events[index]
        return self.pool[event["start"] : event["start"] + event["size"]]

    def text(self, index: int) -> str:
        """The text of one event. Files say nothing of its encoding: UTF-8, else Latin-1."""
        raw = self.payload(index).strip(b"\0 \t\r\n")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    def where(self, kept: Mask) -> MidiFile:
        """Only some of the events."""
        return replace(self, events=self.events[kept])

    def having(self, events: Any) -> MidiFile:
        """The same file with other events."""
        return replace(self, events=events)
