"""Colour maps, from quiet to loud."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handlers.pictures.colors import Rgb

MapName = Literal[
    "intensity",
    "moreland",
    "nebulae",
    "fire",
    "fiery",
    "fruit",
    "cool",
    "magma",
    "green",
    "viridis",
    "plasma",
    "cividis",
    "terrain",
    "rainbow",
]

# Per cent of the way, and colour; straight lines between. magma, viridis and plasma are those
# of van der Walt and Smith, cividis that of Nunez, Anderton and Renslow (2018), all in the
# public domain; the others look as in FFmpeg's spectrum filters, where the names come from.
_POINTS = """
intensity 0:000000 13.3:00014e 29.9:6b017d 59.9:ee0000 73:fe9c00 78.3:fecb00 90.8:fdff91 100:fefffb
moreland 0:142688 13.1:5e7ed3 24.5:86a4e0 39.5:bdcbd8 60.3:d9c4b3 72.8:e2a183 86.5:d26953
 100:ac132f
nebulae 0:0e0613 25.6:171324 45.8:2a1e2c 56.9:402b34 67.3:965551 75.9:c5564d 87.1:de6960 100:fefefc
fire 0:000000 23.1:292c31 45:4c3a26 55.6:664220 67.1:92511b 77.1:b9711c 87.3:d2a041 100:fefffa
fiery 0:000000 21.9:4f0f0d 45:970a03 57.9:d45825 66.7:e58a2f 77.1:e4cc22 87.5:e4e3ad 100:fefffd
fruit 0:000000 20.7:0e262a 29.9:045a29 40.3:178112 49.7:4f980b 60.1:aea50a 69.7:ffb246 71:ffaf49
 100:e3310b
cool 0:000000 15.1:0030e1 40.1:0060a7 75.5:ffa254 100:ffd11c
magma 0:000004 3:03030f 10.8:160f3b 15.2:251255 16.8:2d1161 18.8:36106b 21.2:400f74 25:51127c
 35.2:792282 43.2:992d80 52.2:bf3a77 60.4:df4a68 65.6:ee5b5e 67.2:f2645c 71.4:f8765c 75.2:fc8961
 80.8:fea36f 84.4:feb67c 87.8:fec488 100:fcfdbf
green 0:000000 75:00db7d 79.5:00e394 100:fcfffd
viridis 0:440154 5.2:481467 11.8:472a7a 17.2:443b84 22.8:3e4c8a 31.8:32648e 51.6:1f948c 55.4:1e9d89
 60:22a884 66:32b67a 74.6:5ac864 82.8:8bd646 86.2:a2da37 89.2:b8de29 91:c2df23 93.8:d8e219
 96.4:e7e419 100:fde725
plasma 0:0d0887 2.8:20068f 12.2:4b03a1 17.6:6100a7 21.8:7100a8 25.6:8004a8 31.6:9511a1 35.8:a31e9a
 43:ba3388 50:cc4778 67.6:ef7c51 79:fca338 87.6:fdc527 91.2:fbd324 98.4:f2f227 100:f0f921
cividis 0:00224e 3:002859 6.8:002e6c 9.2:013271 11:123570 13.8:203a6f 20.8:38476c 36.2:5e626e
 49:7a7a78 59.6:938e78 71:b0a571 82.8:d0be62 91.4:e8d24f 96.4:f7de3e 98.2:fde334 100:fee838
terrain 0:000000 15.1:0000e1 19.6:0500cc 46:32ff58 60.3:4dff1c 72.6:feff1c 78.7:ffff1c 85.3:ffd11c
 100:fffffa
rainbow 0:000000 12.7:370f93 25:0f1182 38:0d95e9 60.1:0db40c 73.2:e8e409 85.9:ea6635 100:d0100d
"""


def color_map(name: MapName, shades: int) -> NDArray[np.uint8]:
    """`shades` colours `(shades, 3)`, the first for silence, the last for full scale."""
    found = re.search(rf"^{name}((?:\s+[\d.]+:[0-9a-f]{{6}})+)", _POINTS, re.M)
    assert found, name
    points = re.findall(r"([\d.]+):([0-9a-f]{6})", found[1])
    at = [float(percent) / 100 for percent, _ in points]
    colors = np.array([tuple(bytes.fromhex(number)) for _, number in points])
    wanted = np.linspace(0, 1, shades)
    parts = [np.interp(wanted, at, colors[:, part]) for part in range(3)]
    mapped: NDArray[np.uint8] = np.rint(np.stack(parts, axis=1)).astype(np.uint8)
    return mapped


def channel_colors(channels: int) -> list[Rgb]:
    """A colour for each channel; of channels alike they add up to white or nearly so."""
    if channels == 1:
        return [(255, 255, 255)]
    turns = (np.arange(channels) / channels + 0.55)[:, None] + np.array([0, -1 / 3, 1 / 3])
    # Cosines of three phases add up to nothing over equally spaced hues.
    parts = np.clip(0.5 + 0.5 * np.cos(2 * np.pi * turns), 0, 1) * 510 / channels
    bright = np.clip(parts * max(1.0, channels / 2), 0, 255)
    return [(int(r), int(g), int(b)) for r, g, b in np.rint(bright)]
