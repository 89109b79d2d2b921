"""Colours of drawn reports, by what they stand for, for light and for dark pages.

A picture is drawn with roles ("ink", "wave", "hue3"). As SVG each role becomes
a CSS variable that follows `prefers-color-scheme`; as PNG it is one colour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np

Scheme = Literal["light", "dark"]

HUES = 12
"""Hues for labels; their paler siblings (minor keys) are the roles `pale0` ... `pale11`."""

_PLAIN = """
card     ffffff 10141c
edge     d9dee7 2a3242
lane     f4f6f9 171d28
grid     e1e6ee 252d3c
ink      1b2130 e9edf4
muted    5c677a 9aa6ba
peaks    9dbfe0 39618a
body     3f7fbf 7fb6ea
weak     8a6d4b b59a78
strong   c23c06 ff9a57
curve    0a7181 5fd3e2
target   c22f3f ff8f98
neutral  e3e7ee 2c3444
"""


def hue(index: int, lightness: float, chroma: float) -> str:
    """One of the twelve hues as `#rrggbb`, equally far apart to the eye.

    Source: Ottosson, "A perceptual color space for image processing" (OKLab), 2020.
    """
    angle = 2 * np.pi * (index % HUES) / HUES + 0.35
    a, b = chroma * np.cos(angle), chroma * np.sin(angle)
    long, medium, short = (
        (lightness + row @ np.array([a, b])) ** 3
        for row in np.array(
            [
                [0.3963377774, 0.2158037573],
                [-0.1055613458, -0.0638541728],
                [-0.0894841775, -1.2914855480],
            ]
        )
    )
    linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    ) @ np.array([long, medium, short])
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * part):02x}" for part in encoded.tolist())


def _roles() -> dict[str, tuple[str, str]]:
    roles = {
        name: (f"#{light}", f"#{dark}")
        for name, light, dark in re.findall(r"(\w+) +([0-9a-f]{6}) ([0-9a-f]{6})", _PLAIN)
    }
    for index in range(HUES):
        roles[f"hue{index}"] = (hue(index, 0.83, 0.105), hue(index, 0.47, 0.105))
        roles[f"pale{index}"] = (hue(index, 0.91, 0.065), hue(index, 0.35, 0.06))
    return roles


ROLES: Mapping[str, tuple[str, str]] = _roles()
"""What may be coloured: role to its light and its dark colour."""

_NUMBERS = {name: f"#fe01{index:02x}" for index, name in enumerate(ROLES)}
_NAMES = {number: name for name, number in _NUMBERS.items()}


class Theme:
    """Colours to draw with."""

    def __init__(self, scheme: Scheme | None) -> None:
        """None stands for a picture that shall follow its page: see `styled`."""
        self._scheme = scheme

    def __getitem__(self, role: str) -> str:
        if self._scheme is None:
            return _NUMBERS[role]
        return ROLES[role][self._scheme == "dark"]


def styled(svg: str, title: str) -> str:
    """The finished file of an SVG that was drawn with `Theme(None)`.

    Each colour is written twice, first plain, then as a variable: programs
    that know no CSS variables take the light one.
    """
    used: set[str] = set()

    def colored(found: re.Match[str]) -> str:
        role = _NAMES[found[2]]
        used.add(role)
        return f"{found[1]}: {ROLES[role][0]}; {found[1]}: var(--{role})"

    svg = re.sub(r"(fill|stroke): (#fe01[0-9a-f]{2})", colored, svg)
    # A hundredth of a point is finer than any screen.
    svg = re.sub(
        r'( d| x| y)="([^"]*)"',
        lambda found: f'{found[1]}="' + re.sub(r"(\.\d\d)\d+", r"\1", found[2]) + '"',
        svg,
    )
    names = [role for role in ROLES if role in used]
    light, dark = ("".join(f"--{role}:{ROLES[role][which]};" for role in names) for which in (0, 1))
    style = (
        ".audiolla-plot{color-scheme:light dark;" + light + "}"
        "@media (prefers-color-scheme:dark){.audiolla-plot{" + dark + "}}"
        ".audiolla-plot *{stroke-linejoin:round;stroke-linecap:butt}"
    )
    svg = re.sub(
        r'<style type="text/css">.*?</style>', f"<style>{style}</style>", svg, count=1, flags=re.S
    )
    head = re.search(r"<svg[^>]*>", svg)
    assert head, "not an SVG"
    width, height = re.findall(r' (?:width|height)="([\d.]+)pt"', head[0])
    # 72 points are 96 CSS pixels.
    size = f'width="{float(width) * 96 / 72:g}" height="{float(height) * 96 / 72:g}"'
    box = f'viewBox="0 0 {float(width):g} {float(height):g}"'
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'class="audiolla-plot" role="img" {size} {box} version="1.1">'
        f"<title>{_escaped(title)}</title>"
    )
    body = svg[head.end() :].replace("'DejaVu Sans'", _FONTS)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + root + body


_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def printable(text: str) -> str:
    """The text without characters that XML 1.0 (2.2) has no place for."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
