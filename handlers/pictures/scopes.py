"""Moving pictures of sound, by FFmpeg's filters.

What a graph is told is made here, from numbers and from words of this file;
no text of a user's ever becomes part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from handlers.artifacts import Samples
from handlers.codecs.av_writer import LAYOUTS

Mode = Literal[
    "spectrum", "waves", "cqt", "freqs", "volume", "vectorscope", "phasemeter", "histogram"
]

#: Hertz of the sound that pictures are made from, about; more shows nothing that can be heard.
_RATE = 48000
#: Seconds that a moment takes to cross the scrolling spectrum, at most and about.
_ACROSS = 15
#: Samples that go through the graph at a time: bounds the pictures that wait in it.
_PIECE = 2048
#: Seconds of silence after the end, for filters that look ahead.
_AHEAD = 1.0


@dataclass(frozen=True)
class View:
    """What a scope shows: pixels, pictures per second, and the sound that it is given."""

    width: int
    height: int
    fps: int
    rate: int
    channels: int

    @property
    def hop(self) -> int:
        """Samples of one picture."""
        return self.rate // self.fps

    @property
    def size(self) -> str:
        """As filters are told."""
        return f"{self.width}x{self.height}"


def picture_rate(rate: int, fps: int) -> int:
    """The rate near that of the sound, or 48 kHz, at which each picture has as many samples.

    Some filters round that number; over hours, pictures would run away from the sound.
    """
    return fps * max(1, round(min(rate, _RATE) / fps))


def _colors(channels: int) -> str:
    """Blue and orange in turns, which add up to white where they overlap."""
    return "|".join(["0x2E7BD6", "0xD18429"] * (channels // 2 + 1))


def _overlap(view: View, window: int, per_picture: int = 1) -> str:
    """Such that windows follow one another so many times per picture, or more often."""
    return f"{max(0.0, 1 - (view.hop // per_picture + 0.5) / window):.9f}"


def _spectrum(view: View) -> dict[str, str]:
    # The window is the filter's own choice; the overlap decides how fast it scrolls.
    window = 2 * view.height
    columns = max(1, round(view.width / (_ACROSS * view.fps)))
    return {
        "size": view.size,
        "fps": str(view.fps),
        "overlap": _overlap(view, window, columns),
        "slide": "scroll",
        "mode": "combined",
        "color": "intensity",
        "fscale": "log",
        "scale": "log",
        "drange": "90",
        "win_func": "hann",
    }


def _waves(view: View) -> dict[str, str]:
    return {
        "size": view.size,
        "rate": str(view.fps),
        "mode": "p2p",
        "draw": "full",
        "scale": "lin",
        "split_channels": "1",
        "colors": _colors(view.channels),
    }


def _cqt(view: View) -> dict[str, str]:
    return {"size": view.size, "rate": str(view.fps)}


def _freqs(view: View) -> dict[str, str]:
    window = 4096
    return {
        "size": view.size,
        "rate": str(view.fps),
        "mode": "bar",
        "ascale": "log",
        "fscale": "log",
        "win_size": str(window),
        "win_func": "hann",
        "overlap": _overlap(view, window),
        "averaging": "2",
        "colors": _colors(view.channels),
    }


def _volume(view: View) -> dict[str, str]:
    # One bar per channel, and a line between; `scale` brings it to the exact size.
    return {
        "w": str(max(view.width, 80)),
        "h": str(min(max(view.height // view.channels - 1, 1), 900)),
        "b": "1",
        "rate": str(view.fps),
        "f": "0.9",
        "dm": "1",
        "ds": "log",
    }


def _vectorscope(view: View) -> dict[str, str]:
    return {
        "size": view.size,
        "rate": str(view.fps),
        "mode": "lissajous",
        "draw": "line",
        "scale": "sqrt",
    }


def _phasemeter(view: View) -> dict[str, str]:
    return {"size": view.size, "rate": str(view.fps), "mpc": "white"}


def _histogram(view: View) -> dict[str, str]:
    return {"size": view.size, "rate": str(view.fps), "dmode": "separate", "scale": "log"}


_FILTERS: Mapping[Mode, tuple[str, Callable[[View], dict[str, str]]]] = {
    "spectrum": ("showspectrum", _spectrum),
    "waves": ("showwaves", _waves),
    "cqt": ("showcqt", _cqt),
    "freqs": ("showfreqs", _freqs),
    "volume": ("showvolume", _volume),
    "vectorscope": ("avectorscope", _vectorscope),
    "phasemeter": ("aphasemeter", _phasemeter),
    "histogram": ("ahistogram", _histogram),
}


class Scope:
    """Sound in, pictures out: exactly one per period, in the pixel format `yuv420p`."""

    def __init__(self, mode: Mode, width: int, height: int, fps: int, rate: int, channels: int):
        """For pictures of `width` x `height` of a sound at `rate`."""
        # Not every filter draws odd sizes: what is too much is cut off.
        wide, high = width + width % 2, height + height % 2
        self._view = View(wide, high, fps, picture_rate(rate, fps), channels)
        self._stream: Any = None
        if self._view.rate != rate:
            import soxr

            self._stream = soxr.ResampleStream(
                rate, self._view.rate, channels, dtype="float32", quality="HQ"
            )
        self._counted = mode == "waves"
        self._build(mode, width, height)
        self._taken = 0
        #: Pictures that came from the graph, the latest, and how many periods are shown.
        self._come = self._shown = 0
        self._latest: Any = None

    def add(self, block: Samples) -> Iterator[Any]:
        """What can be shown after this block."""
        if self._stream is not None:
            block = self._stream.resample_chunk(np.ascontiguousarray(block.T)).T
        yield from self._through(block)

    def end(self, seconds: float) -> Iterator[Any]:
        """The rest of the pictures of a sound of that length; at least one in all."""
        pictures = max(1, round(seconds * self._view.fps))
        for picture in self._rest():
            if self._shown > pictures:
                return
            yield picture
        while self._shown < pictures:
            yield self._show()

    def _rest(self) -> Iterator[Any]:
        channels, rate = self._view.channels, self._view.rate
        if self._stream is not None:
            last = self._stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
            yield from self._through(last.T)
        silence = np.zeros((channels, _PIECE), np.float32)
        for _ in range(round(max(_AHEAD * rate, 2 * self._view.hop) / _PIECE) + 1):
            yield from self._through(silence)

    def _build(self, mode: Mode, width: int, height: int) -> None:
        import av.filter

        view = self._view
        name, options = _FILTERS[mode]
        graph: Any = av.filter.Graph()
        self._source = graph.add_abuffer(
            format="flt",
            sample_rate=view.rate,
            layout=LAYOUTS[view.channels],
            time_base=Fraction(1, view.rate),
        )
        drawn = graph.add(name, **options(view))
        # Players take high definition for BT.709; what is not labelled is guessed.
        sized = graph.add(
            "scale",
            w=str(view.width),
            h=str(view.height),
            out_color_matrix="bt709",
            out_range="tv",
        )
        cut = graph.add("crop", w=str(width), h=str(height), x="0", y="0", exact="1")
        planar = graph.add("format", pix_fmts="yuv420p")
        self._sink = graph.add("buffersink")
        self._source.link_to(drawn)
        # The phase meter passes its sound on, beside the picture; nobody wants it.
        self._unheard = graph.add("abuffersink") if mode == "phasemeter" else None
        if self._unheard is not None:
            drawn.link_to(self._unheard, 0, 0)
        drawn.link_to(sized, int(self._unheard is not None), 0)
        sized.link_to(cut)
        cut.link_to(planar)
        planar.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def _through(self, block: Samples) -> Iterator[Any]:
        import av

        for at in range(0, block.shape[1], _PIECE):
            piece = np.ascontiguousarray(block[:, at : at + _PIECE].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                piece, format="flt", layout=LAYOUTS[self._view.channels]
            )
            frame.sample_rate = self._view.rate
            frame.time_base = Fraction(1, self._view.rate)
            frame.pts = self._taken
            self._taken += frame.samples
            self._source.push(frame)
            while self._pull(self._unheard) is not None:
                pass
            while (picture := self._pull(self._sink)) is not None:
                yield from self._until(picture)

    @staticmethod
    def _pull(sink: Any) -> Any:
        if sink is None:
            return None
        try:
            return sink.pull()
        except BlockingIOError:
            return None

    def _until(self, picture: Any) -> Iterator[Any]:
        """Show what was before this picture for as long as it lasts, then keep this one."""
        begins = picture.pts * picture.time_base * self._view.fps
        if self._counted:
            # The time that `showwaves` writes depends on the channels; its count does not.
            begins = Fraction(self._come - 1)
        self._come += 1
        if self._latest is None:
            self._latest = picture
        while self._shown < round(begins):
            yield self._show()
        self._latest = picture

    def _show(self) -> Any:
        picture = self._latest
        picture.pts = self._shown
        picture.time_base = Fraction(1, self._view.fps)
        self._shown += 1
        return picture
