"""Notes out of a sound, many at a time, by basic-pitch's model.

The model hears two seconds at once. A sound goes by in windows that overlap, so
memory does not grow with its length; notes are made of what the windows say in
parts of up to ten minutes. A sound that is no longer gives the very notes of
basic-pitch itself; of a longer one, parts end where nothing sounds, and how much
a rising pitch counts is measured on what has been heard so far.

Two things are mended: basic-pitch leaves out the last 0.7 % of a sound, and its
bends are a bin (33 cents) sharp.

Source: R. M. Bittner and others, "A Lightweight Instrument-Agnostic Model for Polyphonic Note
Transcription and Multipitch Estimation", ICASSP 2022; weights and decoding of basic-pitch 0.4.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.codecs.resample import resampled
from handlers.engines.shelf import Lent, packaged
from handlers.errors import WeightsCorrupt
from handlers.notation import HeardNote
from handlers.pitch_model import EDGE, FRAMES, GIVEN, INPUT, OUTPUTS, PITCHES, SAMPLES, graph_of
from handlers.streams import Feed

RATE = 22050
HOP = 256
_STEP = SAMPLES - 2 * EDGE * HOP
_LOWEST = 21  # MIDI number of the first pitch, A0
_BINS = 3  # to a semitone, of bends

#: Each window is late against the frames before it by this many seconds; the last summand is
#: the original's own and was found by trial.
_LATE_S = HOP / RATE * (FRAMES - SAMPLES / HOP) + 0.0018

PART_FRAMES = 10 * 60 * RATE // HOP
"""Frames that notes are made of at once: ten minutes, 40 MB."""
#: So many frames without any pitch keep what is before and after them apart.
_SILENT = 24
#: More windows at once than this no longer pay: one thread decodes and resamples for all.
_MOST_THREADS = 4


@dataclass(frozen=True)
class Taste:
    """What counts as a note."""

    #: How sure an onset must be, 0 to 1; and how sure that a pitch sounds.
    onset: float = 0.5
    frame: float = 0.3
    #: A note must have more frames than this.
    shortest: int = 5
    #: Hz.
    lowest: float | None = None
    highest: float | None = None
    #: Also make notes of what has no onset.
    rest: bool = True


@dataclass(frozen=True)
class Activations:
    """What the model says of some frames: float32 `(n, 88)`, and bends as int8."""

    notes: Samples
    onsets: Samples
    bends: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.notes)

    def __getitem__(self, frames: slice) -> Activations:
        return Activations(self.notes[frames], self.onsets[frames], self.bends[frames])


def heard_notes(
    sound: Blocks,
    taste: Taste,
    part_frames: int = PART_FRAMES,
    model: Lent[Ear] = Lent("basic-pitch", packaged),  # noqa: B008  # frozen
) -> list[HeardNote]:
    """All notes of a sound, by their beginning and pitch.

    Raises:
        WeightsMissing: the model is not installed.
    """
    maker = _Notes(taste, part_frames)
    with model() as ear:
        for piece in activations(sound, ear):
            maker.add(piece)
    return maker.done()


def activations(sound: Blocks, ear: Ear) -> Iterator[Activations]:
    """What the model says, window after window, cut to the length of the sound."""
    taken = _Taken()
    given = 0
    held: deque[Activations] = deque()  # two windows may begin before the sound's end lies in one
    for piece in _side_by_side(_windows(sound, taken), ear):
        held.append(piece)
        if len(held) > 2:
            given += len(held[0])
            yield held.popleft()
    # basic-pitch counts 86 frames for a second, where its windows have 86.58: of an hour it
    # leaves out the last 24 seconds. These are the frames that lie within the sound.
    whole, rest = divmod(taken.samples, _STEP)
    frames = whole * GIVEN + min(math.ceil(rest / HOP), GIVEN)
    for piece in held:
        kept = piece[: frames - given]
        given += len(kept)
        if len(kept):
            yield kept


@dataclass
class _Taken:
    #: Samples at `RATE`, known when all have been read.
    samples: int = 0


def _windows(sound: Blocks, taken: _Taken) -> Iterator[Samples]:
    """Overlapping windows, float32 `(SAMPLES,)`; the first begins before the sound."""
    frames = 0

    def mono() -> Iterator[Samples]:
        nonlocal frames
        for block in sound:
            frames += block.shape[1]
            yield block if sound.channels == 1 else block.mean(axis=0, keepdims=True)

    feed = Feed(resampled(sound.like(mono, channels=1), RATE))
    begun = np.zeros(EDGE * HOP, np.float32)
    while True:
        window = np.zeros(SAMPLES, np.float32)
        window[: begun.size] = begun
        fresh = feed.read(SAMPLES - begun.size)[0]
        end = begun.size + fresh.size
        if not end:
            break
        window[begun.size : end] = fresh
        # As `librosa.load` counts them.
        taken.samples = math.ceil(frames * (RATE / sound.rate))
        yield window
        begun = window[_STEP : max(end, _STEP)]


def _side_by_side(windows: Iterable[Samples], ear: Ear) -> Iterator[Activations]:
    """The model's answers in the order of the windows, several computed at once."""
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    if threads == 1:
        yield from map(ear.hears, windows)
        return
    waiting: deque[Future[Activations]] = deque()
    with ThreadPoolExecutor(threads, "model") as pool:
        for window in windows:
            waiting.append(pool.submit(ear.hears, window))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Ear:
    """The model, loaded: what it says of a window. One thread per window."""

    def __init__(self, packaged: bytes) -> None:
        """`packaged` are the weights as their package brings them.

        Raises:
            WeightsCorrupt: they are not those of basic-pitch 0.4.
        """
        import onnxruntime

        try:
            graph = graph_of(packaged)
        except ValueError as wrong:
            raise WeightsCorrupt(
                f"the weights are not those of basic-pitch 0.4: {wrong}; "
                "pip install --no-deps basic-pitch==0.4.0"
            ) from None
        options = onnxruntime.SessionOptions()
        # Windows side by side use the cores better than threads within one, which wait by spinning.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def hears(self, window: Samples) -> Activations:
        """What there is in a window, float32 `(SAMPLES,)`."""
        return self._to_silence if not window.any() else self._computed(window)

    @cached_property
    def _to_silence(self) -> Activations:
        return self._computed(np.zeros(SAMPLES, np.float32))

    def _computed(self, window: Samples) -> Activations:
        from handlers.kernels.note_events import bends_of

        notes, onsets, contours = self._session.run(OUTPUTS, {INPUT: window.reshape(1, 1, 1, -1)})
        bends = np.empty(notes.shape, np.int8)
        bends_of(contours, _nearness(), bends)
        return Activations(notes, onsets, bends)


@cache
def _nearness() -> NDArray[np.float64]:
    return np.exp(-0.5 * (np.arange(-25, 26) / 5.0) ** 2)


@dataclass
class _Note:
    #: First frame, frame after the last.
    start: int
    end: int
    #: From 0.
    pitch: int
    sure: float
    #: One for each frame.
    bends: list[int]

    def go_on(self, other: _Note) -> None:
        """Become one with a note of the same pitch a frame or two later."""
        gap = other.start - self.end
        frames, more = self.end - self.start, other.end - other.start
        self.sure = (self.sure * frames + other.sure * more) / (frames + more)
        self.bends += [self.bends[-1]] * gap + other.bends
        self.end = other.end


@dataclass
class _Notes:
    """Makes notes of activations, part by part."""

    taste: Taste
    part_frames: int
    _pieces: list[Activations] = field(default_factory=list)
    #: Frames in the pieces, and frames that notes have been made of.
    _waiting: int = 0
    _done: int = 0
    _strongest: float = 0.0
    _steep: float = 0.0
    _found: list[_Note] = field(default_factory=list)

    def add(self, piece: Activations) -> None:
        """The next frames."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > self.part_frames:
            part = self._part()
            cut = _best_cut(part.notes, self.taste.frame)
            self._make(part[:cut])
            self._pieces = [_copied(part[cut:])]
            self._waiting -= cut

    def done(self) -> list[HeardNote]:
        """All notes, by their beginning and pitch."""
        if self._waiting:
            self._make(self._part())
        return [
            HeardNote(
                start=_seconds(note.start),
                end=_seconds(note.end),
                pitch=note.pitch + _LOWEST,
                # A velocity of 0 would be the end of a note.
                velocity=max(1, round(127 * note.sure)),
                bends=tuple(bend / _BINS for bend in note.bends),
            )
            for note in sorted(self._found, key=lambda note: (note.start, note.pitch))
        ]

    def _part(self) -> Activations:
        """All that waits, only the pitches that are wanted, and its strength noted."""
        from handlers.kernels.note_events import steepest

        part = Activations(
            np.concatenate([p.notes for p in self._pieces]),
            np.concatenate([p.onsets for p in self._pieces]),
            np.concatenate([p.bends for p in self._pieces]),
        )
        for table in (part.notes, part.onsets):
            table[:, : _first_pitch(self.taste.lowest, 0)] = 0
            table[:, _first_pitch(self.taste.highest, PITCHES) :] = 0
        self._strongest = max(self._strongest, float(part.onsets.max(initial=0)))
        self._steep = max(self._steep, steepest(part.notes))
        return part

    def _make(self, part: Activations) -> None:
        from handlers.kernels.note_events import notes_from_onsets, notes_from_the_rest

        taste = self.taste
        left = part.notes.copy()
        found = notes_from_onsets(
            *(part.notes, part.onsets, left, self._strongest, self._steep),
            *(taste.onset, taste.frame, taste.shortest),
        )
        if taste.rest:
            flat = left.reshape(-1)
            places = np.flatnonzero(flat > taste.frame)
            order = places[np.argsort(-flat[places], kind="stable")]
            found += notes_from_the_rest(part.notes, left, order, taste.frame, taste.shortest)
        held = {note.pitch: note for note in self._found if note.end >= self._done - 2}
        for start, end, pitch, sure in found:
            bends = part.bends[start:end, pitch].tolist()
            note = _Note(self._done + start, self._done + end, pitch, sure, bends)
            if start <= 1 and pitch in held:
                held[pitch].go_on(note)  # no silence was found to cut at
            else:
                self._found.append(note)
        self._done += len(part)


def _best_cut(notes: Samples, threshold: float) -> int:
    """Where to end a part: the latest silence of its second half, or its quietest moment."""
    sounding = np.count_nonzero(notes > threshold, axis=1)
    # How many pitches sound around each frame, as far as a note may reach over a gap.
    around = np.convolve(sounding, np.ones(_SILENT, np.int64), "same")
    half = len(notes) // 2
    return half + int(len(notes) - half - 1 - np.argmin(around[: half - 1 : -1]))


def _copied(part: Activations) -> Activations:
    """The same without the memory of what it was cut from."""
    return replace(
        part, notes=part.notes.copy(), onsets=part.onsets.copy(), bends=part.bends.copy()
    )


def _first_pitch(hertz: float | None, otherwise: int) -> int:
    if hertz is None:
        return otherwise
    return min(max(round(12 * math.log2(hertz / 440.0) + 69) - _LOWEST, 0), PITCHES)


def _seconds(frame: int) -> float:
    return frame * HOP / RATE - _LATE_S * (frame // FRAMES)
