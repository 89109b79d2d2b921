"""Notes in seconds, the parts that play them, and the MIDI file that they make."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import mido

DRUMS = 9
#: Ticks per second: finer than what the synthesiser resolves (64 samples).
_TICKS = 10_000


#: Seconds from a note's command until it is heard: the mean of when its loudness passes 10 %
#: and 50 % of its peak, in FluidR3, by General MIDI program. Who plays such an instrument
#: begins as much earlier.
_SPEAKS_S = {
    0: 0.004, 5: 0.002, 6: 0.003, 11: 0.003, 16: 0.012, 18: 0.005, 21: 0.03, 22: 0.023, 24: 0.007,
    25: 0.007, 26: 0.005, 27: 0.007, 29: 0.016, 30: 0.005, 32: 0.011, 33: 0.015, 34: 0.024,
    39: 0.013, 40: 0.061, 42: 0.055, 43: 0.054, 45: 0.037, 46: 0.002, 48: 0.044, 49: 0.147,
    50: 0.025, 52: 0.084, 53: 0.028, 56: 0.007, 65: 0.015, 66: 0.017, 68: 0.032, 71: 0.03,
    73: 0.044, 81: 0.016, 89: 0.15, 90: 0.018, 95: 0.113,
}  # fmt: skip
_DRUMS_SPEAK_S = 0.004


@dataclass
class Note:
    """One note as it is heard; times in seconds."""

    start: float
    end: float
    pitch: int
    velocity: int


@dataclass
class Part:
    """An instrument and what it plays."""

    name: str
    channel: int
    program: int
    volume: int = 100
    pan: int = 64
    #: Time that it comes late, and spread of its timing, in seconds.
    late: float = 0.0
    loose: float = 0.0
    notes: list[Note] = field(default_factory=list)

    @property
    def speaks(self) -> float:
        """Seconds by which its notes are begun early."""
        return _DRUMS_SPEAK_S if self.channel == DRUMS else _SPEAKS_S.get(self.program, 0.0)


class Clock:
    """Beats to seconds: swing inside a beat, drift from beat to beat."""

    def __init__(self, periods: Sequence[float], start: float, swing: float, level: int) -> None:
        """`swing` is where the middle of a beat falls; `level` 2 swings halves of a beat."""
        self._times = [start]
        for period in periods:
            self._times.append(self._times[-1] + period)
        self._swing, self._level = swing, level

    def at(self, beat: float) -> float:
        """Seconds of a position in beats."""
        whole = min(int(beat + 1e-9), len(self._times) - 2)
        inside = (beat - whole) * self._level
        part = min(int(inside + 1e-9), self._level - 1)
        inside -= part
        r = self._swing
        inside = inside / 0.5 * r if inside < 0.5 else r + (inside - 0.5) / 0.5 * (1 - r)
        share = (part + inside) / self._level
        return self._times[whole] + share * (self._times[whole + 1] - self._times[whole])


def midi_file(parts: Sequence[Part], end: float, cents: float) -> bytes:
    """A Standard MIDI File of format 1 in which a tick is a tenth of a millisecond."""
    # One quarter of half a second: then ticks are plain time and tempo lies in the notes.
    song = mido.MidiFile(type=1, ticks_per_beat=_TICKS // 2)
    for part in parts:
        track = mido.MidiTrack()
        song.tracks.append(track)
        ch = part.channel
        head = [mido.Message("program_change", channel=ch, program=part.program)]
        controls = [(7, part.volume), (10, part.pan)]
        if ch != DRUMS:
            fine = max(0, min(16383, round(8192 + cents / 100 * 8192)))
            controls += [(101, 0), (100, 1), (6, fine >> 7), (38, fine & 127), (101, 127)]
            controls += [(100, 127)]
        head += [
            mido.Message("control_change", channel=ch, control=control, value=value)
            for control, value in controls
        ]
        timed: list[tuple[int, int, mido.Message]] = [(0, 0, message) for message in head]
        for note in part.notes:
            on = mido.Message("note_on", channel=ch, note=note.pitch, velocity=note.velocity)
            off = mido.Message("note_off", channel=ch, note=note.pitch, velocity=64)
            timed.append((round(max(0, note.start - part.speaks) * _TICKS), 2, on))
            timed.append((round((note.end - part.speaks) * _TICKS), 1, off))
        # The file lasts until `end`, so that the last notes may fade.
        last = mido.Message("control_change", channel=ch, control=10, value=part.pan)
        timed.append((round(end * _TICKS), 3, last))
        timed.sort(key=lambda entry: entry[:2])
        now = 0
        for tick, _, message in timed:
            track.append(message.copy(time=tick - now))
            now = tick
    held = io.BytesIO()
    song.save(file=held)
    return held.getvalue()


def onsets_of(parts: Sequence[Part], together: float = 0.03) -> list[float]:
    """First attack of each group of notes within `together` seconds; ghost notes do not count."""
    starts = sorted(n.start for part in parts for n in part.notes if n.velocity >= 30)
    found: list[float] = []
    for start in starts:
        if not found or start - found[-1] > together:
            found.append(start)
    return found
