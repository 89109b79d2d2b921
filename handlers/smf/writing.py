"""A `MidiFile` into bytes."""

from __future__ import annotations

import struct

import numpy as np

from handlers.artifacts import Midi
from handlers.errors import CannotProcess
from handlers.smf.file import LARGEST_GAP, MidiFile


def write(file: MidiFile) -> Midi:
    """The file as it lies on disk; the same file gives the same bytes.

    Raises:
        CannotProcess: two events of a track are too far apart for the format.
    """
    from handlers.kernels.smf import write_track

    parts = [
        struct.pack(">4sIHHh", b"MThd", 6 + len(file.header), file.kind, file.tracks, file.division)
        + file.header
    ]
    pool = np.frombuffer(file.pool, np.uint8)
    bounds = np.searchsorted(file.events["track"], np.arange(file.tracks + 1))
    for track in range(file.tracks):
        events = file.events[bounds[track] : bounds[track + 1]]
        out = np.empty(10 * events.size + int(events["size"].sum(dtype=np.int64)), np.uint8)
        size = write_track(events, pool, out)
        if size < 0:
            raise CannotProcess(
                f"track {track} would be silent for more than {LARGEST_GAP} ticks before "
                f"tick {events[-1 - size]['tick']}, which a MIDI file cannot say"
            )
        parts.append(file.foreign.get(track, b""))
        parts.append(struct.pack(">4sI", b"MTrk", size) + out[:size].tobytes())
    parts.append(file.foreign.get(file.tracks, b""))
    return Midi(b"".join(parts))
