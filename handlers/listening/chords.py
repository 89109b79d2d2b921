"""Chords and key.

Source of the chord model: chroma of treble and bass against chord templates,
smoothed by a hidden Markov model whose chords change rather on beats than
between them and rather stay in the key: M. Mauch and S. Dixon, "Simultaneous
estimation of chords and musical context from audio", IEEE Transactions on
Audio, Speech, and Language Processing 18(6), 2010; M. Mauch, "Automatic chord
transcription from audio using computational models of musical context", 2010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import MONO_RATE, Derived, Heard
from handlers.listening.notes import FRAME_RATE, HARMONY, NAMES, Harmony
from handlers.listening.rhythm import PULSE, Pulse


@dataclass(frozen=True)
class Quality:
    """A kind of chord: its tones above the root, and what it is called after it."""

    steps: tuple[int, ...]
    suffix: str
    #: The kind of triad that it stands on: `""` major, `"m"` minor.
    triad: str
    #: As key profiles count it: a diminished triad is neither major nor minor.
    third: str


QUALITIES = (
    Quality((0, 4, 7), "", "", "maj"),
    Quality((0, 3, 7), "m", "m", "min"),
    Quality((0, 4, 7, 10), "7", "", "maj"),
    Quality((0, 4, 7, 11), "maj7", "", "maj"),
    Quality((0, 3, 7, 10), "m7", "m", "min"),
    Quality((0, 3, 6), "dim", "m", "dim"),
    Quality((0, 3, 6, 10), "m7b5", "m", "dim"),
)
HARTE = {"": "maj", "m": "min", "7": "7", "maj7": "maj7", "m7": "min7", "dim": "dim"}
HARTE["m7b5"] = "hdim7"
"""What each suffix is in Harte's syntax (ISMIR 2005)."""
_STATES = 12 * len(QUALITIES)
"""States of the model: quality by quality, C first; the state after them is no chord."""
_NOTHING = _STATES

#: Share of the bass in a chord's score, by the tone that it plays: root, third, fifth, seventh.
_BASS_TONES = (1.0, 0.5, 0.5, 0.2)
_BASS = 0.65
#: Four tones explain more than three do whatever is played: what they have to explain better.
_SEVENTH = 0.09
#: Compression of the chroma, so that doubled tones do not count twice.
_COMPRESSION = 3.0
#: How much better a chord has to be, in frames' worth of cosine, for a change: where no beats
#: are known, and where they are sure: on downbeats, on other beats, between beats.
_CHANGE, _ON_DOWNBEAT, _ON_BEAT, _OFF_BEAT = 2.0, 1.3, 2.6, 5.2
#: How much a chord's frequency in the key counts, per frame.
_CONTEXT = 0.03
#: A frame this far below the loudest one is silent.
_SILENT = 1e-3
_CHUNK = 4096


@dataclass(frozen=True)
class Key:
    """A tonic and a mode."""

    #: Pitch class, C is 0.
    tonic: int
    minor: bool
    #: Probability that tonic and mode are right, 0 to 1.
    confidence: float

    @property
    def name(self) -> str:
        """`C major`, `F# minor`."""
        return f"{NAMES[self.tonic]} {'minor' if self.minor else 'major'}"

    @property
    def camelot(self) -> str:
        """Place on the wheel that DJs mix by, `1A` to `12B`: neighbours share all but one tone."""
        return f"{self._hour}{'A' if self.minor else 'B'}"

    @property
    def neighbours(self) -> list[str]:
        """Camelot codes that mix with this one: itself, its relative, a fifth down and up."""
        this, other = ("A", "B") if self.minor else ("B", "A")
        before, after = (self._hour + 10) % 12 + 1, self._hour % 12 + 1
        return [f"{self._hour}{this}", f"{self._hour}{other}", f"{before}{this}", f"{after}{this}"]

    @property
    def _hour(self) -> int:
        fifths = 7 * (self.tonic + (3 if self.minor else 0)) % 12
        return (fifths + 7) % 12 + 1


@dataclass(frozen=True)
class Span:
    """A chord from one time to another."""

    start: float
    end: float
    #: Pitch class of its root.
    root: int
    quality: Quality
    confidence: float

    @property
    def name(self) -> str:
        """The root's name."""
        return NAMES[self.root]

    def label(self, sevenths: bool) -> str:
        """`F#m`, or with sevenths `F#m7`."""
        return self.name + (self.quality.suffix if sevenths else self.quality.triad)


@lru_cache(maxsize=1)
def _templates() -> tuple[Samples, Samples]:
    """Rows `(12, states)` that treble and bass are multiplied with."""
    treble = np.zeros((12, _STATES), np.float32)
    bass = np.zeros((12, _STATES), np.float32)
    for number, quality in enumerate(QUALITIES):
        for root in range(12):
            state = 12 * number + root
            for step, weight in zip(quality.steps, _BASS_TONES, strict=False):
                treble[(root + step) % 12, state] = 1 / math.sqrt(len(quality.steps))
                bass[(root + step) % 12, state] = _BASS * weight
    return treble, bass


def _scores(harmony: Harmony, start: int, end: int, prior: Samples | None) -> Samples:
    """How well each state explains frames `start` to `end`, `(frames, states + 1)`."""
    treble, bass = _templates()
    scores = np.empty((end - start, _STATES + 1), np.float32)
    chords = scores[:, :_STATES]
    compressed = np.log1p(_COMPRESSION * harmony.treble[start:end])
    chords[:] = _unit(compressed) @ treble + _unit(harmony.bass[start:end]) @ bass
    chords[:, 24:] -= _SEVENTH
    if prior is not None:
        chords += prior
    scores[:, _NOTHING] = 0.5
    loudest = harmony.level.max(initial=0)
    silent = harmony.level[start:end] <= loudest * _SILENT
    scores[silent] = 0
    scores[silent, _NOTHING] = 1
    return scores


def _unit(rows: Samples) -> Samples:
    size = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(size, np.float32(1e-9)))


def _decoded(
    harmony: Harmony, change: NDArray[np.float32], prior: Samples | None
) -> NDArray[np.int32]:
    """The likeliest state of each frame."""
    from handlers.kernels.paths import advance, trace

    frames = len(harmony.level)
    back = np.empty((frames, _STATES + 1), np.int16)
    best = np.zeros(_STATES + 1)
    for start in range(0, frames, _CHUNK):
        end = min(start + _CHUNK, frames)
        advance(_scores(harmony, start, end, prior), change[start:end], best, back[start:end])
    path = np.empty(frames, np.int32)
    trace(back, int(best.argmax()), path)
    return path


#: How often each chord, by semitones above the tonic and third, is met in a key: theory's
#: order (tonic, dominant, subdominant, then the other steps, then chords borrowed or on the
#: way to a neighbour key), in round numbers.
_IN_MAJOR = {
    (0, "maj"): 0.28, (7, "maj"): 0.18, (5, "maj"): 0.18, (9, "min"): 0.1, (2, "min"): 0.08,
    (4, "min"): 0.04, (2, "maj"): 0.02, (10, "maj"): 0.02, (5, "min"): 0.02, (11, "dim"): 0.02,
    (4, "maj"): 0.015, (9, "maj"): 0.015,
}  # fmt: skip
_IN_MINOR = {
    (0, "min"): 0.28, (5, "min"): 0.15, (8, "maj"): 0.12, (7, "maj"): 0.1, (10, "maj"): 0.1,
    (3, "maj"): 0.1, (7, "min"): 0.06, (2, "dim"): 0.03, (5, "maj"): 0.02, (11, "dim"): 0.02,
}  # fmt: skip
_ELSEWHERE = 0.003

#: What listeners find fitting after a cadence: C. L. Krumhansl and E. J. Kessler, Psychological
#: Review 89, 1982. How often tones are played: J. Albrecht and D. Shanahan, Music Perception
#: 31(1), 2013. Major, then minor, from the tonic up.
_FITTING = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
_PLAYED = (
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
#: Tones that sound at once below which there are no chords to tell a key by, and from which
#: chords have their full say.
_MELODY, _FULL = 1.6, 2.4
#: Turns scores of keys into probabilities; told by the accuracy bench's calibration table.
_KEY_CERTAINTY = 10.0


@lru_cache(maxsize=24)
def _context(tonic: int, minor: bool) -> NDArray[np.float64]:
    """Logarithm of each state's frequency in a key, `(states,)`."""
    known = _IN_MINOR if minor else _IN_MAJOR
    return np.log(
        [
            known.get(((root - tonic) % 12, quality.third), _ELSEWHERE)
            for quality in QUALITIES
            for root in range(12)
        ]
    )


def _key(heard: Heard) -> Key | None:
    """The key of the whole sound; None where nothing is heard that could have one.

    Two witnesses: the tones, against profiles of how often and how fittingly each is met
    in a key, and the chords, by how often each is met. Chords say more (a dominant tells
    relative keys apart) but only where several tones sound at once.
    """
    harmony = heard[HARMONY]
    sounding = harmony.level > harmony.level.max(initial=0) * _SILENT
    tones = (harmony.treble + harmony.bass)[sounding]
    if not tones.any():
        return None
    path = _decoded(harmony, np.full(len(harmony.level), _CHANGE, np.float32), None)
    met = np.bincount(path, minlength=_STATES + 1)[:_STATES]
    chordal = _chordal(harmony.treble[sounding]) if met.any() else 0.0
    average = tones.mean(axis=0, dtype=np.float64)
    scores = np.empty(24)
    for number in range(24):
        minor, tonic = divmod(number, 12)
        fits = (
            np.corrcoef(np.roll(profiles[minor], tonic), average)[0, 1]
            for profiles in (_FITTING, _PLAYED)
        )
        scores[number] = sum(fits) / 2
        if chordal:
            scores[number] += chordal * (met @ _context(tonic, bool(minor))) / met.sum()
    best = int(scores.argmax())
    likelihood = np.exp(_KEY_CERTAINTY * (scores - scores[best]))
    return Key(best % 12, best >= 12, float(1 / likelihood.sum()))


def _chordal(treble: Samples) -> float:
    """Whether chords sound rather than a single line, 0 to 1."""
    square = np.square(treble).sum(axis=1)
    total = treble.sum(axis=1)[square > 0]
    if not total.size:
        return 0.0
    # As many tones of one strength would give the same ratio.
    at_once = float(np.median(np.square(total) / square[square > 0]))
    return min(1.0, max(0.0, (at_once - _MELODY) / (_FULL - _MELODY)))


KEY = Derived("key", version=1, needs=(HARMONY,), compute=_key)
"""The key, or None for silence."""


def _chords(heard: Heard) -> tuple[Span, ...]:
    """The chords in order of time; where there is none, there is no span."""
    harmony, key = heard[HARMONY], heard[KEY]
    if key is None:
        return ()
    prior = _context(key.tonic, key.minor)
    prior = (_CONTEXT * (prior - prior.max())).astype(np.float32)
    change, beats = _changes(heard[PULSE], len(harmony.level))
    path = _decoded(harmony, change, prior)
    edges = np.flatnonzero(np.diff(path)) + 1
    bounds = [0, *edges.tolist(), len(path)]
    times = [
        0.0,
        *(beats[at] if at in beats else _between(harmony, path, at, prior) for at in bounds[1:-1]),
        heard.duration,
    ]
    spans = []
    for number, first in enumerate(bounds[:-1]):
        state = int(path[first])
        if state != _NOTHING and times[number] < times[number + 1]:
            spans.append(
                Span(
                    start=times[number],
                    end=times[number + 1],
                    root=state % 12,
                    quality=QUALITIES[state // 12],
                    confidence=_certainty(
                        _scores(harmony, first, bounds[number + 1], prior).mean(axis=0), state
                    ),
                )
            )
    return tuple(spans)


def _between(harmony: Harmony, path: NDArray[np.int32], at: int, prior: Samples) -> float:
    """When the chord of frame `at - 1` gives way to that of frame `at`, in seconds."""
    before, after = (_scores(harmony, k, k + 1, prior)[0] for k in (at - 1, at))
    lead = float(before[path[at - 1]] - before[path[at]])
    lag = float(after[path[at]] - after[path[at - 1]])
    share = lead / (lead + lag) if lead > 0 and lag > 0 else 0.5
    return (at - 1 + share) / FRAME_RATE


def _changes(pulse: Pulse, frames: int) -> tuple[NDArray[np.float32], dict[int, float]]:
    """What a change costs at each frame, and which frames begin with a beat: when it is."""
    sure = pulse.beats_confidence
    costs = [_CHANGE + sure * (cost - _CHANGE) for cost in (_ON_DOWNBEAT, _ON_BEAT, _OFF_BEAT)]
    change = np.full(frames, costs[2], np.float32)
    at = np.rint(pulse.beats * FRAME_RATE + 0.5).astype(np.int64)
    beats = {
        int(frame): float(time)
        for frame, time in zip(at, pulse.beats, strict=True)
        if 0 < frame < frames
    }
    # A downbeat counts as much more than a beat as it is known to be one.
    first = costs[1] + pulse.downbeats_confidence / max(sure, 1e-9) * (costs[0] - costs[1])
    for frame, place in zip(at.tolist(), pulse.places.tolist(), strict=True):
        if frame in beats:
            change[frame] = first if place == 0 else costs[1]
    return change, beats


#: A logistic curve from how far a chord is ahead of the next other one to how often it is right;
#: told by the accuracy bench's calibration table.
_AHEAD, _STEEP = -0.06, 10.0


def _certainty(scores: Samples, state: int) -> float:
    """Probability that root and triad are right."""
    triads = np.array([QUALITIES[s // 12].triad == QUALITIES[state // 12].triad for s in range(84)])
    same = triads & (np.arange(_STATES) % 12 == state % 12)
    ahead = float(scores[:_STATES][same].max() - scores[:_STATES][~same].max())
    return 1 / (1 + math.exp(-_STEEP * (ahead - _AHEAD)))


CHORDS = Derived("chords", version=1, needs=(HARMONY, KEY, PULSE), compute=_chords)
"""The chords, as spans in order of time."""


def gridded(spans: Sequence[Span], hop: int, beats: Sequence[float], duration: float) -> list[Span]:
    """Spans whose borders lie on beats, or else on multiples of `hop` samples at 22,050 Hz.

    What falls between two of them is lost, but for the longest, if it were all.
    """
    step = hop / MONO_RATE
    exact = {0.0, duration, *beats}

    def placed(at: float) -> float:
        return at if at in exact else min(round(at / step) * step, duration)

    moved = [replace(s, start=placed(s.start), end=placed(s.end)) for s in spans]
    made = [s for s in moved if s.start < s.end]
    return made or [max(spans, key=lambda s: s.end - s.start)] if spans else []


def merged(spans: Sequence[Span], shortest: float, sevenths: bool) -> list[Span]:
    """Spans of one label joined, and none shorter than `shortest` seconds beside another.

    A short one goes to the neighbour that it touches and that shares more tones with it, the
    shorter ones first. One with silence on both sides stays.
    """
    made: list[Span] = []
    for span in spans:
        _append(made, span, sevenths)
    while True:
        short = [i for i, span in enumerate(made) if span.end - span.start < shortest]
        short = [i for i in short if _neighbours(made, i)]
        if not short:
            return made
        at = min(short, key=lambda i: made[i].end - made[i].start)
        lost = made[at]
        to = max(_neighbours(made, at), key=lambda i: (_shared(made[i], lost), -i))
        kept = made[to]
        made[to] = Span(
            min(kept.start, lost.start), max(kept.end, lost.end), kept.root, kept.quality,
            kept.confidence,
        )  # fmt: skip
        del made[at]
        again: list[Span] = []
        for span in made:
            _append(again, span, sevenths)
        made = again


def _append(made: list[Span], span: Span, sevenths: bool) -> None:
    last = made[-1] if made else None
    if last is None or last.end != span.start or last.label(sevenths) != span.label(sevenths):
        made.append(span)
        return
    before, after = last.end - last.start, span.end - span.start
    sure = (last.confidence * before + span.confidence * after) / (before + after)
    longer = last if before >= after else span
    made[-1] = Span(last.start, span.end, longer.root, longer.quality, sure)


def _neighbours(spans: Sequence[Span], at: int) -> list[int]:
    found = []
    if at > 0 and spans[at - 1].end == spans[at].start:
        found.append(at - 1)
    if at + 1 < len(spans) and spans[at + 1].start == spans[at].end:
        found.append(at + 1)
    return found


def _shared(one: Span, other: Span) -> int:
    def tones(span: Span) -> set[int]:
        return {(span.root + step) % 12 for step in span.quality.steps}

    return len(tones(one) & tones(other))
