"""Drawings of reports: lanes over one time axis, as SVG or PNG.

    draw(Plot(
        "Beats", duration=182.4,
        facts={"Tempo": "128.0 BPM", "Beats": 389},
        lanes=[
            Wave(outline(sound), over=[Marks(beats, strong=downbeats)]),
            Spans([Span(0, 2.1, "Am"), Span(2.1, 4.0, "F")], name="Chords", keys=True),
        ],
    ))

An SVG follows the page's light or dark scheme; a PNG lies on its own light
card. Text of users is drawn as it is and never read as markup or formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from handlers.artifacts import Png, Svg
from handlers.declare import Params
from handlers.pictures.outline import Outline

Format = Literal["svg", "png"]
Times = Sequence[float] | NDArray[Any]

NOTES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
"""The twelve pitch classes."""


class HasSpan(Protocol):
    """Whatever lasts and has a name: a `Span`, a marker, a segment."""

    @property
    def start(self) -> float:
        """Seconds."""

    @property
    def end(self) -> float | None:
        """Seconds."""

    @property
    def label(self) -> str:
        """What it is called."""


@dataclass(frozen=True)
class Span:
    """A stretch of time with a name."""

    start: float
    end: float
    label: str = ""


@dataclass(frozen=True)
class Marks:
    """Moments: beats, onsets, cue points. As a lane, or over another one."""

    #: Seconds.
    times: Times = ()
    #: Those that matter more (downbeats); need not be among `times`.
    strong: Times = ()
    #: Moments with a name, drawn as little flags.
    flags: Sequence[tuple[float, str]] = ()
    name: str = ""
    #: Share of the usual height of such a lane.
    height: float = 1.0


@dataclass(frozen=True)
class Spans:
    """Stretches with names: chords, segments, speech, silences. As a lane, or over another one.

    Equal labels have equal colours. With `keys` a label is read as a chord or
    key (`C`, `F#m`, `Bb:min7`, `A minor`): fifths are neighbours in colour, and
    minor is paler.
    """

    spans: Iterable[HasSpan]
    name: str = ""
    keys: bool = False
    height: float = 1.0


Over = Marks | Spans


@dataclass(frozen=True)
class Wave:
    """The waveform, scaled to its peak."""

    outline: Outline
    over: Sequence[Over] = ()
    name: str = "Waveform"
    height: float = 1.0


@dataclass(frozen=True)
class Heat:
    """A picture of values over time: chroma, a spectrogram.

    `values` is `(rows, columns)`, lowest row first; columns are evenly spread
    from `start` to `end` (None: the duration). They are drawn from `low` to
    `high` (None: their own extremes).
    """

    values: NDArray[np.floating[Any]]
    start: float = 0.0
    end: float | None = None
    #: "keys" gives each of 12 rows its pitch class' colour; else a map from dark to bright.
    colors: Literal["keys", "map"] = "map"
    low: float | None = None
    high: float | None = None
    #: Where to write what beside it: row (0 is the centre of the lowest) and text.
    rows: Sequence[tuple[float, str]] = ()
    over: Sequence[Over] = ()
    name: str = ""
    unit: str = ""
    height: float = 1.0


@dataclass(frozen=True)
class Target:
    """A value to compare with, drawn as a line across."""

    value: float
    label: str


@dataclass(frozen=True)
class Curve:
    """Values over time; NaN or None where there is none.

    With `notes` the values are hertz, the axis counts semitones and its ticks
    are note names.
    """

    times: Times
    values: Sequence[float | None] | NDArray[Any]
    targets: Sequence[Target] = ()
    notes: bool = False
    #: What the axis shows at least; None leaves it to the values.
    low: float | None = None
    high: float | None = None
    over: Sequence[Over] = ()
    name: str = ""
    unit: str = ""
    height: float = 1.0


@dataclass(frozen=True)
class Roll:
    """Notes as bars at their pitch: a piano roll. All sequences have one entry per note."""

    #: Seconds.
    starts: Times
    ends: Times
    #: MIDI note numbers.
    pitches: Sequence[int] | NDArray[Any]
    #: Who plays it: equal numbers have equal colours.
    players: Sequence[int] | NDArray[Any]
    #: How strong it is, 0 to 1.
    strengths: Sequence[float] | NDArray[Any]
    #: What the players are called, for the legend.
    names: Mapping[int, str] = field(default_factory=dict)
    #: What keys are called instead of their pitch (drums); then only those played have a row.
    keys: Mapping[int, str] | None = None
    name: str = ""
    height: float = 1.0


Lane = Wave | Marks | Spans | Heat | Curve | Roll


@dataclass(frozen=True)
class Plot:
    """One picture."""

    title: str
    #: Seconds that the time axis shows.
    duration: float
    lanes: Sequence[Lane]
    #: A small table in the head; a None is left out.
    facts: Mapping[str, str | float | None] = field(default_factory=dict)


def draw(plot: Plot, format: Format = "svg") -> Svg | Png:
    """The picture; the same plot gives the same bytes."""
    from handlers.pictures import drawing

    if format == "png":
        return Png(drawing.png(plot, "light"))
    return Svg(drawing.svg(plot))


class Drawn(Params):
    """Parameters of a report that can be drawn."""

    plot: bool = Field(False, description="Draw the report as a picture, too.")
    plot_format: Format = Field(
        "svg", description="Kind of picture: SVG follows a page's light or dark scheme."
    )

    def drawing(self, plot: Callable[[], Plot]) -> Svg | Png | None:
        """The picture if it is wanted; `plot` is only called then."""
        return draw(plot(), self.plot_format) if self.plot else None
