"""A video of sound."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from handlers.artifacts import Blocks, Result, Video
from handlers.codecs.decoding import reblocked
from handlers.codecs.resample import resampled
from handlers.declare import Example, Params, Scratch, operation
from handlers.errors import CannotProcess
from handlers.pictures.film import MEDIA_TYPES, Container, Film, sound_rate
from handlers.pictures.scopes import Mode, Scope
from handlers.units import Pixels, Unit

FramesPerSecond = Annotated[int, Unit("fps")]


class VideoParams(Params):
    """What to show, how large and how smooth."""

    mode: Mode = Field(
        description="spectrum: scrolling spectrogram; waves: oscilloscope; cqt: tones and their"
        " history on a keyboard; freqs: level by frequency; volume: meters; vectorscope: stereo"
        " image; phasemeter: correlation of left and right; histogram: how often which level is."
    )
    width: Pixels = Field(
        1280, ge=64, le=3840, description="Width; H.264 needs it even: an odd one becomes one more."
    )
    height: Pixels = Field(
        720, ge=64, le=3840, description="Height; H.264 needs it even: an odd one becomes one more."
    )
    fps: FramesPerSecond = Field(30, ge=1, le=120, description="Pictures per second.")
    container: Container = Field(
        "mp4", description="mp4: H.264 and AAC, plays everywhere; webm: VP9 and Opus."
    )


class SoundVideo(Result):
    """The video, and what it has become."""

    video: Video
    mode: Mode
    container: Container
    width: Pixels
    height: Pixels
    fps: FramesPerSecond


@operation(
    route="/v1/audio/visualize/video/{mode}",
    category="visualize",
    tool="visualize",
    mcp_defaults={"mode": "spectrum"},
    engines=["ffmpeg-render"],
    examples=[
        Example("A scrolling spectrogram for a preview.", mode="spectrum", width=320, height=180),
        Example(
            "A small oscilloscope for a web page.",
            mode="waves",
            width=256,
            height=144,
            fps=25,
            container="webm",
        ),
    ],
)
def video(sound: Blocks, p: VideoParams, scratch: Scratch) -> SoundVideo:
    """Draw a sound as a video with the sound itself: eight kinds of moving pictures.

    The video lasts as long as the sound, to the nearest picture. Its size is
    exactly the one asked for, except that H.264 cannot have odd numbers: they
    become one more, and the result says so. The sound keeps its rate and
    channels as far as AAC (up to 48 kHz) and Opus (48 kHz) have them.

    Raises:
        CannotProcess: the sound has no samples.
    """
    even = p.container == "mp4"
    width, height = (size + (size % 2 if even else 0) for size in (p.width, p.height))
    heard = resampled(sound, sound_rate(p.container, sound.rate))
    with _file(scratch(), p.container) as path:
        film = Film(
            path,
            p.container,
            width=width,
            height=height,
            fps=p.fps,
            rate=heard.rate,
            channels=heard.channels,
        )
        try:
            _shoot(heard, Scope(p.mode, width, height, p.fps, heard.rate, heard.channels), film)
        finally:
            film.close()
    return SoundVideo(
        video=Video(path, p.container, MEDIA_TYPES[p.container]),
        mode=p.mode,
        container=p.container,
        width=width,
        height=height,
        fps=p.fps,
    )


def _shoot(sound: Blocks, scope: Scope, film: Film) -> None:
    frames = 0
    for block in reblocked(iter(sound), sound.channels):
        frames += block.shape[1]
        film.add_sound(block)
        for picture in scope.add(block):
            film.add_picture(picture)
    if not frames:
        raise CannotProcess("a sound without samples has nothing to show")
    for picture in scope.end(frames / sound.rate):
        film.add_picture(picture)
    film.finish()


@contextmanager
def _file(folder: Path, container: Container) -> Iterator[Path]:
    """A new file, which is removed again if it does not become whole."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=f".{container}", delete=False) as file:
        path = Path(file.name)
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise
