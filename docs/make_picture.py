"""Makes docs/before-after.png: the example podcast before and after its folder.

Both halves are drawn by our own waveform operation, at the same scale, one
below the other. Run it when the example's rules or its sound change:

    python docs/make_picture.py OUT_OF_THE_PODCAST_FOLDER.mp3
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEFORE = ROOT / "inbox_examples" / "podcast-episode" / "hum.flac"


def main() -> int:
    """Draw both and put them together."""
    audiolla = Path(sys.executable).with_name("audiolla")
    with tempfile.TemporaryDirectory() as folder:
        halves = []
        for sound, color in ((BEFORE, "#8b949e"), (Path(sys.argv[1]), "#3b82f6")):
            halves.append(Path(folder) / f"{color.removeprefix('#')}.png")
            size = ["--width", "1000", "--height", "150", "--color", color]
            drawn = [audiolla, "op", "waveform", sound, *size, "-o", halves[-1]]
            subprocess.run(drawn, check=True)
        stacked = ["-filter_complex", "vstack", "-update", "1", ROOT / "docs" / "before-after.png"]
        inputs = [word for half in halves for word in ("-i", half)]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, *stacked], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
