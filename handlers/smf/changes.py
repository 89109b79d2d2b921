"""Changes to whole files that move no event in time."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np

from handlers.errors import CannotProcess
from handlers.smf.file import DRUMS, EVENT, KEY_PRESSURE, META, TEMPO, Events, MidiFile
from handlers.smf.making import tempo_bytes


def on_channels(file: MidiFile, kept: AbstractSet[int]) -> MidiFile:
    """The file without the events of other channels."""
    return file.where(np.isin(file.channels, [-1, *kept]))


def transposed(file: MidiFile, semitones: int) -> MidiFile:
    """The file with its notes, and the pressure of their keys, moved on the keyboard.

    Drums stay. What leaves the keyboard is dropped whole: both halves of a note
    have the same pitch.
    """
    moving = (file.kinds <= KEY_PRESSURE) & (file.channels != DRUMS) & (file.channels >= 0)
    pitch = file.events["data1"].astype(np.int16)
    pitch[moving] += semitones
    kept = ~moving | ((pitch >= 0) & (pitch < 128))
    events = file.events[kept]
    events["data1"] = pitch[kept]
    return file.having(events)


def at_tempo(file: MidiFile, bpm: float) -> MidiFile:
    """The file with one tempo, at its beginning, in place of all that it has.

    It stands where the first tempo of tick 0 was, else at the head of the first
    track; in a file of independent tracks, of each track.

    Raises:
        CannotProcess: the file counts SMPTE time, which no tempo changes.
        BadParameter: a file cannot say so slow a tempo.
    """
    if file.ticks_per_beat is None:
        raise CannotProcess(
            "the file counts time in SMPTE frames, not in beats; a tempo would change nothing"
        )
    payload = tempo_bytes(bpm)
    told = file.metas(TEMPO)
    tracks = file.events["track"]
    firsts = np.append(0, file.last_of_tracks[:-1] + 1)
    if file.kind != 2:
        firsts = firsts[:1]
    kept = np.ones(file.events.size, bool)
    kept[told] = False
    at_zero = told[file.events["tick"][told] == 0]
    places = np.array([_place(at_zero, tracks, track, file.kind) for track in range(firsts.size)])
    places = np.where(places < 0, firsts, places)
    fresh = _tempos(tracks[places], len(file.pool))
    events = np.insert(file.events, places, fresh)
    return MidiFile(
        file.kind,
        file.division,
        file.tracks,
        events[np.insert(kept, places, True)],
        file.pool + payload,
        file.foreign,
        file.header,
    )


def _place(at_zero: np.ndarray, tracks: np.ndarray, track: int, kind: int) -> int:
    """Index of the first tempo event at tick 0 (of a track, if they are independent); or -1."""
    found = at_zero if kind != 2 else at_zero[tracks[at_zero] == track]
    return int(found[0]) if found.size else -1


def _tempos(tracks: np.ndarray, start: int) -> Events:
    fresh = np.zeros(tracks.size, EVENT)
    fresh["track"], fresh["start"], fresh["size"] = tracks, start, 3
    fresh["status"], fresh["data1"] = META, TEMPO
    return fresh
