"""When a tick is: the tempo map of a file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handlers.artifacts import Midi
from handlers.smf.file import DEFAULT_TEMPO, TEMPO, MidiFile


@dataclass(frozen=True)
class Clock:
    """Ticks and seconds of one file, each from the other."""

    #: Where each tempo begins, in ticks and in seconds; the first at 0.
    ticks: NDArray[np.float64]
    seconds: NDArray[np.float64]
    #: Seconds per tick from there on.
    paces: NDArray[np.float64]

    def seconds_at(self, ticks: ArrayLike) -> NDArray[np.float64]:
        """Seconds from the beginning to each tick."""
        wanted = np.asarray(ticks, np.float64)
        part = np.searchsorted(self.ticks, wanted, "right") - 1
        return np.asarray(self.seconds[part] + (wanted - self.ticks[part]) * self.paces[part])

    def ticks_at(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Ticks, with fractions, at each moment; before the beginning they are negative."""
        wanted = np.asarray(seconds, np.float64)
        part = np.maximum(np.searchsorted(self.seconds, wanted, "right") - 1, 0)
        return np.asarray(self.ticks[part] + (wanted - self.seconds[part]) / self.paces[part])


def clock_of(file: MidiFile) -> Clock:
    """The tempo map of a file whose tracks play together (types 0 and 1).

    Of several tempos at one tick the last one counts. A file that counts SMPTE
    time has one pace, whatever its tempo events say.
    """
    return _clock(file, file.metas(TEMPO))


def clocks_of(file: MidiFile) -> list[Clock]:
    """The tempo map of each track; one and the same for all unless they are independent."""
    if file.kind != 2:
        return [clock_of(file)] * file.tracks
    found = file.metas(TEMPO)
    bounds = np.searchsorted(file.events["track"][found], np.arange(file.tracks + 1))
    return [_clock(file, found[start:end]) for start, end in pairwise(bounds)]


def _clock(file: MidiFile, tempos: NDArray[np.int64]) -> Clock:
    if file.smpte is not None:
        frames, ticks = file.smpte
        return Clock(np.zeros(1), np.zeros(1), np.array([1 / (frames * ticks)]))
    tempos = tempos[np.argsort(file.events["tick"][tempos], kind="stable")]
    at = file.events["tick"][tempos].astype(np.float64)
    pace = np.array([tempo(file, index) for index in tempos], np.float64)
    last = np.append(at[1:] != at[:-1], True)[: at.size]
    at, pace = at[last], pace[last]
    if not at.size or at[0] > 0:
        at, pace = np.append(0.0, at), np.append(DEFAULT_TEMPO, pace)
    pace = pace / 1e6 / file.division
    return Clock(at, np.append(0.0, np.cumsum(np.diff(at) * pace[:-1])), pace)


def tempo(file: MidiFile, index: int) -> int:
    """Microseconds per beat that a tempo event says."""
    return int.from_bytes(file.payload(index)[:3], "big")


def seconds_of(file: MidiFile) -> float:
    """How long a file lasts, the ends of its tracks included; of type 2, its longest track."""
    ends = file.events["tick"][file.last_of_tracks]
    if file.kind == 2:
        each = zip(clocks_of(file), ends, strict=True)
        return max(float(clock.seconds_at(tick)) for clock, tick in each)
    return float(clock_of(file).seconds_at(ends.max()))


def duration(midi: Midi) -> float:
    """How many seconds a MIDI file lasts, as the rules' `duration` has it.

    Raises:
        UnreadableInput: it is damaged.
    """
    from handlers.smf.reading import read

    return seconds_of(read(midi))
