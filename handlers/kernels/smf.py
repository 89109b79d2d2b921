"""The inner loops of Standard MIDI Files: bytes into events, events into bytes, offs to ons.

Events are records of `handlers.smf.file.EVENT`.
"""

from __future__ import annotations

import numpy as np
from numba import from_dtype, types
from numpy.typing import NDArray

from handlers.kernels.jit import kernel
from handlers.kernels.pcm import BYTES, OUT_BYTES
from handlers.smf.file import END_OF_TRACK, EVENT, LARGEST_GAP, LAST_TICK, META, Events

_EVENTS = types.Array(from_dtype(EVENT), 1, "C", readonly=True)
_OUT_EVENTS = types.Array(from_dtype(EVENT), 1, "C")
_INDICES = types.Array(types.int64, 1, "C", readonly=True)
_OUT_INDICES = types.Array(types.int64, 1, "C")

TOO_LONG, CUT_OFF, NO_STATUS, NO_DATA, UNDEFINED, TOO_LATE, BEYOND = range(1, 8)
"""What can be wrong with a track."""

#: Data bytes behind a status that has no payload; 3 where the status has no meaning.
_SIZES = np.array([2, 2, 2, 2, 1, 1, 2], np.int64)
_SYSTEM_SIZES = np.array([3, 1, 2, 1, 3, 3, 0, 3, 0, 3, 0, 0, 0, 3, 0, 3], np.int64)
_NOTES = 16 * 128

Whole = int | np.int64


@kernel((BYTES, types.int64, types.int64))
def _number(data: NDArray[np.uint8], at: Whole, end: Whole) -> tuple[Whole, Whole]:
    """A number of variable length and where it ends; its fault, negated, instead of it."""
    value = np.int64(0)
    for taken in range(4):
        if at + taken >= end:
            return -CUT_OFF, at
        byte = np.int64(data[at + taken])
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + taken + 1
    return -TOO_LONG, at


@kernel(
    types.int64(
        BYTES, types.int64, types.int64, types.int64, _OUT_EVENTS, types.int64, _OUT_INDICES
    )
)
def read_track(
    data: NDArray[np.uint8],
    at: Whole,
    end: Whole,
    track: Whole,
    events: Events,
    count: int,
    fault: NDArray[np.int64],
) -> int:
    """Append the events of one track to the first `count` of `events`.

    What follows an end of track is left out; a missing one is added.

    Args:
        data: the file.
        at, end: where the track's events lie in it.
        track: its number.
        events: with room for an event per two bytes and one more.
        count: how many there are already.
        fault: kind and place of what is wrong, if anything is.

    Returns:
        How many events there are now; -1 when something is wrong.
    """
    tick: Whole = np.int64(0)
    running = np.int64(0)
    while at < end:
        begin = at
        gap, at = _number(data, at, end)
        tick += gap
        if gap < 0 or tick > LAST_TICK or at >= end:
            fault[0] = -gap if gap < 0 else TOO_LATE if tick > LAST_TICK else CUT_OFF
            fault[1] = begin
            return -1
        status = np.int64(data[at])
        bare = status < 0x80
        if bare:
            status = running
        else:
            at += 1
        if status == 0:
            fault[0], fault[1] = NO_STATUS, at
            return -1
        kind = np.int64(0)
        second = np.int64(0)
        size: Whole = np.int64(0)
        start: Whole = np.int64(0)
        if status == META or status == 0xF0 or status == 0xF7:
            if status == META:
                if at >= end:
                    fault[0], fault[1] = CUT_OFF, begin
                    return -1
                kind = np.int64(data[at])
                at += 1
            size, start = _number(data, at, end)
            if size < 0 or size > end - start:
                fault[0], fault[1] = (-size if size < 0 else BEYOND), at
                return -1
            at = start + size
        else:
            if status < 0xF0:
                running = status
                needed = _SIZES[(status >> 4) - 8]
            else:
                needed = _SYSTEM_SIZES[status & 0x0F]
            if needed == 3:
                fault[0], fault[1] = UNDEFINED, at - 1
                return -1
            if needed > end - at:
                fault[0], fault[1] = CUT_OFF, begin
                return -1
            for i in range(needed):
                if data[at + i] >= 0x80:
                    fault[0], fault[1] = NO_DATA, at + i
                    return -1
            if needed > 0:
                kind = np.int64(data[at])
            if needed > 1:
                second = np.int64(data[at + 1])
            at += needed
        event = events[count]
        event.tick, event.track, event.start, event.size = tick, track, start, size
        event.status, event.data1, event.data2, event.running = status, kind, second, bare
        count += 1
        if status == META and kind == END_OF_TRACK:
            event.size = 0
            return count
    event = events[count]
    event.tick, event.track, event.start, event.size = tick, track, 0, 0
    event.status, event.data1, event.data2, event.running = META, END_OF_TRACK, 0, False
    return count + 1


@kernel(types.int64(types.int64, OUT_BYTES, types.int64))
def _put_number(value: Whole, out: NDArray[np.uint8], at: Whole) -> Whole:
    """Write a number of variable length; where it ends."""
    for shift in (21, 14, 7):
        if value >> shift:
            out[at] = value >> shift & 0x7F | 0x80
            at += 1
    out[at] = value & 0x7F
    return at + 1


@kernel(types.int64(_EVENTS, BYTES, OUT_BYTES))
def write_track(events: Events, pool: NDArray[np.uint8], out: NDArray[np.uint8]) -> Whole:
    """The bytes of one track's events.

    Args:
        events: of that track, in order.
        pool: where their payloads lie.
        out: with room for ten bytes per event and all payloads.

    Returns:
        How many bytes; for a gap that cannot be written, -1 less the event after it.
    """
    at: Whole = np.int64(0)
    last = np.int64(0)
    before = np.int64(0)
    for i in range(events.shape[0]):
        event = events[i]
        gap = event.tick - last
        if gap > LARGEST_GAP:
            return -1 - i
        last = event.tick
        at = _put_number(gap, out, at)
        status = np.int64(event.status)
        if not (event.running and status == before):
            out[at] = status
            at += 1
        before = status if status < 0xF0 else np.int64(0)
        if status == META:
            out[at] = event.data1
            at += 1
        if status == META or status == 0xF0 or status == 0xF7:
            at = _put_number(np.int64(event.size), out, at)
            for k in range(event.size):
                out[at + k] = pool[event.start + k]
            at += event.size
            continue
        needed = _SIZES[(status >> 4) - 8] if status < 0xF0 else _SYSTEM_SIZES[status & 0x0F]
        if needed > 0:
            out[at] = event.data1
        if needed > 1:
            out[at + 1] = event.data2
        at += needed
    return at


@kernel(types.void(_EVENTS, _INDICES, types.boolean, _OUT_INDICES))
def pair(
    events: Events, order: NDArray[np.int64], by_track: bool, partner: NDArray[np.int64]
) -> None:
    """Give each note-on its note-off: the first to come ends the first that sounds.

    Args:
        events: of the whole file.
        order: which of them to go through, in this order; only those that start or
            end notes.
        by_track: an off ends notes of its own track only (`order` then goes track by track).
        partner: of each event the index of its other half; those without one are left alone.
    """
    first = np.full(_NOTES, -1, np.int64)
    last = np.full(_NOTES, -1, np.int64)
    after = np.full(partner.shape[0], -1, np.int64)
    track = np.int64(-1)
    for i in range(order.shape[0]):
        index = order[i]
        event = events[index]
        if by_track and event.track != track:
            track = np.int64(event.track)
            first[:] = -1
        note = (np.int64(event.status) & 0x0F) * 128 + np.int64(event.data1)
        if event.status >= 0x90 and event.data2 > 0:
            if first[note] < 0:
                first[note] = index
            else:
                after[last[note]] = index
            last[note] = index
        elif first[note] >= 0:
            partner[index] = first[note]
            partner[first[note]] = index
            first[note] = after[first[note]]
