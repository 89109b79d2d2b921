"""Notes that were heard, in seconds and with bends, as a MIDI file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from handlers.artifacts import Midi
from handlers.smf.file import DRUMS
from handlers.smf.making import Sheet, Track

TICKS_PER_BEAT = 480
BPM = 120
#: Steps of the pitch wheel per semitone: it reaches two of them, as General MIDI has it.
_WHEEL = 4096
_ELECTRIC_PIANO = 4
_CHANNELS = [channel for channel in range(16) if channel != DRUMS]


@dataclass(frozen=True)
class HeardNote:
    """One note as it was heard."""

    #: Seconds.
    start: float
    end: float
    #: MIDI number.
    pitch: int
    #: 1 to 127.
    velocity: int
    #: Semitones that it is off its pitch, evenly spread from its start to its end.
    bends: tuple[float, ...] = ()


def written(notes: Sequence[HeardNote], *, together: bool, program: int = _ELECTRIC_PIANO) -> Midi:
    """The notes as a file at 120 BPM.

    Args:
        notes: in any order.
        together: the wheel bends a whole channel, so notes that overlap are not
            bent; with `together`, each has a channel of its own (15 at a time).
        program: General MIDI instrument, from 0.
    """
    sheet = Sheet(TICKS_PER_BEAT)
    sheet.track().tempo(0, BPM)
    ordered = sorted(notes, key=lambda note: (note.start, note.end, note.pitch))
    for channel, mine in (_apart(ordered) if together else {0: _alone(ordered)}).items():
        track = sheet.track()
        track.program(0, channel=channel, program=program)
        wheel = 0
        for note in mine:
            wheel = _write(track, channel, note, wheel)
    return sheet.midi()


def _write(track: Track, channel: int, note: HeardNote, wheel: int) -> int:
    """Add one note; takes and gives where the wheel stands."""
    start, end = _tick(note.start), _tick(note.end)
    track.note(start, end, channel=channel, pitch=note.pitch, velocity=note.velocity)
    bends = note.bends or (0.0,)  # the note before may have left the wheel anywhere
    for at, bend in zip(np.linspace(note.start, note.end, len(bends)), bends, strict=True):
        value = min(max(round(bend * _WHEEL), -8192), 8191)
        if value != wheel:
            track.pitch_bend(_tick(at), channel=channel, value=value)
            wheel = value
    return wheel


def _tick(seconds: float) -> int:
    return round(seconds * (TICKS_PER_BEAT * BPM / 60))


def _alone(ordered: Sequence[HeardNote]) -> list[HeardNote]:
    """The notes, without the bends of those that overlap another."""
    ends = list(accumulate((note.end for note in ordered), max, initial=0.0))
    overlapped = [note.start < before for note, before in zip(ordered, ends, strict=False)]
    overlaps = [after.start < note.end for note, after in pairwise(ordered)]
    return [
        replace(note, bends=()) if one or other else note
        for note, one, other in zip(ordered, overlapped, [*overlaps, False], strict=False)
    ]


def _apart(ordered: Sequence[HeardNote]) -> dict[int, list[HeardNote]]:
    """The notes by channel, so that those of one channel do not overlap."""
    placed: dict[int, list[HeardNote]] = {}
    ends = dict.fromkeys(_CHANNELS, 0.0)
    for note in ordered:
        free = [channel for channel in _CHANNELS if ends[channel] <= note.start]
        # A pitch keeps its channel where it can; else the one that has rested longest.
        same = [c for c in free if c in placed and placed[c][-1].pitch == note.pitch]
        if free:
            channel = same[0] if same else min(free, key=ends.__getitem__)
        else:  # sixteen at once: this one shares a wheel, and leaves it where it is
            channel = min(_CHANNELS, key=ends.__getitem__)
            note = replace(note, bends=placed[channel][-1].bends[-1:])  # noqa: PLW2901
        placed.setdefault(channel, []).append(note)
        ends[channel] = max(ends[channel], note.end)
    return dict(sorted(placed.items()))
