"""Where a sound reaches full scale, and where it goes beyond between its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import SOUND, Form, Listened

CLIPPED = 0.999
"""Magnitude from which a sample counts as clipped: the contract's."""

_BEYOND = float(np.nextafter(np.float32(1), np.float32(2)))
#: What is closer than this belongs to the same place.
_GAP_SEC = 0.01
#: Places of one kind that are kept; of more, those of most samples.
MOST = 10_000


@dataclass(frozen=True)
class Place:
    """Where one channel reaches a level, with pauses below 10 ms; frames are `[start, end)`."""

    channel: int
    start: int
    end: int
    #: How many samples reach it in all, and next to each other.
    samples: int
    longest: int
    peak: float


@dataclass(frozen=True)
class Clipping:
    """Per channel: samples at full scale, largest sample, true peak. And the places, in order."""

    samples: tuple[int, ...]
    peaks: tuple[float, ...]
    true_peaks: tuple[float, ...]
    #: At most `MOST`; how many there are is `clip_count` and `over_count`.
    clips: tuple[Place, ...]
    clip_count: int
    overs: tuple[Place, ...]
    over_count: int


class _Clipping:
    def __init__(self, form: Form) -> None:
        from handlers.kernels.true_peak import TAPS, TruePeak, interpolators, reach

        self._true_peaks = [TruePeak(round(form.rate), 1) for _ in range(form.channels)]
        self._filters = interpolators(round(form.rate))
        self._reach = reach(self._filters)
        gap = max(round(form.rate * _GAP_SEC), 1)
        self._clips = _Places(form.channels, CLIPPED, gap)
        self._overs = _Places(form.channels, _BEYOND, gap)
        self._past = np.zeros((form.channels, TAPS), np.float32)
        self._peaks = np.zeros(form.channels)
        self._frames = 0

    def add(self, piece: Samples) -> None:
        from handlers.kernels.true_peak import BEFORE, TAPS

        for channel, row in enumerate(piece):
            peak = max(float(row.max()), -float(row.min()))
            self._peaks[channel] = max(self._peaks[channel], peak)
            if peak >= CLIPPED:
                self._clips.add(channel, row, self._frames)
            self._true_peaks[channel].add(piece[channel : channel + 1])
        # What lies between samples is known only when those after them are.
        joined = np.concatenate((self._past, piece), axis=1)
        self._between(joined, self._frames + BEFORE + 1 - TAPS)
        self._past = np.ascontiguousarray(joined[:, -TAPS:])
        self._frames += piece.shape[1]

    def done(self) -> Clipping:
        from handlers.kernels.true_peak import BEFORE, TAPS

        # Beyond the end there is silence, and before the beginning there was.
        ending = np.pad(self._past, ((0, 0), (0, TAPS - BEFORE - 1)))
        self._between(ending, self._frames + BEFORE + 1 - TAPS)
        clips, clip_count = self._clips.done()
        overs, over_count = self._overs.done()
        return Clipping(
            samples=tuple(self._clips.samples),
            peaks=tuple(self._peaks.tolist()),
            true_peaks=tuple(meter.peak for meter in self._true_peaks),
            clips=clips,
            clip_count=clip_count,
            overs=overs,
            over_count=over_count,
        )

    def _between(self, joined: Samples, first: int) -> None:
        """Look between the samples; that at `BEFORE + 1` is frame `first` of the sound."""
        from handlers.kernels.true_peak import TAPS, envelope, largest

        count = joined.shape[1] - TAPS
        if count <= 0:
            return
        for channel in range(joined.shape[0]):
            row = joined[channel : channel + 1]
            # No point between samples lies further beyond them than their reach.
            if largest(row[0]) * self._reach >= _BEYOND:
                out = np.empty(count, np.float32)
                envelope(row, self._filters, self._reach, 1.0, out)
                begin = max(0, -first)
                if begin < count:
                    self._overs.add(channel, out[begin:], first + begin)


class _Places:
    """Gathers the places of one kind."""

    def __init__(self, channels: int, threshold: float, gap: int) -> None:
        self._threshold, self._gap = threshold, gap
        self._open = np.zeros((channels, 6))
        self._kept: list[Place] = []
        self._count = 0
        self.samples = [0] * channels

    def add(self, channel: int, row: Samples, before: int) -> None:
        from handlers.kernels.runs import SAMPLES, places

        ended = np.empty((row.size // (self._gap + 1) + 2, 5))
        state = self._open[channel]
        had = int(state[SAMPLES])
        count = places(row, self._threshold, self._gap, before, state, ended)
        for place in ended[:count]:
            self._keep(channel, place)
        self.samples[channel] += int(ended[:count, SAMPLES].sum()) + int(state[SAMPLES]) - had

    def done(self) -> tuple[tuple[Place, ...], int]:
        """The places in order of time, and how many there are."""
        for channel, state in enumerate(self._open):
            if state[2] > 0:
                self._keep(channel, state[:5])
        self._thin(MOST)
        return tuple(sorted(self._kept, key=lambda p: (p.start, p.channel))), self._count

    def _keep(self, channel: int, place: NDArray[np.float64]) -> None:
        first, last, samples, longest = (int(value) for value in place[:4])
        self._kept.append(Place(channel, first, last + 1, samples, longest, float(place[4])))
        self._count += 1
        if len(self._kept) > 2 * MOST:
            self._thin(MOST)

    def _thin(self, most: int) -> None:
        if len(self._kept) > most:
            self._kept.sort(key=lambda p: (-p.samples, -p.peak, p.start, p.channel))
            del self._kept[most:]


CLIPPING = Listened("clipping", version=1, stage=SOUND, begin=_Clipping)
"""Where each channel is clipped, and where its true peak is beyond full scale (BS.1770-5)."""
