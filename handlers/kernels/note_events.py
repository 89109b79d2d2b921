"""Notes from the activations of a transcription model, frame by frame and pitch by pitch.

Source: R. M. Bittner and others, "A Lightweight Instrument-Agnostic Model for Polyphonic Note
Transcription and Multipitch Estimation", ICASSP 2022, as `basic_pitch.note_creation` 0.4 has
it. What that does with a search over all frames for each note is done here with one sort.

`notes` and `onsets` are float32 `(frames, pitches)`, `contours` float32 `(frames, 3 * pitches)`:
how sure the model is that a pitch sounds, begins, and lies in a third of a semitone.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import FUSED, OUT_ROWS, ROWS, TABLE, kernel

PITCHES = 88
BINS = 3
"""Thirds of a semitone; pitch `p` lies in bin `3 * p + 1`. The original takes it for the one
below, so that its bends of a tone in tune are 33 cents sharp; where it looks is kept."""
_REACH = 25
_PATIENCE = 11  # frames below the threshold that do not end a note yet

Found = tuple[int, int, int, float]

_BENDS = types.Array(types.int8, 2, "C")
#: In the order of the values: no sum may be reordered, or a peak could move.
_EXACT = FUSED - {"contract"}


@kernel(types.void(ROWS, TABLE, _BENDS), fast=_EXACT)
def bends_of(contours: Samples, weights: NDArray[np.float64], out: NDArray[np.int8]) -> None:
    """How far each pitch is off, in bins, were it to sound.

    Args:
        contours: see above.
        weights: 51 of them: how near to its pitch a note is looked for.
        out: int8 `(frames, pitches)`.
    """
    bins = contours.shape[1]
    for at in range(contours.shape[0]):
        for pitch in range(out.shape[1]):
            middle = BINS * pitch
            low = max(0, middle - _REACH)
            high = min(bins, middle + _REACH + 1)
            best, most = low, -1.0
            for i in range(low, high):
                value = contours[at, i] * weights[i - middle + _REACH]
                if value > most:
                    best, most = i, value
            out[at, pitch] = best - middle - 1


@kernel(types.float64(ROWS, types.int64, types.int64), fast=_EXACT)
def _rise(notes: Samples, at: int, pitch: int) -> float:
    rise = 0.0
    if at >= 2:
        here = np.float64(notes[at, pitch])
        rise = min(here - notes[at - 1, pitch], here - notes[at - 2, pitch])
    return max(rise, 0.0)


@kernel(types.float64(ROWS), fast=_EXACT)
def steepest(notes: Samples) -> float:
    """The largest rise of any pitch, seen from one and from two frames before."""
    most = 0.0
    for at in range(2, notes.shape[0]):
        for pitch in range(notes.shape[1]):
            most = max(most, _rise(notes, at, pitch))
    return most


@kernel(
    types.float64(ROWS, ROWS, types.int64, types.int64, types.float64, types.float64), fast=_EXACT
)
def _onset(
    notes: Samples, onsets: Samples, at: int, pitch: int, strongest: float, steep: float
) -> float:
    """The onset that the model sees, or that a rise tells, scaled to be as strong."""
    told = strongest * _rise(notes, at, pitch) / steep if steep > 0.0 else 0.0
    return max(np.float64(onsets[at, pitch]), told)


@kernel(types.float64(ROWS, types.int64, types.int64, types.int64), fast=_EXACT)
def _mean(notes: Samples, start: int, end: int, pitch: int) -> float:
    total = 0.0
    for at in range(start, end):
        total += notes[at, pitch]
    return total / (end - start)


@kernel(types.void(OUT_ROWS, types.int64, types.int64), fast=_EXACT)
def _explain(left: Samples, at: int, pitch: int) -> None:
    for near in range(max(0, pitch - 1), min(left.shape[1], pitch + 2)):
        left[at, near] = 0


@kernel(
    (
        *(ROWS, ROWS, OUT_ROWS),
        *(types.float64, types.float64, types.float64, types.float64, types.int64),
    ),
    fast=_EXACT,
)
def notes_from_onsets(
    notes: Samples,
    onsets: Samples,
    left: Samples,
    strongest: float,
    steep: float,
    onset_threshold: float,
    threshold: float,
    shortest: int,
) -> list[Found]:
    """Notes that begin at an onset, the last ones first.

    Args:
        notes: see above.
        onsets: see above.
        left: a copy of `notes`; what a note explains is set to 0 in it and in its neighbours.
        strongest: the largest of all onsets.
        steep: what `steepest` says of all notes.
        onset_threshold: what an onset must reach.
        threshold: below it a pitch does not sound.
        shortest: a note must have more frames than this.

    Returns:
        First frame, frame after the last, pitch from 0, and how sure it is, of each.
    """
    frames, pitches = notes.shape
    found = [(0, 0, 0, 0.0)][:0]  # what it will hold
    for at in range(frames - 2, -1, -1):
        for pitch in range(pitches - 1, -1, -1):
            here = 0.0
            if at > 0:
                peak = _onset(notes, onsets, at, pitch, strongest, steep)
                if (
                    peak >= onset_threshold
                    and peak > _onset(notes, onsets, at - 1, pitch, strongest, steep)
                    and peak > _onset(notes, onsets, at + 1, pitch, strongest, steep)
                ):
                    here = peak
            # At a threshold of 0 everything is an onset, in the original too.
            if here < onset_threshold:
                continue
            i = at + 1
            below = 0
            while i < frames - 1 and below < _PATIENCE:
                below = below + 1 if left[i, pitch] < threshold else 0
                i += 1
            i -= below
            if i - at <= shortest:
                continue
            left[at:i, pitch] = 0
            if pitch < pitches - 1:
                left[at:i, pitch + 1] = 0
            if pitch > 0:
                left[at:i, pitch - 1] = 0
            found.append((at, i, pitch, _mean(notes, at, i, pitch)))
    return found


@kernel(
    (ROWS, OUT_ROWS, types.Array(types.int64, 1, "C"), types.float64, types.int64),
    fast=_EXACT,
)
def notes_from_the_rest(
    notes: Samples, left: Samples, order: NDArray[np.int64], threshold: float, shortest: int
) -> list[Found]:
    """Notes around what no onset explains, the surest ones first.

    Args:
        notes: see above.
        left: what `notes_from_onsets` has left; what is explained is set to 0.
        order: places in `left`, flat, from the largest value down.
        threshold: as there.
        shortest: as there.

    Returns:
        As there.
    """
    frames, pitches = notes.shape
    found = [(0, 0, 0, 0.0)][:0]  # what it will hold
    for place in order:
        middle, pitch = place // pitches, place % pitches
        if not left[middle, pitch] > threshold:
            continue
        left[middle, pitch] = 0
        i = middle + 1
        below = 0
        while i < frames - 1 and below < _PATIENCE:
            below = below + 1 if left[i, pitch] < threshold else 0
            _explain(left, i, pitch)
            i += 1
        end = i - 1 - below
        i = middle - 1
        below = 0
        while i > 0 and below < _PATIENCE:
            below = below + 1 if left[i, pitch] < threshold else 0
            _explain(left, i, pitch)
            i -= 1
        start = i + 1 + below
        if end - start > shortest:
            found.append((start, end, pitch, _mean(notes, start, end, pitch)))
    return found
