"""Chance in the playing of notes."""

from __future__ import annotations

import numpy as np

from handlers.smf.clock import Clock, clocks_of
from handlers.smf.file import MidiFile, Ticks
from handlers.smf.notes import APART, Notes, notes_between

#: Seconds that rounding may cost; far less than any tick.
_ROUNDING = 1e-9


def shifted(file: MidiFile, notes: Notes, most: float, rng: np.random.Generator) -> Ticks:
    """A start for each note, at most so many seconds from its own.

    Within a key none overtakes another, and those that began one after the
    other still do where `most` leaves a tick for it.

    Args:
        file: a file.
        notes: its notes.
        most: seconds.
        rng: where the chance comes from.
    """
    early, late = _within(file, notes, most)
    after_change, before_change = notes_between(file, notes)
    early = np.maximum(early, after_change)
    late = np.minimum(late, before_change)
    drawn = early + np.floor(rng.random(notes.count) * (late - early + 1)).astype(np.int64)
    # The running maximum of each key pushes on whoever was overtaken: by one tick more
    # for each beginning that lay apart.
    apart = np.append(False, notes.start[1:] > notes.start[:-1])[: notes.count]
    rank = np.cumsum(apart & ~notes.first_of_key)
    base = notes.key * APART - rank
    return np.minimum(np.maximum.accumulate(base + drawn) - base, late)


def struck(file: MidiFile, percent: float, rng: np.random.Generator) -> MidiFile:
    """The file with other velocities, at most so many percent of 127 from its own."""
    most = int(127 * percent / 100 + _ROUNDING)
    if not most:
        return file
    events = file.events.copy()
    on = np.flatnonzero(file.starts_note)
    changed = events["data2"][on] + rng.integers(-most, most, on.size, endpoint=True)
    # 0 would be a note-off.
    events["data2"][on] = np.clip(changed, 1, 127)
    return file.having(events)


def _within(file: MidiFile, notes: Notes, most: float) -> tuple[Ticks, Ticks]:
    """The first and the last tick that each note may begin at."""
    early, late = np.empty(notes.count, np.int64), np.empty(notes.count, np.int64)
    # Keys of independent tracks lie track after track.
    tracks = notes.key // (16 * 128)
    clocks = clocks_of(file) if file.kind == 2 else clocks_of(file)[:1]
    bounds = np.searchsorted(tracks, np.arange(len(clocks) + 1))
    for track, clock in enumerate(clocks):
        part = slice(bounds[track], bounds[track + 1])
        early[part], late[part] = _around(clock, notes.start[part], most)
    return early, late


def _around(clock: Clock, starts: Ticks, most: float) -> tuple[Ticks, Ticks]:
    seconds = clock.seconds_at(starts)
    early = np.ceil(clock.ticks_at(seconds - most - _ROUNDING))
    late = np.floor(clock.ticks_at(seconds + most + _ROUNDING))
    # However rounding turns out, a note may stay where it is.
    return (
        np.clip(early, 0, starts).astype(np.int64),
        np.maximum(late, starts).astype(np.int64),
    )
