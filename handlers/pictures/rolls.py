"""Piano rolls."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.path import Path
from numpy.typing import NDArray

from handlers.pictures.labels import numbered_role
from handlers.pictures.pen import FINE, Built, Pen
from handlers.pictures.plots import NOTES, Roll
from handlers.pictures.theme import ROLES, printable

Whole = NDArray[np.int64]

#: Pixels of a row, of one with a name of its own, and of the lane.
_ROW, _NAMED_ROW, _LEAST, _MOST = 7, 14, 60, 300
#: A roll shows an octave at least.
_OCTAVE = 12
_BLACK = (1, 3, 6, 8, 10)
#: Beyond so many bars a picture of pixels says as much and stays small.
_MOST_BARS = 8000
#: Opacities from the weakest notes to the strongest.
_SHADES = (0.55, 0.7, 0.85, 1.0)


def built_roll(lane: Roll, pen: Pen) -> Built:
    """Decide on rows, colours and legend."""
    pitches = np.asarray(lane.pitches, np.int64)
    if lane.keys is not None:
        shown = np.unique(pitches)
    else:
        low, high = int(pitches.min(initial=127)), int(pitches.max(initial=0))
        if low > high:
            low = high = 60
        room = max(_OCTAVE - 1 - (high - low), 0)
        shown = np.arange(low - (room + 1) // 2, high + room // 2 + 1)
    players = np.unique(np.asarray(lane.players, np.int64)).tolist()
    roles = {player: numbered_role(number) for number, player in enumerate(players)}
    legend = [(printable(lane.names[p]), roles[p]) for p in players if p in lane.names]
    row = _ROW if lane.keys is None else _NAMED_ROW
    height = min(max(row * shown.size, _LEAST), _MOST) * lane.height
    draw = partial(_draw, pen, lane, shown, roles)
    fitting = legend if len(legend) > 1 and _fits(legend, pen) else []
    return Built(lane.name, height, pen.time, draw, legend=fitting)


def _fits(legend: list[tuple[str, str]], pen: Pen) -> bool:
    return sum(29 + pen.ruler.width(text, 7.5) for text, _ in legend) <= pen.time.pixels


def _draw(pen: Pen, lane: Roll, shown: Whole, roles: dict[int, str], axes: Any) -> None:
    axes.set_ylim(-0.5, max(shown.size, 1) - 0.5)
    if lane.keys is None:
        black = np.flatnonzero(np.isin(shown % 12, _BLACK))
        _boxes(
            pen, axes, "grid", np.zeros(black.size), np.full(black.size, pen.time.duration), black
        )
        ticks = np.flatnonzero(shown % 12 == 0)
        labels = [f"{NOTES[0]}{pitch // 12 - 1}" for pitch in shown[ticks].tolist()]
    else:
        # A name for every row, as far as there is room.
        ticks = np.arange(0, shown.size, -(-_NAMED_ROW * shown.size // _MOST))
        labels = [printable(lane.keys.get(key, str(key))) for key in shown[ticks].tolist()]
    axes.set_yticks(ticks, labels)
    starts = np.asarray(lane.starts, np.float64)
    ends = np.maximum(np.asarray(lane.ends, np.float64), starts + pen.time.pixel)
    rows = np.searchsorted(shown, np.asarray(lane.pitches, np.int64))
    players = np.asarray(lane.players, np.int64)
    strengths = np.clip(np.asarray(lane.strengths, np.float64), 0, 1)
    if starts.size > _MOST_BARS:
        _image(pen, axes, (starts, ends), rows, players, strengths, shown.size, roles)
        return
    shades = np.minimum((strengths * len(_SHADES)).astype(np.int64), len(_SHADES) - 1)
    for player, role in roles.items():
        for shade, alpha in enumerate(_SHADES):
            these = (players == player) & (shades == shade)
            _boxes(pen, axes, role, starts[these], ends[these], rows[these], alpha=alpha)


def _boxes(
    pen: Pen, axes: Any, role: str, starts: Any, ends: Any, rows: Any, alpha: float | None = None
) -> None:
    """One shape of many boxes, a row high."""
    if not starts.size:
        return
    half = 0.5 if alpha is None else 0.42
    corners = np.empty((starts.size, 5, 2))
    corners[:, :, 0] = np.stack((starts, starts, ends, ends, starts), axis=1)
    corners[:, :, 1] = rows[:, None] + half * np.array([-1.0, 1.0, 1.0, -1.0, -1.0])
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    pen.area(
        axes,
        role,
        Path(corners.reshape(-1, 2), codes * starts.size),
        alpha=alpha or 0.5,
        zorder=0.5 if alpha is None else 2,
    )


def _image(
    pen: Pen,
    axes: Any,
    spans: tuple[Any, Any],
    rows: Whole,
    players: Whole,
    strengths: Any,
    height: int,
    roles: dict[int, str],
) -> None:
    """A pixel for each half of a pixel and row that sounds; the later note lies above."""
    width = FINE * pen.time.pixels
    scale = width / pen.time.duration
    begin = np.clip((spans[0] * scale).astype(np.int64), 0, width - 1)
    end = np.clip(np.ceil(spans[1] * scale).astype(np.int64), begin + 1, width)
    # Of those that begin at one spot the longest is enough: their number has a bound now.
    order = np.lexsort((end, begin, rows))
    last = np.append((np.diff(begin[order]) != 0) | (np.diff(rows[order]) != 0), True)
    seen = np.full((height, width), -1, np.int32)
    for note in order[last].tolist():
        seen[rows[note], begin[note] : end[note]] = note
    # Between light and dark schemes: a picture of pixels has one colour for both.
    known = np.array(sorted(roles))
    table = np.array([_middle(*ROLES[roles[player]]) for player in known.tolist()], np.uint8)
    sounding = seen >= 0
    notes = seen[sounding]
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[sounding, :3] = table[np.searchsorted(known, players[notes])]
    pixels[sounding, 3] = 255 * (0.4 + 0.6 * strengths[notes])
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(
        pixels,
        extent=(0, pen.time.duration, -0.5, height - 0.5),
        origin="lower",
        aspect="auto",
        interpolation="none",
        zorder=1,
    )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _middle(light: str, dark: str) -> list[int]:
    """The colour between two."""
    return [(int(light[at : at + 2], 16) + int(dark[at : at + 2], 16)) // 2 for at in (1, 3, 5)]
