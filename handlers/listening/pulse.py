"""Which pulse a sound has: candidates of tempo and phase, what speaks for each, the best path.

A periodicity is found easily; which of its multiples people tap to is the hard part.
So the beats of each candidate are tracked, what lies on them and between them is
described by a few numbers, and a linear model says how likely each candidate is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.listening.color import CHROMA_RATE
from handlers.listening.flux import FRAME_RATE

Floats = NDArray[np.float64]

SLOWEST_BPM, FASTEST_BPM = 45.0, 230.0

#: Of one strong accent, at most: a single crash does not outweigh a bar of beats.
_LOUDEST = 3.0
_STEADINESS = 300.0
#: A beat's period may leave its candidate's by so much.
_DRIFT = 1.25
_PHASES = 24
#: Frames around a beat within which an accent speaks for it, and to which it is laid.
_SURE, _LAID = 3, 2
#: So many accents and so many beats make a pulse.
_FEWEST = 4
#: Half a second in which accents stand out of their surroundings, ten in which they are compared.
_NEAR, _AROUND = 40, 1002
#: Rises (a tenfold level in one band is 1) that are nothing.
_FLUTTER = 0.05
#: Frames of `CHROMA` on either side that tell whether the harmony changes.
_HARMONY = 7


@dataclass(frozen=True)
class Accents:
    """What beats are found in."""

    #: Float32 `(4, frames)`: rises by group of bands, about 1 where they are strong.
    bands: Samples
    #: Float32 `(frames,)`: all together.
    all: Samples
    #: How much the harmony changes, 0 to 1, at `CHROMA_RATE`.
    harmony: Floats

    def part(self, start: int, end: int) -> Accents:
        """From one frame to before another."""
        first, last = (int(at / FRAME_RATE * CHROMA_RATE) for at in (start, end))
        return Accents(
            np.ascontiguousarray(self.bands[:, start:end]),
            np.ascontiguousarray(self.all[start:end]),
            self.harmony[first : last + 1],
        )


def accents(rises: Samples, chroma: Samples) -> Accents:
    """Rises above their surroundings, in units of their usual size nearby."""
    above = np.maximum(rises - moving_mean(rises, _NEAR), 0)
    usual = np.sqrt(moving_mean(above * above, _AROUND))
    # What is a thousandth of the loudest part is as good as silent, and so is the flutter
    # of a steady tone.
    bands = above / (usual + 1e-3 * usual.max(axis=1, keepdims=True) + _FLUTTER)
    bands = np.asarray(bands, np.float32)
    return Accents(bands, np.minimum(bands, _LOUDEST).sum(axis=0), _changes(chroma))


def moving_mean(rows: Samples, width: int) -> Samples:
    """Mean over `width` values around each, over what there is of them at the ends."""
    at = np.arange(rows.shape[1])
    low = np.maximum(at - width // 2, 0)
    high = np.minimum(at + (width - width // 2), rows.shape[1])
    out = np.empty(rows.shape, np.float32)
    # Row by row: sums are double, and a long recording has a million frames.
    for row, mean in zip(rows, out, strict=True):
        total = np.cumsum(np.concatenate(([0.0], row)))
        mean[:] = (total[high] - total[low]) / (high - low)
    return out


def _changes(chroma: Samples) -> Floats:
    """One minus the likeness of a third of a second after and before each frame."""
    frames = len(chroma)
    total = np.cumsum(np.pad(np.sqrt(chroma).astype(np.float64), ((1, 0), (0, 0))), axis=0)
    at = np.arange(frames)
    low, high = np.maximum(at - _HARMONY, 0), np.minimum(at + _HARMONY, frames)
    before, after = total[at] - total[low], total[high] - total[at]
    sizes = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    found = 1 - (before * after).sum(axis=1) / (sizes + 1e-9)
    found[(at - low < 2) | (high - at < 2)] = 0
    return np.asarray(np.clip(found, 0, 1), np.float64)


@dataclass(frozen=True)
class Candidate:
    """One reading of a stretch of music."""

    #: Beats per minute that were looked for, and that its beats have.
    sought: float
    tempo: float
    #: Frames, counted from the start of the stretch.
    beats: NDArray[np.int64]
    #: What speaks for it, `FEATURES` in order.
    features: Floats
    #: 0 to 1: whether the stretch has any pulse at all; noise and speech have none.
    clarity: float


def candidates(heard: Accents) -> list[Candidate]:
    """Readings at all tempos that the periodicities of a stretch allow; none if it has none."""
    strong = heard.all >= 1
    if np.count_nonzero(strong[1:] & ~strong[:-1]) < _FEWEST:
        return []
    tempos, salience = _tempos(heard.all)
    near = around(np.minimum(heard.bands, 4), _LAID)
    strongest = around(heard.all[None], _SURE)[0]
    made = []
    for bpm in tempos:
        period = 60 / bpm * FRAME_RATE
        beats = tracked(heard.all, np.full(1, period))
        if len(beats) < _FEWEST:
            continue
        between = beats[:-1] + np.diff(beats) // 2
        for phase, found in enumerate((beats, between)):
            kept = _within(found, strongest)
            if len(kept) < _FEWEST:
                continue
            features = _described(kept, near, heard.harmony, salience(bpm), phase)
            made.append(Candidate(bpm, _tempo_of(kept), kept, features, salience.clarity))
    return made


def tracked(strength: Samples, periods: Floats) -> NDArray[np.int64]:
    """The best series of beats near given periods (frames; one for all, or one per frame).

    Source: D. Ellis, "Beat Tracking by Dynamic Programming", JNMR 36(1), 2007, with the
    period as a state of its own as in F. Krebs, S. Böck and G. Widmer, "An Efficient
    State-Space Model for Joint Tempo and Meter Tracking", ISMIR 2015.
    """
    from handlers.kernels.beats import best_beats

    frames = strength.size
    shortest = np.maximum(np.rint(periods / _DRIFT), 2).astype(np.int64)
    longest = np.maximum(np.rint(periods * _DRIFT), 3).astype(np.int64)
    shortest, longest = np.broadcast_to(shortest, frames), np.broadcast_to(longest, frames)
    room = np.empty((frames, int((longest - shortest).max(initial=0)) + 1), np.int8)
    beats = np.empty(frames, np.int64)
    count = best_beats(
        np.ascontiguousarray(strength),
        np.ascontiguousarray(shortest),
        np.ascontiguousarray(longest),
        int(shortest.min(initial=2)),
        _STEADINESS,
        room,
        beats,
    )
    return beats[frames - count :]


def trimmed(beats: NDArray[np.int64], strength: Samples) -> NDArray[np.int64]:
    """Without those before the music begins and after it has ended."""
    return _within(beats, around(strength[None], _SURE)[0])


def _within(beats: NDArray[np.int64], strongest_near: Samples) -> NDArray[np.int64]:
    strongest = strongest_near[np.clip(beats, 0, strongest_near.size - 1)]
    heard = strongest[strongest > 0]
    if not heard.size:
        return beats[:0]
    sure = np.flatnonzero(strongest > 0.25 * np.median(heard))
    return beats[sure[0] : sure[-1] + 1]


def around(rows: Samples, reach: int) -> Samples:
    """The largest value within `reach` frames of each."""
    padded = np.pad(rows, ((0, 0), (reach, reach)))
    found = padded[:, : rows.shape[1]].copy()
    for step in range(1, 2 * reach + 1):
        np.maximum(found, padded[:, step : step + rows.shape[1]], out=found)
    return found


def _tempo_of(beats: NDArray[np.int64]) -> float:
    return float(60 * FRAME_RATE / np.median(np.diff(beats)))


_GRID_BPM = np.geomspace(30, 480, 193)
_ACF_FRAMES, _ACF_HOP, _ACF_LAGS = 1024, 256, 820
#: Multiples of the strongest periodicity that may be the beat, and of the next two.
_MULTIPLES = (1, 1 / 2, 2, 1 / 3, 3, 2 / 3, 3 / 2, 1 / 4, 4, 3 / 4, 4 / 3)
_FEWER = (1, 1 / 2, 2)
#: A quarter of a second to one and a half.
_BEAT_LAGS = slice(25, 150)
#: Autocorrelation of what has no pulse (noise and speech: 0.07 to 0.16), and of what has one
#: (music: above 0.2).
_UNCLEAR, _CLEAR = 0.1, 0.3


@dataclass(frozen=True)
class _Salience:
    comb: Floats
    clarity: float

    def __call__(self, bpm: float) -> float:
        return float(np.interp(math.log(bpm), np.log(_GRID_BPM), self.comb))


def _tempos(strength: Samples) -> tuple[list[float], _Salience]:
    """Tempos worth a try, best first, and how salient any tempo is, 0 to 1.

    Source: autocorrelation enhanced by its own multiples, G. Percival and G. Tzanetakis,
    "Streamlined Tempo Estimation Based on Autocorrelation and Cross-correlation With
    Pulses", TASLP 22(12), 2014; log-normal preference, D. Ellis 2007.
    """
    repeats = np.maximum(_autocorrelation(strength), 0)
    lags = 60 / _GRID_BPM * FRAME_RATE
    known = np.arange(repeats.size)
    comb = sum(
        weight * np.interp(lags * k, known, repeats, right=0)
        for k, weight in ((1, 1.0), (2, 1.0), (3, 0.7), (4, 0.7))
    )
    comb = comb * np.exp(-0.5 * (np.log2(_GRID_BPM / 115) / 1.2) ** 2)
    peaks = [i for i in range(1, 192) if comb[i - 1] < comb[i] >= comb[i + 1]]
    peaks.sort(key=lambda i: -comb[i])
    found: list[float] = []
    for rank, peak in enumerate(peaks[:3]):
        for multiple in _FEWER if rank else _MULTIPLES:
            bpm = float(_GRID_BPM[peak]) * multiple
            new = all(abs(math.log(bpm / other)) > 0.05 for other in found)
            if SLOWEST_BPM <= bpm <= FASTEST_BPM and new:
                found.append(bpm)
    strongest = float(repeats[_BEAT_LAGS].max())
    clarity = min(max((strongest - _UNCLEAR) / (_CLEAR - _UNCLEAR), 0.0), 1.0)
    return found, _Salience(comb / max(float(comb.max()), 1e-9), clarity)


def _autocorrelation(strength: Samples) -> Floats:
    """Mean over windows of ten seconds; 1 at lag 0."""
    from scipy import fft

    centered = strength - strength.mean()
    if centered.size < _ACF_FRAMES:
        centered = np.pad(centered, (0, _ACF_FRAMES - centered.size))
    window = np.hanning(_ACF_FRAMES)
    pieces = np.lib.stride_tricks.sliding_window_view(centered, _ACF_FRAMES)[::_ACF_HOP]
    power = np.square(np.abs(fft.rfft(pieces * window, 2 * _ACF_FRAMES, axis=1)))
    own = np.square(np.abs(fft.rfft(window, 2 * _ACF_FRAMES)))
    scale = fft.irfft(own)[: _ACF_LAGS + 1]
    found = fft.irfft(power, axis=1)[:, : _ACF_LAGS + 1] / np.maximum(scale, 1e-3 * scale[0])
    mean: Floats = (found / (found[:, :1] + 1e-9)).mean(axis=0)
    return mean


FEATURES = (
    "tempo", "tempo squared",
    "all on the beat", "bass on the beat", "body on the beat",
    "halves", "thirds", "quarters", "thirds rather than halves",
    "every 2nd differs", "every 2nd differs in the bass", "every 3rd differs", "every 4th differs",
    "harmony changes on beats", "every 2nd harmony", "every 3rd harmony", "every 4th harmony",
    "salience", "between the tracked",
)  # fmt: skip


def _described(
    beats: NDArray[np.int64], bands: Samples, harmony: Floats, salience: float, phase: int
) -> Floats:
    """What speaks for these beats. Sizes are relative to the mean of all frames."""
    mean = bands.mean(axis=1) + 1e-6
    gaps = np.diff(beats)
    places = beats[:-1, None] + gaps[:, None] * (np.arange(_PHASES) / _PHASES)
    at = np.clip(np.rint(places).astype(np.int64), 0, bands.shape[1] - 1)
    # (bands, beats, phases)
    sampled = bands[:, at]
    profile = sampled.mean(axis=1) / mean[:, None]
    beat, half = profile[:, 0], profile[:, 12]
    third = np.maximum(profile[:, 8], profile[:, 16])
    quarter = np.maximum(profile[:, 6], profile[:, 18])
    on_beat = sampled[:, :, 0]
    halves, thirds = _log(half.mean()), _log(third.mean())
    every = {m: _contrast(on_beat, m) for m in (2, 3, 4)}
    color = np.clip(np.rint(beats / FRAME_RATE * CHROMA_RATE).astype(np.int64), 0, None)
    change = harmony[np.minimum(color, harmony.size - 1)]
    usual = float(harmony.mean()) + 1e-3
    octaves = math.log2(_tempo_of(beats) / 115)
    return np.array([
        octaves, octaves**2,
        _log(beat.mean()), _log(beat[0]), _log((beat[1] + beat[2]) / 2),
        halves, thirds, _log(quarter.mean()), max(thirds - halves, 0.0),
        every[2].mean(), every[2][0], every[3].mean(), every[4].mean(),
        _log(change.mean() / usual), *(_stands_out(change, m) / usual for m in (2, 3, 4)),
        math.log(salience + 0.05), phase,
    ])  # fmt: skip


def _log(value: float) -> float:
    return math.log(value + 0.1)


def _contrast(on_beat: Samples, length: int) -> Floats:
    """How much beats differ by their place in groups of `length`, for each band."""
    if on_beat.shape[1] < 2 * length:
        return np.zeros(len(on_beat))
    means = _by_place(on_beat, length)
    found: Floats = means.std(axis=1) / (means.mean(axis=1) + 0.05)
    return found


def _by_place(values: NDArray[np.floating], length: int) -> Floats:
    """Means of rows by place in groups of `length`, `(rows, length)`."""
    at = np.arange(values.shape[1]) % length
    shares = (at[:, None] == np.arange(length)) / np.bincount(at)
    return np.asarray(values @ shares, np.float64)


def _stands_out(values: Floats, length: int) -> float:
    """How far the strongest place in groups of `length` rises above all."""
    if values.size < 2 * length:
        return 0.0
    means = _by_place(values[None], length)[0]
    return float(means.max() - means.mean())


#: What each of `FEATURES` adds to the logarithm of a reading's odds: logistic regression on
#: rendered pieces and drum loops of other seeds than those that the bench scores with.
#: The tempo's own weight is half less than fitted: those pieces are spread evenly from 60 to
#: 190 BPM, and music is not.
_WEIGHTS = np.array([
    1.13, -1.17,
    0.74, 0.36, 1.50,
    0.19, -1.13, -0.68, 1.27,
    -7.74, 2.42, -6.35, -3.60,
    1.09, 1.03, 1.09, 1.50,
    0.92, -1.97,
])  # fmt: skip


def likelihoods(readings: list[Candidate]) -> Floats:
    """Logarithm of each reading's probability among them."""
    scores = np.stack([reading.features for reading in readings]) @ _WEIGHTS
    scores -= scores.max()
    found: Floats = scores - math.log(float(np.exp(scores).sum()))
    return found


def stretches(frames: int, seconds: float) -> Iterator[tuple[int, int]]:
    """Equal parts of about so many seconds."""
    count = max(1, round(frames / (seconds * FRAME_RATE)))
    edges = [round(k * frames / count) for k in range(count + 1)]
    yield from pairwise(edges)
