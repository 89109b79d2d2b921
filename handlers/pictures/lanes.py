"""How each kind of lane is drawn."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from handlers.pictures.labels import Colored, draw_marks, draw_over
from handlers.pictures.pen import FINE, Built, Floats, Measures, Pen, TimeAxis, between
from handlers.pictures.plots import NOTES, Curve, Heat, Lane, Marks, Roll, Spans, Wave
from handlers.pictures.rolls import built_roll
from handlers.pictures.theme import HUES, Theme, hue, printable


def built(lane: Lane, time: TimeAxis, theme: Theme, ruler: Measures) -> Built:
    """Decide on height and legend; drawing comes later."""
    pen = Pen(time, theme, ruler)
    if isinstance(lane, Wave):
        return Built(lane.name, 104 * lane.height, time, partial(_wave, pen, lane))
    if isinstance(lane, Marks):
        height = (38 if lane.flags else 26) * lane.height
        return Built(lane.name, height, time, partial(draw_marks, pen, lane, alone=True))
    if isinstance(lane, Spans):
        colored = Colored(lane, pen)
        draw = partial(colored.draw, alone=True)
        return Built(lane.name, 30 * lane.height, time, draw, legend=colored.legend())
    if isinstance(lane, Heat):
        draw_heat = partial(_heat, pen, lane)
        return Built(lane.name, 122 * lane.height, time, draw_heat, lane.unit)
    if isinstance(lane, Roll):
        return built_roll(lane, pen)
    return Built(lane.name, 122 * lane.height, time, partial(_curve, pen, lane), lane.unit)


# -- waveform ------------------------------------------------------------------------------
def _wave(pen: Pen, lane: Wave, axes: Any) -> None:
    outline = lane.outline
    low, high, rms = (row.astype(np.float64) for row in (outline.low, outline.high, outline.rms))
    # Neighbouring columns touch, so that a slow wave stays one line.
    low[1:], high[1:] = np.minimum(low[1:], high[:-1]), np.maximum(high[1:], low[:-1])
    peak = max(0.05, float(np.abs([low, high]).max(initial=0)))
    axes.set_ylim(-1.06 * peak, 1.06 * peak)
    times = (np.arange(low.size) + 0.5) * outline.step
    for layer in lane.over:
        if isinstance(layer, Spans):
            draw_over(pen, axes, [layer])
    if times.size:
        thin = 0.003 * peak
        times[-1] = min(times[-1], pen.time.duration)
        pen.area(axes, "peaks", between(times, low - thin, high + thin))
        body = np.minimum(rms, np.maximum(high, -low))
        pen.area(axes, "body", between(times, np.maximum(-body, low), np.minimum(body, high)))
    draw_over(pen, axes, [layer for layer in lane.over if isinstance(layer, Marks)])


# -- values --------------------------------------------------------------------------------
def _heat(pen: Pen, lane: Heat, axes: Any) -> None:
    values = _pooled(np.asarray(lane.values, np.float64), FINE * pen.time.pixels)
    rows, columns = values.shape
    finite = values[np.isfinite(values)]
    low = lane.low if lane.low is not None else float(finite.min(initial=np.inf))
    high = lane.high if lane.high is not None else float(finite.max(initial=-np.inf))
    share = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0, 1)
    if lane.colors == "keys":
        image = np.zeros((rows, columns, 4))
        for row in range(rows):
            number = hue(row * 7 % HUES, 0.66, 0.16)
            image[row, :, :3] = [int(number[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        image[..., 3] = share
    else:
        image = mpl.colormaps["magma"](share)
    axes.set_ylim(-0.5, max(rows, 1) - 0.5)
    if values.size:
        end = pen.time.duration if lane.end is None else lane.end
        axes.imshow(
            np.rint(image * 255).astype(np.uint8),
            extent=(lane.start, end, -0.5, rows - 0.5),
            origin="lower",
            aspect="auto",
            interpolation="none",
            zorder=1,
        )
        axes.set_xlim(0, pen.time.duration)
        axes.set_ylim(-0.5, rows - 0.5)
    marked = lane.rows
    if not marked and lane.colors == "keys" and rows == len(NOTES):
        marked = [(row, NOTES[row]) for row in (0, 2, 4, 7, 9)]
    axes.set_yticks([row for row, _ in marked], [printable(text) for _, text in marked])
    draw_over(pen, axes, lane.over)


def _pooled(values: Floats, most: int) -> Floats:
    """At most `most` columns, each the mean of those that it stands for."""
    columns = values.shape[1]
    if columns <= most:
        return values
    edges = np.arange(most) * columns // most
    total: Floats = np.add.reduceat(values, edges, axis=1)
    return total / np.diff(np.append(edges, columns))


def _curve(pen: Pen, lane: Curve, axes: Any) -> None:
    times = np.asarray(lane.times, np.float64)
    values = np.array([np.nan if v is None else v for v in lane.values], np.float64)
    targets = [(target.value, printable(target.label)) for target in lane.targets]
    limits = [v for v in (lane.low, lane.high) if v is not None]
    if lane.notes:
        values = _semitones(values)
        targets = [(float(_semitones(np.array([v]))[0]), text) for v, text in targets]
        limits = _semitones(np.array(limits)).tolist()
    values[~np.isfinite(values)] = np.nan
    shown = [*values[~np.isnan(values)].tolist(), *limits, *(value for value, _ in targets)]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    room = max(high - low, 2.0 if lane.notes else 1e-6 + 0.02 * abs(high)) * 0.08
    low, high = low - room, high + room
    axes.set_ylim(low, high)
    _value_ticks(axes, low, high, notes=lane.notes)
    axes.grid(True, axis="y", color=pen.theme["grid"], linewidth=0.7)
    points = _thinned(times, values, FINE * pen.time.pixels)
    if not lane.notes:
        for part in _runs(points):
            floor = np.full(len(part), low)
            path = between(part[:, 0], floor, part[:, 1])
            pen.area(axes, "curve", path, alpha=0.13)
    pen.stripe(axes, "curve", points, linewidth=2.0 if lane.notes else 1.4, solid_capstyle="round")
    for value, text in targets:
        line = np.array([[0.0, value], [pen.time.duration, value]])
        pen.stripe(axes, "target", line, linewidth=1.0, dashes=(5, 3))
        axes.text(
            pen.time.duration - 5 * pen.time.pixel,
            value,
            text,
            color=pen.theme["target"],
            fontsize=7.5,
            ha="right",
            va="center",
            zorder=4,
            bbox={"facecolor": pen.theme["lane"], "edgecolor": "none", "pad": 1.5},
        )
    draw_over(pen, axes, lane.over)


def _semitones(hertz: Floats) -> Floats:
    """MIDI note numbers; NaN where there is no pitch."""
    heard = np.where(np.nan_to_num(hertz) > 0, hertz, np.nan)
    return np.asarray(69 + 12 * np.log2(heard / 440), np.float64)


def _value_ticks(axes: Any, low: float, high: float, *, notes: bool) -> None:
    if not notes:
        ticks = [v for v in MaxNLocator(4).tick_values(low, high) if low <= v <= high]
        axes.set_yticks(ticks, [f"{v + 0.0:g}".replace("-", "−") for v in ticks])
        return
    steps = (1, 2, 3, 4, 6, 12, 24)
    step: int = next((s for s in steps if (high - low) / s <= 6), 36)
    rows = list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))
    axes.set_yticks(rows, [f"{NOTES[note % 12]}{note // 12 - 1}" for note in rows])


def _thinned(times: Floats, values: Floats, most: int) -> Floats:
    """`(n, 2)`; of more than `most` points the least and the greatest of each stretch."""
    points = np.column_stack((times, values))
    if len(points) <= 2 * most:
        return points
    size = -(-len(points) // most)
    short = -len(points) % size
    padded = np.concatenate((values, np.full(short, np.nan))).reshape(-1, size)
    least = np.argmin(np.where(np.isnan(padded), np.inf, padded), axis=1)
    greatest = np.argmax(np.where(np.isnan(padded), -np.inf, padded), axis=1)
    begins = np.arange(len(padded)) * size
    kept = np.sort(np.stack((begins + least, begins + greatest)), axis=0).T.reshape(-1)
    thinned: Floats = points[kept]
    return thinned


def _runs(points: Floats) -> list[Floats]:
    """Stretches without NaN."""
    gaps = np.flatnonzero(np.isnan(points[:, 1]))
    return [run[~np.isnan(run[:, 1])] for run in np.split(points, gaps) if len(run) > 2]
