"""What all lanes are drawn with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from handlers.pictures.theme import Theme

Floats = NDArray[np.float64]

FINE = 2
"""Columns and points drawn per pixel: what a screen of double density can show."""


class Measures(Protocol):
    """Knows how wide text is."""

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Pixels."""


@dataclass(frozen=True)
class TimeAxis:
    """What all lanes share."""

    #: Seconds, more than 0.
    duration: float
    #: Width in pixels.
    pixels: int

    @property
    def pixel(self) -> float:
        """Seconds of one pixel."""
        return self.duration / self.pixels


@dataclass(frozen=True)
class Built:
    """A lane, ready to be drawn into axes."""

    name: str
    height: float
    time: TimeAxis
    draw: Callable[[Any], None]
    unit: str = ""
    #: Names that found no room, and their colours.
    legend: Sequence[tuple[str, str]] = field(default=())


@dataclass(frozen=True)
class Pen:
    """What drawing functions need beside what they draw."""

    time: TimeAxis
    theme: Theme
    ruler: Measures

    def stripe(self, axes: Any, role: str, points: Floats, **more: Any) -> None:
        """One line through `points` `(n, 2)`; NaN lifts the pen."""
        axes.add_artist(Line2D(points[:, 0], points[:, 1], color=self.theme[role], **more))

    def area(self, axes: Any, role: str, path: Path, **more: Any) -> None:
        """A filled shape."""
        more = {"linewidth": 0, **more}
        axes.add_artist(PathPatch(path, facecolor=self.theme[role], **more))


def between(times: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Path:
    """The closed shape between two curves."""
    there = np.column_stack((times, high))
    back = np.column_stack((times, np.minimum(low, high)))[::-1]
    return Path(np.concatenate((there, back, there[:1])), closed=True)
