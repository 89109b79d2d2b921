"""Which note-off ends which note-on, and notes at other times.

When notes move, all else stays: every other event keeps its tick and its place
among its neighbours. Where that would lie about the music, the least is mended:

- A note that would now be struck again before it has ended ends there. (MIDI
  has one key per pitch and channel: its next note-off would silence both.)
- Ends come before beginnings of the same key at the same tick.
- A change of instrument stays between the notes that it stands between.
- A track ends after its last event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.errors import CannotProcess
from handlers.smf.file import BANK_HIGH, BANK_LOW, CONTROLLER, LAST_TICK, PROGRAM, MidiFile, Ticks

Indices = NDArray[np.int64]

#: More than any tick: keeps keys apart in one running maximum.
APART = 4 * (LAST_TICK + 1)


@dataclass(frozen=True)
class Notes:
    """The notes of a file by key, those of one key by their starts. All arrays are `(notes,)`."""

    #: Index of the event that begins the note, and of the one that ends it (-1: nothing does).
    on: Indices
    off: Indices
    #: Its key on the keyboard of its channel; of type 2 files, of its track.
    key: Indices
    start: Ticks
    #: Of a note that nothing ends, its start.
    end: Ticks

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.on.size)

    @property
    def first_of_key(self) -> NDArray[np.bool_]:
        """Which notes are the first of their key."""
        return np.append(True, self.key[1:] != self.key[:-1])[: self.count]


def notes_of(file: MidiFile) -> Notes:
    """Pair the notes of a file.

    An off ends the note of its channel and pitch that has sounded longest. It
    ends notes of its own track; only what is left over then, of tracks that
    play together, is paired from one track to another.
    """
    from handlers.kernels.smf import pair

    events = file.events
    starts = file.starts_note
    halves = np.flatnonzero(starts | file.ends_note)
    partner = np.full(events.size, -1, np.int64)
    pair(events, halves, True, partner)
    if file.kind != 2 and file.tracks > 1:
        left = halves[partner[halves] < 0]
        pair(events, left[np.argsort(events["tick"][left], kind="stable")], False, partner)
    on = np.flatnonzero(starts)
    key = players(file, on) * 128 + events["data1"][on]
    order = np.lexsort((on, events["tick"][on], key))
    on, key = on[order], key[order]
    off = partner[on]
    start = events["tick"][on]
    end = np.where(off >= 0, events["tick"][off], start)
    return Notes(on, off, key, start, end)


def players(file: MidiFile, index: Indices) -> Indices:
    """Who plays some channel events: their channel; in type 2 files, that of their track."""
    events = file.events[index]
    channels = (events["status"] & 0x0F).astype(np.int64)
    return channels + 16 * events["track"].astype(np.int64) if file.kind == 2 else channels


def instrument_changes(file: MidiFile) -> Indices:
    """Where events choose an instrument: programs and their banks."""
    kinds, which = file.kinds, file.events["data1"]
    bank = (kinds == CONTROLLER) & ((which == BANK_HIGH) | (which == BANK_LOW))
    return np.flatnonzero((kinds == PROGRAM) | bank)


def instruments_between(
    file: MidiFile, notes: Notes, starts: Ticks
) -> tuple[Indices, Ticks, Ticks]:
    """Changes of instrument, and where the notes before and after each of them begin.

    Args:
        file: a file.
        notes: its notes.
        starts: where each of them begins.

    Returns:
        Index of each change, the last beginning before it and the first after it.
    """
    changes = instrument_changes(file)
    index, order, base = _by_player(file, notes, changes)
    begins = np.append(starts, np.full(changes.size, -1))[order]
    none = begins < 0
    before = np.maximum.accumulate(base + np.where(none, 0, begins)) - base
    after = np.where(none, APART - 1, begins) + base
    after = np.minimum.accumulate(after[::-1])[::-1] - base
    return index[order][none], before[none], after[none]


def notes_between(file: MidiFile, notes: Notes) -> tuple[Ticks, Ticks]:
    """For each note the last change of its instrument before it and the first after it.

    Returns:
        Ticks; the first and the last possible where there is none.
    """
    changes = instrument_changes(file)
    _, order, base = _by_player(file, notes, changes)
    at = np.append(np.full(notes.count, -1), file.events["tick"][changes])[order]
    none = at < 0
    before = np.maximum.accumulate(base + np.where(none, 0, at)) - base
    after = np.where(none, LAST_TICK, at) + base
    after = np.minimum.accumulate(after[::-1])[::-1] - base
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return before[back[: notes.count]], after[back[: notes.count]]


def _by_player(file: MidiFile, notes: Notes, changes: Indices) -> tuple[Indices, Indices, Indices]:
    """Beginnings of notes, then changes: their indices, their order as played, and a base.

    Values above the base of each player are apart from those of all others.
    """
    index = np.append(notes.on, changes)
    player = players(file, index)
    order = np.lexsort((index, file.events["tick"][index], player))
    return index, order, player[order] * APART


def moved(file: MidiFile, notes: Notes, starts: Ticks) -> MidiFile:
    """The file with its notes at other starts, their lengths kept.

    Args:
        file: a file.
        notes: its notes.
        starts: where each begins now; within a key none overtakes another.

    Raises:
        CannotProcess: a note would begin or end later than a file can say.
    """
    shifts = starts - notes.start
    if not shifts.any():
        return file
    ends = _not_struck_twice(notes, starts)
    if int(ends.max(initial=0)) > LAST_TICK:
        raise CannotProcess(f"a note would end at tick {ends.max()}; the last is {LAST_TICK}")
    ticks = file.events["tick"].copy()
    ticks[notes.on] = starts
    ended = notes.off >= 0
    ticks[notes.off[ended]] = ends[ended]
    changes, earliest, latest = instruments_between(file, notes, starts)
    ticks[changes] = np.clip(ticks[changes], earliest, latest)
    places = 2 * np.arange(ticks.size)
    _ends_first(notes, shifts, starts, ends, places)
    return ordered(file, ticks, places)


def ordered(file: MidiFile, ticks: Ticks, places: Indices | None = None) -> MidiFile:
    """The file with its events at other ticks.

    Args:
        file: a file.
        ticks: of each event.
        places: of events of one track at one tick the order; None keeps that of the file.
    """
    events = file.events.copy()
    events["tick"] = ticks
    last = file.last_of_tracks
    firsts = np.append(0, last[:-1] + 1)
    events["tick"][last] = np.maximum.reduceat(ticks, firsts)
    within = np.arange(ticks.size) if places is None else places
    return file.having(events[np.lexsort((within, events["tick"], events["track"]))])


def _not_struck_twice(notes: Notes, starts: Ticks) -> Ticks:
    """Where each note ends: before one that it did not overlap before."""
    ends = notes.end + starts - notes.start
    limit = _first_from(notes, notes.start, notes.end)
    later = _first_from(notes, starts, starts + 1)
    limit = np.maximum(limit, later)
    # A note of length 0 may be its own limit.
    limit = np.maximum(limit, np.arange(notes.count) + 1)
    known = np.append(starts, 0)[np.minimum(limit, notes.count)]
    same = np.append(notes.key, -1)[np.minimum(limit, notes.count)] == notes.key
    return np.where(same, np.minimum(ends, known), ends)


def _first_from(notes: Notes, starts: Ticks, ticks: Ticks) -> Indices:
    """For each note the first of its key (or the first of the next) with a start from a tick on."""
    return np.searchsorted(notes.key * APART + starts, notes.key * APART + ticks, "left")


def _ends_first(notes: Notes, shifts: Ticks, starts: Ticks, ends: Ticks, places: Indices) -> None:
    """Put ends before beginnings of the same key at the same tick, where one of both moved."""
    if not notes.count:
        return
    begins = np.minimum(_first_from(notes, starts, ends), notes.count - 1)
    on, off = notes.on[begins], notes.off
    wrong = (
        (off > on)
        & (starts[begins] == ends)
        & (notes.key[begins] == notes.key)
        & (starts < ends)
        & ((shifts != 0) | (shifts[begins] != 0))
    )
    places[off[wrong]] = 2 * on[wrong] - 1
