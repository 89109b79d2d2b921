"""Moments and named stretches, in a lane of their own or over another one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.path import Path

from handlers.pictures.pen import Floats, Pen, TimeAxis
from handlers.pictures.plots import Marks, Over, Span, Spans
from handlers.pictures.theme import HUES, printable

#: Moments closer than this many pixels become ticks on the edge: lines would hide all else.
_APART = 6
#: Names of nothing.
_NOTHING = {"", "n", "n.c.", "x", "silence", "none"}
#: Hues far apart come first.
_ORDER = (2, 10, 5, 0, 7, 3, 11, 6, 1, 9, 4, 8)


def draw_over(pen: Pen, axes: Any, layers: Sequence[Over]) -> None:
    """Draw `layers` over what the axes show already."""
    for layer in layers:
        if isinstance(layer, Marks):
            draw_marks(pen, layer, axes, alone=False)
        else:
            Colored(layer, pen).draw(axes, alone=False)


# -- moments -------------------------------------------------------------------------------
def draw_marks(pen: Pen, lane: Marks, axes: Any, *, alone: bool) -> None:
    """Lines across the axes, which are theirs `alone` or another lane's."""
    strong = _seen(lane.strong, pen.time)
    weak = np.setdiff1d(_seen(lane.times, pen.time), strong)
    for role, times, all_times in (
        ("weak", weak, np.union1d(weak, strong)),
        ("strong", strong, strong),
    ):
        if not times.size:
            continue
        main = role == "strong"
        crowded = _apart(all_times) < _APART * pen.time.pixel
        if alone:
            low, high = (0.0, 1.0) if main else (0.25, 0.75)
        else:
            low, high = (0.0, (0.2 if main else 0.1) if crowded else 1.0)
        lines = np.full((times.size, 3, 2), np.nan)
        lines[:, :2, 0] = times[:, None]
        lines[:, :2, 1] = low, high
        # Under a closer crowd the lines thin out instead of becoming a wall.
        share = min(1.0, pen.time.pixels / (2.0 * times.size))
        pen.stripe(
            axes,
            role,
            lines.reshape(-1, 2),
            linewidth=(1.2 if main else 0.8) * max(share, 0.3),
            alpha=1.0 if alone or crowded else 0.6,
            transform=axes.get_xaxis_transform(),
            zorder=3,
        )
    for at, text in _placed(lane.flags, pen):
        _flag(pen, axes, at, text, alone=alone)


def _flag(pen: Pen, axes: Any, at: float, text: str, *, alone: bool) -> None:
    line = np.array([[at, 0.0], [at, 1.0]])
    upright = axes.get_xaxis_transform()
    pen.stripe(axes, "strong", line, linewidth=1.3, transform=upright, zorder=3)
    if text:
        axes.text(
            at + 5 * pen.time.pixel,
            0.5 if alone else 0.94,
            text,
            color=pen.theme["strong"],
            fontsize=7.5,
            va="center_baseline" if alone else "top",
            transform=upright,
            clip_on=True,
            zorder=4,
            bbox={"facecolor": pen.theme["lane"], "edgecolor": "none", "pad": 1.5, "alpha": 0.9},
        )


def _apart(times: Floats) -> float:
    """How far apart neighbours usually are."""
    return float(np.median(np.diff(times))) if times.size > 1 else np.inf


def _seen(times: Any, time: TimeAxis) -> Floats:
    """Sorted moments within the picture, one per half pixel at most."""
    half = time.pixel / 2
    steps = np.round(np.asarray(times, np.float64) / half)
    return np.unique(steps[(steps >= 0) & (steps * half <= time.duration)]) * half


def _placed(flags: Iterable[tuple[float, str]], pen: Pen) -> list[tuple[float, str]]:
    """Flags in order; a text that would run into the next flag is left out."""
    ordered = sorted((at, printable(text)) for at, text in flags if 0 <= at <= pen.time.duration)
    ends = [at for at, _ in (*ordered[1:], (pen.time.duration, ""))][: len(ordered)]
    return [
        (at, text if pen.ruler.width(text, 7.5) + 8 < (end - at) / pen.time.pixel else "")
        for (at, text), end in zip(ordered, ends, strict=True)
    ]


# -- stretches -----------------------------------------------------------------------------
class Colored:
    """Spans with their colours, as many as can be told apart."""

    def __init__(self, lane: Spans, pen: Pen) -> None:
        self._pen = pen
        self._widths: dict[tuple[str, float], float] = {}
        spans = sorted(
            (
                Span(max(s.start, 0.0), s.end or s.start, printable(s.label))
                for s in lane.spans
                if s.start <= pen.time.duration and (s.end or s.start) >= 0
            ),
            key=lambda span: (span.start, span.end),
        )
        self._roles = _label_roles([span.label for span in spans], keys=lane.keys)
        self._spans = _resolved(spans, pen.time)

    def legend(self) -> list[tuple[str, str]]:
        """Labels that stand on none of their spans, those of most time first, while they fit."""
        time: dict[str, float] = {}
        for span in self._spans:
            time[span.label] = time.get(span.label, 0.0) + span.end - span.start
        told = {span.label for span in self._spans if self._size(span)}
        if told >= set(time) - {""}:
            return []
        found, x = [], 0.0
        for label in sorted(time, key=lambda label: -time[label]):
            x += 29 + self._pen.ruler.width(label, 7.5)
            if x > self._pen.time.pixels:
                break
            if label:
                found.append((label, self._roles[label]))
        return found

    def draw(self, axes: Any, *, alone: bool) -> None:
        """Draw into `axes`, which are theirs alone or another lane's."""
        pixel = self._pen.time.pixel
        boxes: dict[str, list[Floats]] = {}
        for span in self._spans:
            end = min(max(span.end, span.start + pixel), self._pen.time.duration)
            x = np.array([span.start, span.start, end, end, span.start])
            box = np.column_stack((x, [0.0, 1.0, 1.0, 0.0, 0.0]))
            boxes.setdefault(self._roles[span.label], []).append(box)
            size = self._size(span)
            if size:
                axes.text(
                    (span.start + end) / 2 if alone else span.start + 4 * pixel,
                    0.5 if alone else 0.95,
                    span.label,
                    color=self._pen.theme["ink"],
                    fontsize=size,
                    ha="center" if alone else "left",
                    va="center_baseline" if alone else "top",
                    transform=axes.get_xaxis_transform(),
                    clip_on=True,
                )
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
        for role, shapes in boxes.items():
            self._pen.area(
                axes,
                role,
                Path(np.concatenate(shapes), codes * len(shapes)),
                alpha=None if alone else 0.55,
                edgecolor=self._pen.theme["card"],
                linewidth=0.6 if len(self._spans) < self._pen.time.pixels / 4 else 0,
                transform=axes.get_xaxis_transform(),
            )

    def _size(self, span: Span) -> float:
        """Points at which the label fits into its span; 0 if it does not."""
        room = (span.end - span.start) / self._pen.time.pixel
        fitting = (size for size in (8.0, 6.5) if self._width(span.label, size) + 3 < room)
        return next(fitting, 0.0) if span.label else 0.0

    def _width(self, label: str, size: float) -> float:
        key = (label, size)
        if key not in self._widths:
            self._widths[key] = self._pen.ruler.width(label, size)
        return self._widths[key]


def _resolved(spans: list[Span], time: TimeAxis) -> list[Span]:
    """Those spans themselves or, of more than there are pixels, what lies under each pixel."""
    if len(spans) <= time.pixels:
        return spans
    starts = np.array([span.start for span in spans])
    seen: list[Span] = []
    for pixel in range(time.pixels):
        middle = (pixel + 0.5) * time.pixel
        found = int(np.searchsorted(starts, middle, "right")) - 1
        if found < 0 or spans[found].end < middle:
            continue
        start, end, label = pixel * time.pixel, (pixel + 1) * time.pixel, spans[found].label
        if seen and seen[-1].label == label and abs(seen[-1].end - start) < time.pixel / 2:
            seen[-1] = Span(seen[-1].start, end, label)
        else:
            seen.append(Span(start, end, label))
    return seen


def _label_roles(labels: Sequence[str], *, keys: bool) -> dict[str, str]:
    roles: dict[str, str] = {}
    number = 0
    for label in labels:
        if label in roles:
            continue
        key = key_role(label) if keys else None
        if key is not None:
            roles[label] = key
        elif label.strip().lower() in _NOTHING and (label or keys):
            roles[label] = "neutral"
        else:
            roles[label] = numbered_role(number)
            number += 1
    return roles


def numbered_role(number: int) -> str:
    """A colour for the first, second, third thing; equal ones only after many."""
    kind = "hue" if number // HUES % 2 == 0 else "pale"
    return f"{kind}{_ORDER[number % HUES]}"


def key_role(label: str) -> str | None:
    """The colour of a chord or key by its root; None when it is neither."""
    found = re.match(r"([A-G])([#♯b♭]?)(.*)", label.strip())
    if found is None:
        return None
    root = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[found[1]]
    root += {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[found[2]]
    quality = found[3].strip().lstrip(":").strip()
    minor = bool(re.match(r"m(?!aj)|min|dim|hdim|o|°|ø", quality))
    # In fifths, relatives beside each other: A minor is the pale C.
    place = (root + (3 if minor else 0)) * 7 % HUES
    return f"{'pale' if minor else 'hue'}{place}"
