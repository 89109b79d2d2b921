"""From spectra to rows and shades: frequency and intensity scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handlers.pictures.spectra import Power

FrequencyScale = Literal["lin", "log", "mel"]
IntensityScale = Literal["lin", "log", "sqrt", "cbrt", "4thrt", "5thrt"]

#: Where a logarithmic frequency axis begins, in hertz.
_LOWEST = 20.0
_ROOTS: dict[str, float] = {"lin": 1, "sqrt": 2, "cbrt": 3, "4thrt": 4, "5thrt": 5}


class Rows:
    """Which frequencies lie on which of the `rows` of a picture; row 0 is the lowest."""

    def __init__(self, scale: FrequencyScale, rows: int, rate: int, size: int) -> None:
        """For spectra of `size` samples at `rate` hertz."""
        self._scale = scale
        self._top = rate / 2
        bins = size // 2 + 1
        edges = self.frequency(np.arange(rows + 1) / rows) * size / rate
        middle = np.clip((edges[:-1] + edges[1:]) / 2, 0, bins - 1)
        self._below = np.minimum(middle.astype(np.int64), bins - 2)
        self._share = (middle - self._below).astype(np.float32)
        self._first = np.minimum(np.ceil(edges[:-1]).astype(np.int64), bins)
        self._after = np.minimum(np.floor(edges[1:]).astype(np.int64) + 1, bins)

    def frequency(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Hertz at heights from 0 (bottom) to 1 (top)."""
        low, high = self._ends()
        return np.asarray(self._back(low + (high - low) * position), np.float64)

    def position(self, hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights, 0 to 1, of frequencies."""
        low, high = self._ends()
        return np.asarray((self._forth(hertz) - low) / (high - low), np.float64)

    def gathered(self, power: Power) -> Power:
        """`(..., bins)` as `(..., rows)`: the greatest of the bins of a row.

        Where a row is narrower than a bin it lies on the line between two.
        """
        from handlers.kernels.spectrogram import gather_rows

        flat = power.reshape(-1, power.shape[-1])
        found = np.empty((flat.shape[0], self._first.size), np.float32)
        gather_rows(flat, self._first, self._after, self._below, self._share, found)
        return found.reshape(*power.shape[:-1], -1)

    def ticks(self, apart: float) -> list[tuple[float, str]]:
        """Heights and texts for an axis, at least `apart` (a share of the height) from another."""
        top = self._top
        if self._scale == "lin":
            step = next(s for s in _nice_steps() if s / top >= apart)
            wanted = [step * number for number in range(int(top / step) + 1)]
        else:
            wanted = [0.0] if self._scale == "mel" else []
            wanted += [d * 10.0**power for power in range(1, 6) for d in (1, 2, 5)]
        found: list[tuple[float, str]] = []
        for hertz in wanted:
            at = float(self.position(np.array(hertz)))
            fits = not found or at - found[-1][0] >= apart
            if 0 <= at <= 1 and fits:
                found.append((at, f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"))
        return found

    def _ends(self) -> tuple[float, float]:
        low = min(_LOWEST, self._top / 10) if self._scale == "log" else 0.0
        return float(self._forth(np.array(low))), float(self._forth(np.array(self._top)))

    def _forth(self, hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._scale == "log":
            return np.log2(hertz)
        # Mel as in O'Shaughnessy, "Speech Communication", 1987.
        return hertz if self._scale == "lin" else 2595 * np.log10(1 + hertz / 700)

    def _back(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._scale == "log":
            return np.exp2(value)
        return value if self._scale == "lin" else 700 * (10 ** (value / 2595) - 1)


def _nice_steps() -> list[float]:
    return [d * 10.0**power for power in range(6) for d in (1, 2, 5)]


@dataclass(frozen=True)
class Intensity:
    """How bright a level is."""

    scale: IntensityScale
    #: Decibels from dark to full, where the scale is logarithmic.
    range_db: float

    def shade(self, power: Power) -> NDArray[np.float32]:
        """0 to 1 for powers from silence to full scale; beyond it stays 1. NaN is silence."""
        if self.scale == "log":
            least = np.float32(10 ** (-self.range_db / 10))
            # The natural logarithm is the one that numpy has fast.
            shade = np.log(np.fmax(power, least))
            shade *= np.float32(10 / np.log(10) / self.range_db)
            shade += 1
            return np.clip(shade, 0, 1, out=shade)
        root = np.float32(0.5 / _ROOTS[self.scale])
        return np.fmin(np.fmax(power, np.float32(0)), np.float32(1)) ** root

    def ticks(self, apart: float) -> list[tuple[float, str]]:
        """Shades and texts for a scale beside the picture, loudest first."""
        found: list[tuple[float, str]] = []
        step = 10 if self.range_db <= 70 else 20
        levels = (
            [-step * number for number in range(int(self.range_db / step) + 1)]
            if self.scale == "log"
            else [0, -3, -6, -10, -15, -20, -30, -40, -60, -80, -100]
        )
        for level in levels:
            at = float(self.shade(np.array([10 ** (level / 10)], np.float32))[0])
            if not found or found[-1][0] - at >= apart:
                found.append((at, f"{level:g}"))
        return found
