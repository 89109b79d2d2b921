"""A picture of the waveform."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from handlers.artifacts import Blocks, Png, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter
from handlers.pictures.colors import Rgb, color
from handlers.pictures.columns import Columns
from handlers.pictures.png import palette_png
from handlers.units import Pixels

_BACKGROUND = "#0f1216"
#: Brightness of the peaks, of the line at zero; the body (RMS) has 1.
_PEAKS, _ZERO = 0.6, 0.3
#: Steps from background to full colour.
_SHADES = 128
#: Share of a lane's height that full scale takes.
_FULL_SCALE = 0.94
#: Below this height channels are not drawn one above the other, but as one.
_LEAST_LANE = 32
#: Rows drawn at a time: bounds the memory of the largest picture.
_ROWS = 64


def _is_color(text: str) -> str:
    if text == "transparent":
        return text
    try:
        color(text)
    except BadParameter as wrong:
        raise ValueError(wrong.detail) from None
    return text


def _is_opaque(text: str) -> str:
    if text == "transparent":
        raise ValueError("the wave itself cannot be transparent")
    return text


class Waveform(Params):
    """Size and colour of the picture."""

    width: Pixels = Field(1280, ge=64, le=8192, description="Width of the picture.")
    height: Pixels = Field(720, ge=64, le=8192, description="Height of the picture.")
    color: Annotated[str, AfterValidator(_is_color), AfterValidator(_is_opaque)] = Field(
        "lime", description="Colour of the wave: a CSS colour name or #RRGGBB."
    )
    background: Annotated[str, AfterValidator(_is_color)] = Field(
        _BACKGROUND,
        description="What lies behind it: a colour, or `transparent` for pages of any colour.",
    )


class WaveformPicture(Result):
    """The picture."""

    picture: Png
    mode: Literal["waveform"] = "waveform"


@operation(
    route="/v1/audio/visualize/image/waveform",
    category="visualize",
    tool="visualize",
    examples=[
        Example("For a web page.", width=1200, height=200, color="#4aa3ff"),
        Example("As it comes."),
        Example("For light and dark pages alike.", color="#2f7fd1", background="transparent"),
    ],
)
def waveform(sound: Blocks, p: Waveform) -> WaveformPicture:
    """Draw the waveform: peaks, and the RMS level as a brighter body inside them.

    The picture has exactly the size asked for and shows the whole sound; full
    scale nearly fills the height. Channels are drawn one above the other
    where each gets 32 pixels or more, else as one.
    """
    columns = Columns(sound, p.width)
    if p.height < _LEAST_LANE * sound.channels:
        columns.merged()
    pixels = _drawn(columns, p.height)
    wave = color(p.color)
    opacity: list[int] = []
    if p.background == "transparent":
        colors = [wave] * _SHADES
        opacity = np.linspace(0, 255, _SHADES).round().astype(int).tolist()
    else:
        colors = _mixed(color(p.background, field="background"), wave)
    return WaveformPicture(picture=Png(palette_png(pixels, colors, opacity=opacity)))


def _mixed(ground: Rgb, wave: Rgb) -> list[Rgb]:
    """Steps from the one to the other."""
    red, green, blue = (
        np.linspace(dark, bright, _SHADES).round().astype(int).tolist()
        for dark, bright in zip(ground, wave, strict=True)
    )
    return list(zip(red, green, blue, strict=True))


def _drawn(columns: Columns, height: int) -> NDArray[np.uint8]:
    """Shades `(height, width)`, lane by lane from the top."""
    lanes, width = columns.low.shape
    bright = np.float32(1 if columns.line else _PEAKS)
    pixels = np.empty((height, width), np.uint8)
    edges = [round(lane * height / lanes) for lane in range(lanes + 1)]
    for lane, (top, end) in enumerate(pairwise(edges)):
        middle = (top + end) / 2
        scale = np.float32((end - top) / 2 * _FULL_SCALE)
        # Rows count downwards.
        peaks = _bar(middle - columns.high[lane] * scale, middle - columns.low[lane] * scale)
        body = columns.rms[lane] * scale
        for row in range(top, end, _ROWS):
            rows = np.arange(row, min(row + _ROWS, end), dtype=np.float32)[:, None]
            outer = _coverage(rows, *peaks)
            inner = np.minimum(_coverage(rows, middle - body, middle + body), outer)
            zero = _coverage(rows, middle - 0.5, middle + 0.5)
            shade = np.maximum(outer * bright, zero * np.float32(_ZERO))
            shade += (1 - shade) * inner
            pixels[row : row + rows.size] = np.rint(shade * np.float32(_SHADES - 1))
    return pixels


def _bar(top: Samples, bottom: Samples) -> tuple[Samples, Samples]:
    """The same stretch, at least one pixel long, so that a line is a line."""
    short = np.maximum(1 - (bottom - top), 0) / 2
    return top - short, bottom + short


def _coverage(rows: Samples, top: Samples | float, bottom: Samples | float) -> Samples:
    """How much of each pixel lies between `top` and `bottom`: `(rows, columns)`, 0 to 1."""
    covered: Samples = np.minimum(rows + 1, bottom) - np.maximum(rows, top)
    return np.clip(covered, 0, 1).astype(np.float32, copy=False)
