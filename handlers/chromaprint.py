"""Acoustic fingerprints of sound in memory, equal to those that `fpcalc` prints for a file.

`fpcalc` has FFmpeg bring a sound to mono, 11,025 Hz and 16 bits, and what
reaches the edge of one of Chromaprint's thresholds depends on how that is
done. So it is done here by the same resampler with the same settings; feeding
Chromaprint the sound as it is flips up to one bit in fifty.

Chromaprint is a shared library of the system: no Python package carries it.

Sources: Lukas Lalinsky, "How does Chromaprint work?" (2011); chromaprint.h 1.5;
fpcalc's FFmpeg reader.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.errors import CannotProcess, UnknownEngine

RATE = 11025
"""Samples per second that Chromaprint works at."""
_NO_END = 2.0**53
"""Samples beyond which no sound goes, and floats are whole numbers no more."""

INSTALL = "apt-get install libchromaprint1"
"""How the library comes to a Debian system."""

#: What FFmpeg takes so many channels for where the file does not say.
_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
_RESAMPLER = (
    f"osr={RATE}:ochl=mono:osf=s16:filter_size=16:phase_shift=8:linear_interp=1:cutoff=0.8:tsf="
)
_LIBRARIES = ("libchromaprint.so.1", "libchromaprint.1.dylib", "libchromaprint.dylib")


@dataclass(frozen=True)
class Print:
    """A fingerprint: 32 bits for every eighth of a second, and the text AcoustID takes."""

    raw: NDArray[np.uint32]
    text: str


class Fingerprinter:
    """Takes a sound in piece by piece and makes its fingerprint."""

    def __init__(
        self, rate: int, channels: int, *, small: bool = False, seconds: float = 0.0
    ) -> None:
        """A fingerprint of the first `seconds` (0: of everything).

        Args:
            rate: in Hz.
            channels: up to 8 are mixed as speakers in WAVE order, more as equals.
            small: the sound has 8 or 16 bits. FFmpeg then computes in integers,
                and a fingerprint that equals `fpcalc`'s must do the same.
            seconds: where to stop.

        Raises:
            UnknownEngine: Chromaprint is not installed; the hint installs it.
        """
        self._library = _library()
        self._small = small
        self._mixed = channels > len(_LAYOUTS)
        whole = not seconds or seconds * RATE > _NO_END
        self._left = None if whole else int(seconds * RATE)
        self._begin_resampling(rate, 1 if self._mixed else channels)
        self._context = ctypes.c_void_p(self._library.chromaprint_new(1))
        self._library.chromaprint_start(self._context, RATE, 1)

    def __del__(self) -> None:
        if context := getattr(self, "_context", None):
            self._library.chromaprint_free(context)

    @property
    def full(self) -> bool:
        """True when all that counts has been taken in."""
        return self._left == 0

    def add(self, block: Samples) -> None:
        """The next frames, `(channels, n)`."""
        import av

        if self._mixed:
            block = block.mean(axis=0, keepdims=True)
        data: Any = np.ascontiguousarray(block)
        if self._small:
            scaled = data * np.float32(32768)
            np.rint(scaled, out=scaled)
            data = np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16)
        if not self._planar:
            data = data.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(data, format=self._format, layout=self._layout)
        frame.sample_rate = self._rate
        self._put(frame)
        self._feed()

    def done(self) -> Print:
        """The fingerprint of what was added.

        Raises:
            CannotProcess: that was too little for any.
        """
        self._put(None)
        self._feed()
        library, context = self._library, self._context
        library.chromaprint_finish(context)
        values, count = ctypes.POINTER(ctypes.c_uint32)(), ctypes.c_int()
        library.chromaprint_get_raw_fingerprint(context, ctypes.byref(values), ctypes.byref(count))
        try:
            raw = np.array(values[: count.value], np.uint32)
        finally:
            library.chromaprint_dealloc(values)
        if not raw.size:
            raise CannotProcess("the sound is too short for a fingerprint, which needs about 3 s")
        text = ctypes.c_char_p()
        library.chromaprint_get_fingerprint(context, ctypes.byref(text))
        try:
            return Print(raw, (text.value or b"").decode())
        finally:
            library.chromaprint_dealloc(text)

    def _begin_resampling(self, rate: int, channels: int) -> None:
        from av.filter import Graph

        self._rate, self._layout = rate, _LAYOUTS[channels - 1]
        # Planes need no interleaving, but PyAV loses count of eight of them.
        self._planar = channels < 8
        inner = "s16p" if self._small else "fltp"
        self._format = inner if self._planar else inner.removesuffix("p")
        graph = Graph()
        source = graph.add_abuffer(
            sample_rate=rate,
            format=self._format,
            layout=self._layout,
            time_base=Fraction(1, rate),
        )
        self._out: Any = graph.add("abuffersink")
        resampler = graph.add("aresample", _RESAMPLER + inner)
        source.link_to(resampler)
        resampler.link_to(self._out)
        graph.configure()
        self._graph = graph  # its parts do not keep it alive
        self._put: Callable[[Any], None] = source.push

    def _resampled(self) -> Iterator[NDArray[np.int16]]:
        import av

        while True:
            try:
                yield self._out.pull().to_ndarray().ravel()
            except (av.BlockingIOError, av.EOFError):
                return

    def _feed(self) -> None:
        for ready in self._resampled():
            samples = ready if self._left is None else ready[: self._left]
            if self._left is not None:
                self._left -= samples.size
            if samples.size:
                self._library.chromaprint_feed(self._context, samples.ctypes.data, samples.size)


def installed() -> bool:
    """Whether the system has the library."""
    try:
        _library()
    except UnknownEngine:
        return False
    return True


@cache
def _library() -> Any:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        handle, whole = ctypes.c_void_p, ctypes.c_int
        library.chromaprint_new.restype = handle
        # Without these, a 64-bit pointer would be passed as an int.
        for function, arguments in {
            "new": [whole],
            "free": [handle],
            "start": [handle, whole, whole],
            "feed": [handle, handle, whole],
            "finish": [handle],
            "get_fingerprint": [handle, handle],
            "get_raw_fingerprint": [handle, handle, handle],
            "dealloc": [handle],
        }.items():
            getattr(library, f"chromaprint_{function}").argtypes = arguments
        return library
    raise UnknownEngine(
        f"fingerprints need Chromaprint, a library of the system that is not installed: {INSTALL}",
        hint=INSTALL,
    )
