"""Notes onto a grid of beats."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from handlers.errors import CannotProcess
from handlers.smf.file import MidiFile
from handlers.smf.notes import moved, notes_of

#: Decimals cannot say a third: what is as near as `0.333` to a simple fraction is that fraction.
_NEAR, _SIMPLE = Fraction(25, 10_000), 24
#: Ticks that no file can count to.
_COARSEST = 2**53


def quantized(file: MidiFile, grid_beats: float) -> MidiFile:
    """The file with each note's start on the nearest line of a grid, the later one of two.

    Lengths are kept, but see `handlers.smf.notes`. A grid finer than the ticks
    of the file changes nothing.

    Raises:
        CannotProcess: the file counts SMPTE time and knows no beats, or the grid
            is so coarse that a note would begin after the last possible tick.
    """
    if file.ticks_per_beat is None:
        raise CannotProcess(
            "the file counts time in SMPTE frames, not in beats; there is no grid of beats for it"
        )
    # Beyond the last tick that a file can count to, all grids are one.
    grid = float(min(_meant(grid_beats) * file.ticks_per_beat, Fraction(_COARSEST)))
    if grid <= 1:
        return file
    notes = notes_of(file)
    lines = np.floor(notes.start / grid + 0.5)
    return moved(file, notes, np.rint(lines * grid).astype(np.int64))


def _meant(grid_beats: float) -> Fraction:
    exact = Fraction(grid_beats)
    simple = exact.limit_denominator(_SIMPLE)
    return simple if abs(simple - exact) <= _NEAR * exact else exact
