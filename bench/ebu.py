"""Measure the test signals of EBU Tech 3341, and write docs/ebu_3341.md.

The signals are synthesised from their description in table 1 of "EBU Tech 3341:
'EBU Mode' metering to supplement EBU R 128 loudness normalisation", version 4,
November 2023, at 48 kHz. The tests judge the same readings as the table.

    python -m bench.ebu
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Samples
from handlers.kernels.loudness import Meter

RATE = 48000
TABLE = Path(__file__).parents[1] / "docs" / "ebu_3341.md"


@dataclass(frozen=True)
class Reading:
    """One value that the meter shows, and between what values it must lie."""

    name: str
    shown: float
    wanted: float
    above: float
    below: float

    @property
    def passed(self) -> bool:
        # Judged as it is printed.
        error = round(self.shown - self.wanted, 2)
        return -self.below <= error <= self.above


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    number: int
    signal: str
    wanted: str
    readings: Callable[[], list[Reading]]


def tones(*parts: tuple[float, float], channels: int = 2) -> Samples:
    """1 kHz in phase in all channels, `(seconds, dBFS)` after one another; -inf is silence.

    Levels are those of the peak; parts do not change the phase, as a fader would not.
    """
    frames = [round(seconds * RATE) for seconds, _ in parts]
    gains = np.repeat([10 ** (level / 20) for _, level in parts], frames)
    wave = gains * np.sin(2 * np.pi * 1000 * np.arange(sum(frames)) / RATE)
    return np.tile(wave.astype(np.float32), (channels, 1))


def sine(divisor: int, amplitude: float, degrees: float) -> Samples:
    """Half a second of a sine of RATE / divisor, with 10 ms of fade at both ends."""
    turns = np.arange(RATE // 2) / divisor
    wave = amplitude * np.sin(2 * np.pi * turns + math.radians(degrees))
    return _tapered(wave)


def burst(offset: int) -> Samples:
    """One period of RATE / 4 at full scale within RATE / 6 at half, sampled `offset` / 4 late."""
    # At four times the rate, the two have periods of 16 and 24 samples; both begin at 0.
    around = 0.5 * np.sin(2 * np.pi * np.arange(24 * 500) / 24)
    dense = np.concatenate((around, np.sin(2 * np.pi * np.arange(16) / 16), around))
    # A low-pass at 0.475 RATE, flat to 0.45 and below -80 dB from 0.5 on.
    at = np.arange(-1000, 1001)
    taps = np.sinc(at * 2 * 0.475 / 4) * np.kaiser(at.size, 8)
    heard = np.convolve(dense, taps / taps.sum(), "same")
    return _tapered(heard[offset::4])


def _tapered(wave: np.ndarray) -> Samples:
    fade = np.minimum(np.arange(wave.size), np.arange(wave.size)[::-1]) / (0.01 * RATE)
    return np.tile((wave * np.minimum(fade, 1)).astype(np.float32), (2, 1))


def measured(sound: Samples, *, true_peak: bool = False) -> Meter:
    """A meter that has heard the whole sound."""
    meter = Meter(RATE, sound.shape[0], true_peak=true_peak)
    _hear(meter, sound)
    return meter


def _hear(meter: Meter, sound: Samples) -> None:
    for at in range(0, sound.shape[1], BLOCK_FRAMES):
        meter.add(np.ascontiguousarray(sound[:, at : at + BLOCK_FRAMES]))


def _loudness(name: str, shown: float | None, wanted: float) -> Reading:
    return Reading(name, -math.inf if shown is None else shown, wanted, 0.1, 0.1)


def _all_three(level: float) -> list[Reading]:
    meter = measured(tones((20, level)))
    return [
        _loudness("M", meter.momentary_max, level),
        _loudness("S", meter.short_term_max, level),
        _loudness("I", meter.integrated, level),
    ]


def _integrated(sound: Samples) -> list[Reading]:
    return [_loudness("I", measured(sound).integrated, -23)]


def _surround() -> Samples:
    levels = (-28, -28, -24, -30, -30)  # L R C Ls Rs
    return np.concatenate([tones((20, level), channels=1) for level in levels])


def _constant(sound: Samples, name: str, window: float, start: float) -> list[Reading]:
    """The lowest and the highest reading of a window that moves on in steps of 100 ms."""
    shown: list[float] = []
    for step in range(round(start * 10), sound.shape[1] * 10 // RATE + 1):
        end = step * RATE // 10
        meter = measured(sound[:, end - round(window * RATE) : end])
        value = meter.short_term_max if name == "S" else meter.momentary_max
        shown.append(-math.inf if value is None else value)
    return [_loudness(f"{name} min", min(shown), -23), _loudness(f"{name} max", max(shown), -23)]


_SILENT = -math.inf


def _file_by_file(name: str, before: float, length: float) -> list[Reading]:
    readings = []
    for i in range(20):
        meter = measured(tones((i * before, _SILENT), (length, -23), (1, _SILENT)))
        shown = meter.short_term_max if name == "S" else meter.momentary_max
        readings.append(_loudness(f"max {name}", shown, -23))
    return _extremes(readings)


def _live(name: str, before: float, length: float) -> list[Reading]:
    meter, readings = Meter(RATE, 2, true_peak=False), []
    for i in range(20):
        level = -38.0 + i
        after = length - i * before
        _hear(meter, tones((i * before, _SILENT), (length, level), (after, _SILENT)))
        shown = meter.short_term_max if name == "S" else meter.momentary_max
        readings.append(_loudness(f"max {name}", shown, level))
    return _extremes(readings)


def _extremes(readings: Sequence[Reading]) -> list[Reading]:
    """Those that are furthest off to either side stand for all."""
    by_error = sorted(readings, key=lambda r: r.shown - r.wanted)
    return [by_error[0], by_error[-1]]


def _true_peak(sound: Samples, wanted: float) -> list[Reading]:
    peak = measured(sound, true_peak=True).true_peak_dbtp
    return [Reading("TP", -math.inf if peak is None else peak, wanted, 0.2, 0.4)]


CASES = [
    Case(1, "1 kHz, -23 dBFS, 20 s", "M, S, I = -23.0 ±0.1 LUFS", lambda: _all_three(-23)),
    Case(2, "1 kHz, -33 dBFS, 20 s", "M, S, I = -33.0 ±0.1 LUFS", lambda: _all_three(-33)),
    Case(
        3,
        "10 s at -36, 60 s at -23, 10 s at -36 dBFS",
        "I = -23.0 ±0.1 LUFS",
        lambda: _integrated(tones((10, -36), (60, -23), (10, -36))),
    ),
    Case(
        4,
        "as 3, between 10 s at -72 dBFS",
        "I = -23.0 ±0.1 LUFS",
        lambda: _integrated(tones((10, -72), (10, -36), (60, -23), (10, -36), (10, -72))),
    ),
    Case(
        5,
        "20 s at -26, 20.1 s at -20, 20 s at -26 dBFS",
        "I = -23.0 ±0.1 LUFS",
        lambda: _integrated(tones((20, -26), (20.1, -20), (20, -26))),
    ),
    Case(
        6,
        "5.0: L R -28, C -24, Ls Rs -30 dBFS, 20 s",
        "I = -23.0 ±0.1 LUFS",
        lambda: _integrated(_surround()),
    ),
    Case(
        9,
        "(1.34 s at -20, 1.66 s at -30 dBFS) 5 times",
        "S = -23.0 ±0.1 LUFS, constant after 3 s",
        lambda: _constant(tones(*[(1.34, -20), (1.66, -30)] * 5), "S", 3, 3),
    ),
    Case(
        10,
        "3 s at -23 dBFS after i x 150 ms; a file for each i = 0 to 19",
        "max S = -23.0 ±0.1 LUFS",
        lambda: _file_by_file("S", 0.15, 3),
    ),
    Case(
        11,
        "3 s at -38 + i dBFS after i x 150 ms, i = 0 to 19, live",
        "max S = -38.0 to -19.0 ±0.1 LUFS",
        lambda: _live("S", 0.15, 3),
    ),
    Case(
        12,
        "(0.18 s at -20, 0.22 s at -30 dBFS) 25 times",
        "M = -23.0 ±0.1 LUFS, constant after 1 s",
        lambda: _constant(tones(*[(0.18, -20), (0.22, -30)] * 25), "M", 0.4, 1),
    ),
    Case(
        13,
        "400 ms at -23 dBFS after i x 20 ms; a file for each i = 0 to 19",
        "max M = -23.0 ±0.1 LUFS",
        lambda: _file_by_file("M", 0.02, 0.4),
    ),
    Case(
        14,
        "400 ms at -38 + i dBFS after i x 20 ms, i = 0 to 19, live",
        "max M = -38.0 to -19.0 ±0.1 LUFS",
        lambda: _live("M", 0.02, 0.4),
    ),
    Case(
        15,
        "fs/4, 0.50 FFS, 0°",
        "max TP = -6.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(sine(4, 0.5, 0), -6),
    ),
    Case(
        16,
        "fs/4, 0.50 FFS, 45°",
        "max TP = -6.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(sine(4, 0.5, 45), -6),
    ),
    Case(
        17,
        "fs/6, 0.50 FFS, 60°",
        "max TP = -6.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(sine(6, 0.5, 60), -6),
    ),
    Case(
        18,
        "fs/8, 0.50 FFS, 67.5°",
        "max TP = -6.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(sine(8, 0.5, 67.5), -6),
    ),
    Case(
        19,
        "fs/4, 1.41 FFS, 45°",
        "max TP = +3.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(sine(4, 1.41, 45), 3),
    ),
    Case(
        20,
        "fs/6 at 0.50 with one period of fs/4 at 1.00 FFS",
        "max TP = 0.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(burst(0), 0),
    ),
    Case(
        21,
        "as 20, sampled 1/4 of a sample later",
        "max TP = 0.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(burst(1), 0),
    ),
    Case(
        22,
        "as 20, sampled 2/4 of a sample later",
        "max TP = 0.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(burst(2), 0),
    ),
    Case(
        23,
        "as 20, sampled 3/4 of a sample later",
        "max TP = 0.0 +0.2/-0.4 dBTP",
        lambda: _true_peak(burst(3), 0),
    ),
]


@cache
def readings_of(case: Case) -> tuple[Reading, ...]:
    """What the meter shows for a case; measured once."""
    return tuple(case.readings())


def page() -> str:
    """The document, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# The loudness meter and EBU Tech 3341"
    yield ""
    yield "Written by `python -m bench.ebu`; the tests judge the same readings."
    yield "Cases 7 and 8 are recordings, which cannot be synthesised."
    yield "Momentary and short-term windows begin every 10 ms, gating blocks every 100 ms."
    yield "Of several readings the two that are furthest off are shown."
    yield ""
    yield "| Case | Signal | Wanted | Shown | |"
    yield "|---|---|---|---|---|"
    for case in CASES:
        readings = readings_of(case)
        shown = ", ".join(f"{r.name} {r.shown:.2f}" for r in readings)
        if len({r.wanted for r in readings}) > 1:
            shown = ", ".join(f"{r.name} {r.shown:.2f} for {r.wanted:.1f}" for r in readings)
        verdict = "within" if all(r.passed for r in readings) else "outside"
        yield f"| {case.number} | {case.signal} | {case.wanted} | {shown} | {verdict} |"


if __name__ == "__main__":
    TABLE.write_text(page(), encoding="utf-8")
    print(page(), end="")
