"""How loud a sound is over time: loudness, RMS level, silences, and what left and right share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.hearing import SOUND, Form, Listened
from handlers.silences import Range, Silences


@dataclass(frozen=True, eq=False)
class Loudness:
    """What the meter says at the end; None where silence, or too short a sound, has no value.

    Times are seconds. The curves have a value in LUFS for each window that fits,
    one beginning every 100 ms.
    """

    integrated: float | None
    momentary_max: float | None
    #: Where the loudest window begins.
    momentary_max_sec: float | None
    short_term_max: float | None
    short_term_max_sec: float | None
    loudness_range: float | None
    true_peak_dbtp: float | None
    sample_peak_dbfs: float | None
    #: Windows of 400 ms.
    momentary: NDArray[np.float32]
    #: Windows of 3 s.
    short_term: NDArray[np.float32]
    #: From one value of a curve to the next: 100 ms, to the sample.
    step_sec: float


class _Meter:
    def __init__(self, form: Form) -> None:
        from handlers.kernels.loudness import Meter

        self._rate = round(form.rate)
        self._meter = Meter(self._rate, form.channels)

    def add(self, piece: Samples) -> None:
        self._meter.add(piece)

    def done(self) -> Loudness:
        from handlers.kernels.loudness import as_lufs

        meter = self._meter
        return Loudness(
            integrated=meter.integrated,
            momentary_max=meter.momentary_max,
            momentary_max_sec=self._seconds(meter.momentary_max_at),
            short_term_max=meter.short_term_max,
            short_term_max_sec=self._seconds(meter.short_term_max_at),
            loudness_range=meter.loudness_range,
            true_peak_dbtp=meter.true_peak_dbtp,
            sample_peak_dbfs=meter.sample_peak_dbfs,
            momentary=as_lufs(meter.momentary()),
            short_term=as_lufs(meter.short_term()),
            step_sec=meter.step / self._rate,
        )

    def _seconds(self, frame: int | None) -> float | None:
        return None if frame is None else frame / self._rate


LOUDNESS = Listened("loudness", version=1, stage=SOUND, begin=_Meter)
"""Loudness by ITU-R BS.1770-5, EBU Tech 3341 and 3342, with true and sample peak."""


class _Integrated:
    def __init__(self, form: Form) -> None:
        from handlers.kernels.loudness import Meter

        self._meter = Meter(round(form.rate), form.channels, true_peak=False)

    def add(self, piece: Samples) -> None:
        self._meter.add(piece)

    def done(self) -> float | None:
        return self._meter.integrated


INTEGRATED: Listened[float | None] = Listened(
    "integrated loudness", version=1, stage=SOUND, begin=_Integrated
)
"""That of the whole in LUFS, as in `LOUDNESS` but at a third of the work; None for silence."""


class _Rms:
    def __init__(self, form: Form, hop: int) -> None:
        from handlers.kernels.steps import Steps, add_energies

        self._channels, self._hop = form.channels, hop
        self._steps = Steps(add_energies, hop, 1)

    def add(self, piece: Samples) -> None:
        self._steps.add(piece)

    def done(self) -> NDArray[np.float64]:
        energies, last = self._steps.done()
        frames = np.full(len(energies), self._hop)
        frames[-1:] = last
        rms: NDArray[np.float64] = np.sqrt(energies[:, 0] / (frames * self._channels))
        return rms


def rms_by(hop: int) -> Listened[NDArray[np.float64]]:
    """RMS over all channels of each stretch of `hop` frames; the last may be shorter."""
    return Listened(f"rms by {hop}", version=1, stage=SOUND, begin=lambda form: _Rms(form, hop))


def loud_parts(threshold_db: float, min_silence_sec: float) -> Listened[list[Range]]:
    """What lies between silences, in frames; see `handlers.silences.Silences`."""
    return Listened(
        f"loud parts {threshold_db!r} {min_silence_sec!r}",
        version=1,
        stage=SOUND,
        begin=lambda form: Silences(round(form.rate), threshold_db, min_silence_sec),
    )


@dataclass(frozen=True, eq=False)
class StereoField:
    """What left and right have in common; amplitudes are RMS, 1.0 being full scale."""

    #: Pearson's, -1 to 1.
    correlation: float
    left: float
    right: float
    mid: float
    side: float
    #: Of windows of 400 ms, one beginning every 100 ms; NaN where one side is silent.
    over_time: NDArray[np.float64]
    #: From one of them to the next: 100 ms, to the sample.
    step_sec: float


class _Stereo:
    """Of more than two channels, the first two: front left and right in every agreed layout."""

    def __init__(self, form: Form) -> None:
        from handlers.kernels.steps import Steps, add_products

        self._mono, self._rate = form.channels == 1, round(form.rate)
        self._step = max(round(form.rate / 10), 1)
        self._steps = Steps(add_products, self._step, 5)

    def add(self, piece: Samples) -> None:
        self._steps.add(np.repeat(piece, 2, axis=0) if self._mono else piece)

    def done(self) -> StereoField:
        sums, last = self._steps.done()
        frames = max(0, len(sums) - 1) * self._step + last if len(sums) else 0
        l1, r1, l2, r2, lr = (float(total) for total in sums.sum(axis=0))
        whole = _pearson(np.array([[l1, r1, l2, r2, lr]]), max(frames, 1))[0]
        if math.isnan(whole):
            # Of a side that never moves there is nothing to compare: alike if neither does.
            whole = 1.0 if l2 + r2 - 2 * lr <= _ROUNDING * (l2 + r2) else 0.0
        count = max(frames, 1)
        windows = np.zeros((0, 5))
        if len(sums) >= _WINDOW:
            full = sums if last == self._step else sums[:-1]
            windows = sum(
                (full[at : len(full) - _WINDOW + 1 + at] for at in range(_WINDOW)),
                start=np.zeros((max(0, len(full) - _WINDOW + 1), 5)),
            )
        return StereoField(
            correlation=whole,
            left=math.sqrt(l2 / count),
            right=math.sqrt(r2 / count),
            mid=math.sqrt(max(0.0, l2 + r2 + 2 * lr) / count) / 2,
            side=math.sqrt(max(0.0, l2 + r2 - 2 * lr) / count) / 2,
            over_time=_pearson(windows, _WINDOW * self._step),
            step_sec=self._step / self._rate,
        )


#: Steps per window.
_WINDOW = 4
#: Of its power: what is less than this is the rounding of constant samples.
_ROUNDING = 1e-12


def _pearson(sums: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Correlation from the sums of `add_products`; NaN where one side does not move."""
    l1, r1, l2, r2, lr = sums.T
    across = lr - l1 * r1 / frames
    left, right = l2 - l1 * l1 / frames, r2 - r1 * r1 / frames
    moving = (left > _ROUNDING * l2) & (right > _ROUNDING * r2)
    product = np.sqrt(np.where(moving, left * right, 1))
    return np.where(moving, np.clip(across / product, -1, 1), np.nan)


STEREO = Listened("stereo field", version=1, stage=SOUND, begin=_Stereo)
"""Correlation, mid and side of the first two channels; a single one is both."""
