"""The page of a drawn report: head, lanes one below the other, time axis.

Only `plots.draw` imports this: matplotlib comes with it. Figures are made by
hand and never through `pyplot`, which keeps state for a whole process.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch

from handlers.pictures import lanes
from handlers.pictures.pen import Built, TimeAxis
from handlers.pictures.plots import Plot
from handlers.pictures.theme import Scheme, Theme, printable, styled
from handlers.pictures.times import clock, time_ticks

#: Pixels at 100 dpi, in which everything is placed.
_WIDTH, _LEFT, _RIGHT, _MARGIN = 1200, 132, 28, 24
_TITLE, _FACTS, _GAP, _LEGEND, _AXIS = 40, 44, 10, 22, 34
_DPI, _PNG_DPI = 100, 160


def svg(plot: Plot) -> bytes:
    """An SVG that follows the light or dark scheme of its page."""
    with _settings():
        figure = _Page(plot, Theme(None), rounded=True).figure
        FigureCanvasSVG(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return styled(text.getvalue(), printable(plot.title)).encode()


def png(plot: Plot, scheme: Scheme) -> bytes:
    """A PNG on a card of its own."""
    with _settings():
        figure = _Page(plot, Theme(scheme), rounded=False).figure
        FigureCanvasAgg(figure)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return data.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    settings: dict[str, Any] = {
        # Text stays text: it can be found, copied and read aloud.
        "svg.fonttype": "none",
        "svg.hashsalt": "audiolla",
        "svg.image_inline": True,
        "font.family": ["DejaVu Sans"],
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "path.simplify": True,
    }
    with mpl.rc_context(cast(Any, settings)), warnings.catch_warnings():
        # A title in a script that this font lacks: the SVG's reader has another one.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


class Ruler:
    """How wide text is, in pixels."""

    def __init__(self) -> None:
        self._renderer: Any = cast(Any, RendererAgg)(8, 8, _DPI)

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Of one line at `size` points."""
        font = FontProperties(size=size, weight="bold" if bold else "normal")
        width, _, _ = self._renderer.get_text_width_height_descent(text, font, False)
        return float(width)


@dataclass(frozen=True)
class _Cell:
    """A fact of the head, placed."""

    x: float
    row: int
    label: str
    value: str


class _Page:
    """Places everything on one figure; y counts downwards from the top."""

    def __init__(self, plot: Plot, theme: Theme, *, rounded: bool) -> None:
        self._theme = theme
        self._ruler = Ruler()
        inner = _WIDTH - _LEFT - _RIGHT
        time = TimeAxis(max(plot.duration, 1e-3), inner)
        built = [lanes.built(lane, time, theme, self._ruler) for lane in plot.lanes]
        cells = self._cells(plot.facts)
        head = _TITLE + _FACTS * (cells[-1].row + 1 if cells else 0)
        heights = [lane.height + (_LEGEND if lane.legend else 0) for lane in built]
        self._height: float = (
            2 * _MARGIN + head + sum(heights) + _GAP * (len(built) - 1) + _AXIS - 12
        )
        self.figure = Figure(figsize=(_WIDTH / _DPI, self._height / _DPI), dpi=_DPI)
        self.figure.patch.set_facecolor(theme["card"])
        if rounded:
            self._card()
        self._head(plot, cells)
        ticks, labels = time_ticks(time.duration)
        y = float(_MARGIN + head)
        for lane, height in zip(built, heights, strict=True):
            last = lane is built[-1]
            self._lane(lane, y, ticks, labels if last and not lane.legend else None)
            y += height + _GAP
        if built and built[-1].legend:
            self._times(time, y - _GAP, ticks, labels)

    # -- parts -----------------------------------------------------------------------------
    def _card(self) -> None:
        """Rounded corners: the page shows through beyond them."""
        self.figure.patch.set_visible(False)
        width, height = _WIDTH / _DPI, self._height / _DPI
        self.figure.add_artist(
            FancyBboxPatch(
                (0.01, 0.01),
                width - 0.02,
                height - 0.02,
                boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=self._theme["card"],
                edgecolor=self._theme["edge"],
                linewidth=0.8,
                zorder=-10,
                transform=self.figure.dpi_scale_trans,
            )
        )

    def _text(self, x: float, y: float, text: str, role: str, size: float, **more: Any) -> None:
        self.figure.text(
            x / _WIDTH,
            1 - y / self._height,
            printable(text),
            color=self._theme[role],
            fontsize=size,
            **more,
        )

    def _head(self, plot: Plot, cells: list[_Cell]) -> None:
        middle = _MARGIN + 12
        self._text(_MARGIN, middle, plot.title, "ink", 14, weight="bold", va="center_baseline")
        length = clock(plot.duration, 0.01 if plot.duration < 10 else 1)
        right = _WIDTH - _RIGHT
        self._text(right, middle, length, "muted", 10, ha="right", va="center_baseline")
        for cell in cells:
            y = _MARGIN + _TITLE + _FACTS * cell.row
            self._text(cell.x, y + 8, cell.label, "muted", 7.5, va="baseline")
            self._text(cell.x, y + 26, cell.value, "ink", 11, weight="bold", va="baseline")

    def _cells(self, facts: Mapping[str, str | float | None]) -> list[_Cell]:
        cells: list[_Cell] = []
        x, row = float(_MARGIN), 0
        for label, fact in facts.items():
            if fact is None:
                continue
            value = printable(fact if isinstance(fact, str) else f"{fact:g}")
            width = max(self._ruler.width(label, 7.5), self._ruler.width(value, 11, bold=True))
            if cells and x + width > _WIDTH - _RIGHT:
                x, row = float(_MARGIN), row + 1
            cells.append(_Cell(x, row, label, value))
            x += width + 30
        return cells

    def _axes(self, y: float, height: float) -> Any:
        axes = self.figure.add_axes(
            (
                _LEFT / _WIDTH,
                1 - (y + height) / self._height,
                (_WIDTH - _LEFT - _RIGHT) / _WIDTH,
                height / self._height,
            )
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, colors=self._theme["muted"], labelsize=7.5, pad=5)
        return axes

    def _lane(self, lane: Built, y: float, ticks: list[float], labels: list[str] | None) -> None:
        axes = self._axes(y, lane.height)
        axes.set_facecolor(self._theme["lane"])
        axes.set_xlim(0, lane.time.duration)
        axes.set_ylim(0, 1)
        axes.set_xticks(ticks, labels if labels is not None else [""] * len(ticks))
        axes.set_yticks([])
        axes.grid(True, axis="x", color=self._theme["grid"], linewidth=0.7)
        axes.set_axisbelow(True)
        lane.draw(axes)
        thin = lane.height < 50
        top = y + lane.height / 2 if thin else y + 10
        self._text(_MARGIN, top, lane.name, "ink", 8.5, va="center")
        if lane.unit:
            self._text(_MARGIN, y + 25, lane.unit, "muted", 7.5, va="center")
        x = float(_LEFT)
        for text, role in lane.legend:
            middle = y + lane.height + 13
            self._chip(x, middle, role)
            self._text(x + 15, middle, text, "muted", 7.5, va="center_baseline")
            x += 15 + self._ruler.width(text, 7.5) + 14

    def _chip(self, x: float, y: float, role: str) -> None:
        self.figure.add_artist(
            FancyBboxPatch(
                (x / _DPI, (self._height - y - 5) / _DPI),
                0.1,
                0.1,
                boxstyle="round,pad=0,rounding_size=0.02",
                facecolor=self._theme[role],
                linewidth=0,
                transform=self.figure.dpi_scale_trans,
            )
        )

    def _times(self, time: TimeAxis, y: float, ticks: list[float], labels: list[str]) -> None:
        """The time axis on its own, where something stands between it and the last lane."""
        axes = self._axes(y, 1)
        axes.patch.set_visible(False)
        axes.set_xlim(0, time.duration)
        axes.set_yticks([])
        axes.set_xticks(ticks, labels)
