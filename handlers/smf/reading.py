"""Bytes into a `MidiFile`, in bounded time and memory whatever they are."""

from __future__ import annotations

import struct

import numpy as np

from handlers.artifacts import Midi
from handlers.errors import UnreadableInput
from handlers.smf.file import EVENT, LAST_TICK, TEMPO, MidiFile

MOST_TRACKS = 4096
"""A large orchestral template has a few hundred."""
#: Chunks of other kinds than tracks: makers of keyboards add one or two.
_MOST_FOREIGN = 64
_HEADER = struct.Struct(">4sIHHh")
_CHUNK = struct.Struct(">4sI")
_SMPTE_RATES = (24, 25, 29, 30)


def read(midi: Midi) -> MidiFile:
    """The events of a file.

    Bytes behind the end of track event of a track are left out, an end that is
    missing is added, and what follows the last track is kept where it is made
    of chunks. All else must be as the standard has it.

    Raises:
        UnreadableInput: it is no Standard MIDI File, or damaged; says where.
    """
    data = midi.data
    kind, tracks, division, at = _read_header(data)
    chunks, foreign = _read_chunks(data, at, tracks)
    from handlers.kernels.smf import read_track

    raw = np.frombuffer(data, np.uint8)
    # No event is shorter than two bytes; pages that stay empty cost nothing.
    room = sum(end - start for start, end in chunks) // 2 + 2 * tracks
    events = np.empty(room, EVENT)
    fault = np.zeros(2, np.int64)
    count = 0
    for track, (start, end) in enumerate(chunks):
        count = read_track(raw, start, end, track, events, count, fault)
        if count < 0:
            where = f"track {track} is damaged at byte {fault[1]}"
            raise UnreadableInput(f"{where}: {_fault(int(fault[0]), data, int(fault[1]))}")
    events = events[:count].copy() if 2 * count < room else events[:count]
    header = data[_HEADER.size : at]
    file = MidiFile(kind, division, tracks, events, data, foreign, header)
    _check_tempos(file)
    return file


def _read_header(data: bytes) -> tuple[int, int, int, int]:
    """File type, tracks, division, and where the header ends."""
    if data[:4] != b"MThd":
        shown = data[:4].hex(" ") or "nothing"
        raise UnreadableInput(
            f"this is not a Standard MIDI File: it begins with {shown}, not with MThd"
        )
    if len(data) < _HEADER.size:
        raise UnreadableInput(f"the header (MThd) is cut off: the file has {len(data)} bytes")
    _, size, kind, tracks, division = _HEADER.unpack_from(data)
    if size < 6 or 8 + size > len(data):
        raise UnreadableInput(
            f"the header (MThd) says that it has {size} bytes; "
            f"it needs 6, and the file has {len(data) - 8} behind its mark"
        )
    if kind > 2:
        raise UnreadableInput(f"the file is of type {kind}; there are types 0, 1 and 2")
    if not tracks:
        raise UnreadableInput("the file has no track")
    if tracks > MOST_TRACKS:
        raise UnreadableInput(f"the header promises {tracks} tracks; no more than {MOST_TRACKS}")
    if division == 0:
        raise UnreadableInput("the header says 0 ticks per beat (division), so time stands still")
    if division < 0 and (-(division >> 8) not in _SMPTE_RATES or not division & 0xFF):
        raise UnreadableInput(
            f"the header counts {-(division >> 8)} SMPTE frames per second with "
            f"{division & 0xFF} ticks each; there are 24, 25, 29 and 30 frames, and 1 to 255 ticks"
        )
    return kind, tracks, division, 8 + size


def _read_chunks(
    data: bytes, at: int, tracks: int
) -> tuple[list[tuple[int, int]], dict[int, bytes]]:
    """Where the events of each track begin and end; chunks of other kinds by track."""
    found: list[tuple[int, int]] = []
    foreign: dict[int, bytes] = {}
    strangers = 0
    while at + _CHUNK.size <= len(data):
        mark, size = _CHUNK.unpack_from(data, at)
        end = at + _CHUNK.size + size
        if len(found) == tracks and (end > len(data) or strangers == _MOST_FOREIGN):
            # Whatever hangs behind the last track belongs to no one.
            break
        if end > len(data):
            raise UnreadableInput(
                f"the chunk {_shown(mark)} at byte {at} says that it has {size} bytes; "
                f"the file ends after {len(data) - at - _CHUNK.size} of them"
            )
        if mark == b"MTrk" and len(found) < tracks:
            found.append((at + _CHUNK.size, end))
        else:
            strangers += 1
            if strangers > _MOST_FOREIGN:
                raise UnreadableInput(
                    f"byte {at}: more than {_MOST_FOREIGN} chunks are no tracks (MTrk)"
                )
            foreign[len(found)] = foreign.get(len(found), b"") + data[at:end]
        at = end
    if len(found) < tracks:
        raise UnreadableInput(
            f"the header promises {tracks} tracks (MTrk); the file ends after {len(found)} of them"
        )
    return found, foreign


def _fault(kind: int, data: bytes, at: int) -> str:
    from handlers.kernels import smf

    byte = f"0x{data[at]:02X}" if at < len(data) else "nothing"
    return {
        smf.TOO_LONG: "a number goes on for more than four bytes",
        smf.CUT_OFF: "the track ends within an event",
        smf.NO_STATUS: f"the data byte {byte} comes before any status (running status)",
        smf.NO_DATA: f"{byte} is a status where a data byte (below 0x80) must be",
        smf.UNDEFINED: f"the status {byte} has no meaning in a file",
        smf.TOO_LATE: f"the track lasts longer than {LAST_TICK} ticks",
        smf.BEYOND: "the length of an event reaches beyond the end of its track",
    }[kind]


def _check_tempos(file: MidiFile) -> None:
    for index in file.metas(TEMPO):
        raw = file.payload(index)
        if len(raw) < 3 or not any(raw[:3]):
            event = file.events[index]
            why = f"has {len(raw)} bytes instead of 3" if len(raw) < 3 else "says 0 µs per beat"
            raise UnreadableInput(f"track {event['track']}, tick {event['tick']}: the tempo {why}")


def _shown(mark: bytes) -> str:
    return mark.decode() if mark.isascii() and mark.decode().isprintable() else mark.hex(" ")
