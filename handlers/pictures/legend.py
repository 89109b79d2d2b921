"""Axes and a scale around a picture of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handlers.pictures.colors import Rgb
from handlers.pictures.times import time_ticks

LEFT, TOP, RIGHT, BOTTOM = 58, 26, 74, 32
"""Pixels that a legend adds on each side."""

SHADES = 224
"""Indices of a picture with a palette that stand for levels; those above are greys for text."""

_GROUND: Rgb = (15, 18, 22)
_INK: Rgb = (214, 221, 230)
_GREYS = 256 - SHADES
_BAR = 14
_FONT_SIZE = 12
_NOTCH = 4

Tick = tuple[float, str]
"""Where, from 0 to 1 upwards or to the right, and what it says."""


@dataclass(frozen=True)
class Lane:
    """A stretch of rows with an axis of its own."""

    top: int
    height: int
    ticks: Sequence[Tick]
    name: str = ""


def greys() -> list[Rgb]:
    """The end of the palette: from the ground to the ink."""
    mixed = np.linspace(_GROUND, _INK, _GREYS)
    return [(int(r), int(g), int(b)) for r, g, b in np.rint(mixed)]


def framed(
    picture: NDArray[np.uint8],
    lanes: Sequence[Lane],
    duration: float,
    scale: Sequence[Tick],
    unit: str,
) -> NDArray[np.uint8]:
    """`picture` with frequencies on its left, times below and a scale of levels on its right.

    Args:
        picture: `(height, width)`, indices into a palette that ends with
            `greys()`, or `(height, width, 3)`.
        lanes: what the rows stand for, from the top.
        duration: seconds from its left to its right.
        scale: ticks of the levels, 1 for full scale.
        unit: of the levels.
    """
    height, width = picture.shape[:2]
    page = _Page(picture)
    page.text(LEFT - 8, TOP - 13, "Hz", "right")
    for lane in lanes:
        page.axis(lane)
    # A label takes some 60 pixels, with its distance.
    for at, said in zip(*time_ticks(duration, max(1, width // 80)), strict=True):
        x = LEFT + min(round(at / duration * width), width - 1) if duration else LEFT
        page.grey(TOP + height, x, np.full((_NOTCH, 1), 128, np.uint8))
        page.text(x, TOP + height + 15, said, "middle")
        if not duration:
            break
    left = LEFT + width + 16
    page.bar(left, height)
    page.text(left + _BAR // 2, TOP - 13, unit, "middle")
    for share, said in scale:
        page.text(left + _BAR + 6, TOP + (1 - share) * (height - 1), said, "left")
    return page.pixels


class _Page:
    """The picture with room around it."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        from PIL import ImageFont

        height, width, *depth = picture.shape
        size = (height + TOP + BOTTOM, width + LEFT + RIGHT, *depth)
        self._indexed = not depth
        self.pixels = np.full(size, SHADES, np.uint8)
        if depth:
            self.pixels[:] = _GROUND
        self.pixels[TOP : TOP + height, LEFT : LEFT + width] = picture
        self._font: Any = ImageFont.load_default(_FONT_SIZE)

    def grey(self, y: int, x: int, strength: NDArray[np.uint8]) -> None:
        """Paint `strength` (0 to 255) of the ink; what lies beyond the page is left out."""
        top, left = max(0, -y), max(0, -x)
        there = self.pixels[max(y, 0) : y + strength.shape[0], max(x, 0) : x + strength.shape[1]]
        strength = strength[top : top + there.shape[0], left : left + there.shape[1]]
        shade = np.rint(strength / 255 * (_GREYS - 1)).astype(np.uint8)
        if self._indexed:
            np.maximum(there, SHADES + shade, out=there)
        else:
            np.maximum(there, np.array(greys(), np.uint8)[shade], out=there)

    def text(self, x: float, y: float, text: str, side: Literal["left", "middle", "right"]) -> None:
        """One line; `x` is where it begins, its middle or its end, `y` the middle of capitals."""
        from PIL import Image, ImageDraw

        width = round(self._font.getlength(text))
        image = Image.new("L", (width + 2, 2 * _FONT_SIZE))
        ImageDraw.Draw(image).text((0, _FONT_SIZE), text, fill=255, font=self._font, anchor="lm")
        begin = x - {"left": 0.0, "middle": width / 2, "right": float(width)}[side]
        # A label at the end of an axis stays on the page.
        begin = min(max(begin, 2), self.pixels.shape[1] - width - 2)
        self.grey(round(y) - _FONT_SIZE, round(begin), np.asarray(image))

    def axis(self, lane: Lane) -> None:
        """Notches and texts on the left of a lane."""
        for at, said in lane.ticks:
            y = TOP + lane.top + (1 - at) * (lane.height - 1)
            self.grey(round(y), LEFT - _NOTCH, np.full((1, _NOTCH), 128, np.uint8))
            self.text(LEFT - 8, y, said, "right")
        if lane.name:
            self.text(LEFT + 6, TOP + lane.top + 11, lane.name, "left")

    def bar(self, left: int, height: int) -> None:
        """Every level, loud above."""
        shades = np.linspace(1, 0, height)[:, None]
        if self._indexed:
            column = np.rint(shades * (SHADES - 1)).astype(np.uint8)
            self.pixels[TOP : TOP + height, left : left + _BAR] = column
        else:
            column = np.rint(shades * 255).astype(np.uint8)
            self.pixels[TOP : TOP + height, left : left + _BAR] = column[..., None]
