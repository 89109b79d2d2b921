"""LAME through its own C interface, which the `lameenc` package carries whole.

The package's Python class takes 16-bit integers and cannot switch off that
LAME turns constant bitrates down (by 0.27 dB at 192 kbit/s): a file brought to
-16 LUFS would not be at -16. The C functions take floats, keep the level, and
write the Info frame that makes a file gapless.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

_EFFORT = 5  # LAME's own speed setting: 5 sounds like 2 at twice its speed
_VBR_MTRH = 4
_MONO, _JOINT_STEREO = 3, 1
_TAG_BYTES = 2880  # of the largest frame there is
_Report = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)


class Lame:
    """One MP3 stream."""

    def __init__(
        self, *, rate: int, channels: int, kbps: int | None, vbr_quality: float | None
    ) -> None:
        """Begin a stream.

        Args:
            rate: Hz, one that MP3 has.
            channels: 1 or 2.
            kbps: constant bitrate, or None for a variable one by `vbr_quality`.
            vbr_quality: LAME's scale, 0 is best and 9.999 smallest.

        Raises:
            ValueError: LAME has no such stream.
        """
        self._lib = _library()
        self._channels = channels
        self._quiet = _Report(lambda *_: None)
        self._handle = self._begun(rate, kbps, vbr_quality, 1.0)
        # What the bitrate's preset made of a scale of 1 is undone in a second beginning.
        turned_down = float(self._lib.lame_get_scale(self._handle))
        if turned_down != 1.0:
            self.close()
            self._handle = self._begun(rate, kbps, vbr_quality, 1.0 / turned_down)
        self._out = ctypes.create_string_buffer(1)

    def _begun(
        self, rate: int, kbps: int | None, vbr_quality: float | None, scale: float
    ) -> ctypes.c_void_p:
        handle = ctypes.c_void_p(self._lib.lame_init())
        for report in ("errorf", "msgf", "debugf"):
            getattr(self._lib, f"lame_set_{report}")(handle, self._quiet)
        settings = {
            "in_samplerate": rate,
            "out_samplerate": rate,  # stated, or LAME resamples by itself at low bitrates
            "num_channels": self._channels,
            "mode": _MONO if self._channels == 1 else _JOINT_STEREO,
            "quality": _EFFORT,
            "write_id3tag_automatic": 0,
            "bWriteVbrTag": 1,
            **({"VBR": _VBR_MTRH} if kbps is None else {"brate": kbps}),
        }
        for name, value in settings.items():
            getattr(self._lib, f"lame_set_{name}")(handle, value)
        self._lib.lame_set_scale(handle, ctypes.c_float(scale))
        if kbps is None:
            quality = ctypes.c_float(min(9.999, max(0.0, vbr_quality or 0.0)))
            self._lib.lame_set_VBR_quality(handle, quality)
        if self._lib.lame_init_params(handle) < 0:
            self._lib.lame_close(handle)
            raise ValueError(f"LAME has no stream of {settings}")
        return handle

    def encode(self, interleaved: NDArray[np.float32]) -> bytes:
        """The next bytes of the stream; full scale is 1.0."""
        frames = interleaved.size // self._channels
        self._room(frames * 5 // 4 + 7200)
        pointer = interleaved.ctypes.data_as(ctypes.c_void_p)
        if self._channels == 1:
            wrote = self._lib.lame_encode_buffer_ieee_float(
                self._handle, pointer, pointer, frames, self._out, len(self._out)
            )
        else:
            wrote = self._lib.lame_encode_buffer_interleaved_ieee_float(
                self._handle, pointer, frames, self._out, len(self._out)
            )
        return self._taken(wrote)

    def flush(self) -> bytes:
        """The last bytes of the stream."""
        self._room(7200)
        return self._taken(self._lib.lame_encode_flush(self._handle, self._out, len(self._out)))

    def tag_frame(self) -> bytes:
        """The Info frame that takes the place of the stream's first frame, once all is encoded."""
        self._room(_TAG_BYTES)
        wrote = self._lib.lame_get_lametag_frame(
            self._handle, self._out, ctypes.c_size_t(len(self._out))
        )
        return self._out.raw[:wrote]

    def close(self) -> None:
        """Give LAME's memory back."""
        handle, self._handle = self._handle, ctypes.c_void_p()
        if handle.value:
            self._lib.lame_close(handle)

    def __del__(self) -> None:
        """As `close`."""
        if hasattr(self, "_handle"):
            self.close()

    def _room(self, size: int) -> None:
        if len(self._out) < size:
            self._out = ctypes.create_string_buffer(size)

    def _taken(self, wrote: int) -> bytes:
        if wrote < 0:
            raise ValueError(f"LAME failed with {wrote}")
        return self._out.raw[:wrote]


@cache
def _library() -> ctypes.CDLL:
    import lameenc

    lib = ctypes.CDLL(lameenc.__file__)
    lib.lame_init.restype = ctypes.c_void_p
    lib.lame_get_scale.restype = ctypes.c_float
    lib.lame_get_lametag_frame.restype = ctypes.c_size_t
    return lib
