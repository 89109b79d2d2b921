"""A picture of the spectrum over time."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from handlers.artifacts import Blocks, Png, Result
from handlers.declare import Example, Params, operation
from handlers.pictures.legend import SHADES, Lane, framed, greys
from handlers.pictures.maps import MapName, channel_colors, color_map
from handlers.pictures.png import palette_png, rgb_png
from handlers.pictures.scales import FrequencyScale, Intensity, IntensityScale, Rows
from handlers.pictures.spectra import Power, column_spectra
from handlers.units import Decibels, Pixels

#: Bounds of the FFT, in samples.
_SHORTEST, _LONGEST = 256, 16384
#: Seconds that a window lasts at least: a linear axis, and one that shows the bass closer.
_WINDOW, _BASS_WINDOW = 0.04, 0.085
#: Below this height channels are not drawn one above the other, but as one.
_LEAST_LANE = 32


class Spectrogram(Params):
    """Size, colours and scales of the picture."""

    width: Pixels = Field(
        1280, ge=64, le=8192, description="Width of the plot; a legend adds its margins."
    )
    height: Pixels = Field(
        720, ge=64, le=8192, description="Height of the plot; a legend adds its margins."
    )
    color: Literal["channel", MapName] = Field(
        "intensity", description="Colour map; `channel` gives each channel a colour of its own."
    )
    scale: IntensityScale = Field(
        "log", description="How bright a level is: decibels, amplitude, or a root of it."
    )
    dynamic_range: Decibels = Field(
        120, ge=10, le=200, description="From darkest to brightest, on the log scale."
    )
    frequency_scale: FrequencyScale = Field("lin", description="What the height stands for.")
    channels: Literal["combined", "separate"] = Field(
        "combined", description="All channels in one, or one above the other."
    )
    legend: bool = Field(True, description="Axes and a scale around the plot.")


class SpectrogramPicture(Result):
    """The picture."""

    picture: Png
    mode: Literal["spectrogram"] = "spectrogram"


@operation(
    route="/v1/audio/visualize/image/spectrogram",
    category="visualize",
    tool="visualize",
    engines=["ffmpeg-render"],
    examples=[
        Example("As it comes."),
        Example(
            "Both channels of a song, bass in detail, for a page of one's own.",
            width=1600,
            height=800,
            color="magma",
            frequency_scale="log",
            dynamic_range=90,
            channels="separate",
            legend=False,
        ),
    ],
)
def spectrogram(sound: Blocks, p: Spectrogram) -> SpectrogramPicture:
    """Draw the spectrum over time: time to the right, frequency upwards, level as colour.

    Every sample counts, however long the sound: a column shows the mean power
    of all spectra under it. A sine at full scale is drawn at full scale.
    Channels are combined by their mean power, or drawn one above the other
    where each gets 32 pixels or more.
    """
    drawing = _Drawing(sound, p)
    at = 0
    for power in column_spectra(sound, p.width, drawing.size, together=drawing.together):
        drawing.add(at, power)
        at += power.shape[1]
    return SpectrogramPicture(picture=Png(drawing.png()))


class _Drawing:
    """The pixels, column by column."""

    def __init__(self, sound: Blocks, p: Spectrogram) -> None:
        self._params, self._duration = p, sound.duration
        separate = p.channels == "separate" and p.height >= _LEAST_LANE * sound.channels
        lanes = sound.channels if separate else 1
        edges = [round(lane * p.height / lanes) for lane in range(lanes + 1)]
        shortest = (_WINDOW if p.frequency_scale == "lin" else _BASS_WINDOW) * sound.rate
        #: Samples of a window: as many bins as rows, and long enough to part the tones of music.
        self.size = _power_of_two(max(2 * p.height / lanes, shortest))
        self._lanes = [
            (top, Rows(p.frequency_scale, end - top, sound.rate, self.size))
            for top, end in pairwise(edges)
        ]
        self._edges = edges
        self._intensity = Intensity(p.scale, p.dynamic_range)
        self._colors: NDArray[np.float32] | None = None
        shape: tuple[int, ...] = (p.height, p.width)
        if p.color == "channel":
            self._colors = np.array(channel_colors(sound.channels), np.float32)
            shape = (*shape, 3)
        self._pixels = np.zeros(shape, np.uint8)
        #: True when one lane shows the mean of all channels.
        self.together = lanes == 1 and self._colors is None

    def add(self, at: int, power: Power) -> None:
        """Further columns, from `at` on."""
        here = slice(at, at + power.shape[1])
        for lane, ((top, rows), end) in enumerate(zip(self._lanes, self._edges[1:], strict=True)):
            separate = len(self._lanes) > 1
            shown = power[lane : lane + 1] if separate else power
            if self._colors is None:
                shades = self._shades(rows, shown)[0]
                levels = np.rint(shades * np.float32(SHADES - 1))
            else:
                colors = self._colors[lane : lane + 1] if separate else self._colors
                levels = np.einsum("ckr,cx->rkx", self._shades(rows, shown), colors)
                levels = np.rint(np.minimum(levels, 255)).swapaxes(0, 1)
            # Row 0 of the picture is its top, the highest frequency.
            self._pixels[top:end, here] = levels.swapaxes(0, 1)[::-1]

    def png(self) -> bytes:
        """The file."""
        pixels = self._pixels
        if self._params.legend:
            unit = "dBFS"
            lanes = [
                Lane(top, end - top, rows.ticks(22 / (end - top)), name)
                for (top, rows), end, name in zip(
                    self._lanes, self._edges[1:], self._names(), strict=True
                )
            ]
            scale = self._intensity.ticks(20 / self._params.height)
            pixels = framed(pixels, lanes, self._duration, scale, unit)
        if self._params.color == "channel":
            return rgb_png(pixels)
        colors = color_map(self._params.color, SHADES).tolist()
        return palette_png(pixels, [*map(tuple, colors), *greys()], noisy=True)

    def _shades(self, rows: Rows, power: Power) -> NDArray[np.float32]:
        return self._intensity.shade(rows.gathered(power))

    def _names(self) -> list[str]:
        if len(self._lanes) == 1:
            return [""]
        if len(self._lanes) == 2:
            return ["L", "R"]
        return [str(number + 1) for number in range(len(self._lanes))]


def _power_of_two(least: float) -> int:
    size = _SHORTEST
    while size < min(least, _LONGEST):
        size *= 2
    return size
