"""FluidSynth in this process: the few of its functions that we use, typed.

The library is called directly: pyfluidsynth lacks what we stand on (samples as
floats, one SoundFont under several synthesisers), looks for the library with
other programs, and cannot be imported where there is none.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Mapping
from ctypes import CFUNCTYPE, c_char_p, c_double, c_int, c_void_p
from functools import cache
from typing import Any, Final

import numpy as np

from handlers.artifacts import Samples
from handlers.codecs.files import InputFile
from handlers.errors import UnknownEngine

QUANTUM: Final = 64
"""Frames that are computed at once; an event takes effect at the next multiple."""

_LIBRARIES = ("libfluidsynth.so.3", "libfluidsynth.so.2", "libfluidsynth.3.dylib")
_FAILED = -1
_LOUDEST_LEVELS = range(3)  # panic, error, warning; what is below is talk

_Log = CFUNCTYPE(None, c_int, c_char_p, c_void_p)

#: Name to result and arguments; a synthesiser, its settings and a SoundFont are opaque pointers.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "fluid_set_log_function": (c_void_p, c_int, c_void_p, c_void_p),
    "new_fluid_settings": (c_void_p,),
    "delete_fluid_settings": (None, c_void_p),
    "fluid_settings_setnum": (c_int, c_void_p, c_char_p, c_double),
    "fluid_settings_setint": (c_int, c_void_p, c_char_p, c_int),
    "new_fluid_synth": (c_void_p, c_void_p),
    "delete_fluid_synth": (None, c_void_p),
    "fluid_synth_sfload": (c_int, c_void_p, c_char_p, c_int),
    "fluid_synth_get_sfont_by_id": (c_void_p, c_void_p, c_int),
    "fluid_synth_add_sfont": (c_int, c_void_p, c_void_p),
    "fluid_synth_remove_sfont": (c_int, c_void_p, c_void_p),
    "fluid_synth_noteon": (c_int, c_void_p, c_int, c_int, c_int),
    "fluid_synth_noteoff": (c_int, c_void_p, c_int, c_int),
    "fluid_synth_key_pressure": (c_int, c_void_p, c_int, c_int, c_int),
    "fluid_synth_cc": (c_int, c_void_p, c_int, c_int, c_int),
    "fluid_synth_program_change": (c_int, c_void_p, c_int, c_int),
    "fluid_synth_channel_pressure": (c_int, c_void_p, c_int, c_int),
    "fluid_synth_pitch_bend": (c_int, c_void_p, c_int, c_int),
    "fluid_synth_sysex": (c_int, c_void_p, c_char_p, c_int, *(c_void_p,) * 3, c_int),
    "fluid_synth_get_active_voice_count": (c_int, c_void_p),
    "fluid_synth_write_float": (c_int, c_void_p, c_int, *(c_void_p, c_int, c_int) * 2),
}

_SILENT = {"synth.polyphony": 1, "synth.reverb.active": 0, "synth.chorus.active": 0}

#: What the library said last; it says on standard error why it failed, unless it is asked.
_said: deque[str] = deque(maxlen=8)


def _keep(_level: int, message: bytes, _data: object) -> None:
    _said.append(message.decode(errors="replace"))


#: Held here: the library calls them as long as this process lives.
_hear, _ignore = _Log(_keep), _Log(lambda *_: None)


@cache
def library() -> Any:
    """The library, loaded once.

    Raises:
        UnknownEngine: it is not installed.
    """
    for name in _LIBRARIES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        break
    else:
        raise UnknownEngine(
            "MIDI is rendered by FluidSynth, which is not installed here",
            hint="apt-get install libfluidsynth3 fluid-soundfont-gm",
        )
    for function, (result, *arguments) in _FUNCTIONS.items():
        entry = getattr(found, function)
        entry.restype, entry.argtypes = result, arguments
    for level in range(5):
        found.fluid_set_log_function(level, _hear if level in _LOUDEST_LEVELS else _ignore, None)
    return found


class Font:
    """A loaded SoundFont. It must outlive every synthesiser that plays it."""

    def __init__(self, file: InputFile) -> None:
        """Load all of its samples.

        Raises:
            ValueError: the library cannot read it; says what it says.
            UnknownEngine: FluidSynth is not installed.
        """
        self._library = library()
        # This synthesiser never plays: it owns the font, and frees it.
        self._settings, self._keeper = _created(_SILENT)
        _said.clear()
        # The library keeps samples by path and time to the second, and would give those of
        # another font that had the name before. As long as this holds the file, no other has
        # the path that it is opened by.
        self._file = file
        number = self._library.fluid_synth_sfload(self._keeper, file.path.encode(), 0)
        if number == _FAILED:
            self.close()
            # The first says why; those behind it, that other readers cannot either, and the path.
            raise ValueError(_said[0] if _said else "no reason given")
        self.pointer = self._library.fluid_synth_get_sfont_by_id(self._keeper, number)

    def close(self) -> None:
        """Free its memory."""
        _destroyed(self._settings, self._keeper)


class Page:
    """A block of stereo that a synthesiser fills bit by bit, between messages."""

    def __init__(self, quanta: int) -> None:
        """One with room for `quanta * QUANTUM` frames."""
        self._frames = quanta * QUANTUM
        self._turn()

    def _turn(self) -> None:
        self._samples = np.empty((2, self._frames), np.float32)
        #: Asked for once: it takes longer than a few quanta to compute.
        self.rows = tuple(int(row.ctypes.data) for row in self._samples)
        self.filled = 0

    @property
    def room(self) -> int:
        """Quanta that it still has room for."""
        return (self._frames - self.filled) // QUANTUM

    def take(self) -> Samples:
        """What is on it; it is empty from then on."""
        taken = self._samples[:, : self.filled]
        self._turn()
        return taken


class Synth:
    """One synthesiser, new and silent, with one font. Use as a context."""

    def __init__(self, font: Font, settings: Mapping[str, float]) -> None:
        """Make one.

        Args:
            font: what it plays.
            settings: by FluidSynth's names (`synth.sample-rate`), int or float as it has them.
        """
        self._library = library()
        self._settings, self._synth = _created(settings)
        self._font = font
        self._library.fluid_synth_add_sfont(self._synth, font.pointer)

    def __enter__(self) -> Synth:
        return self

    def __exit__(self, *_: object) -> None:
        # Taken away first: what a synthesiser holds at its end is freed with it.
        self._library.fluid_synth_remove_sfont(self._synth, self._font.pointer)
        _destroyed(self._settings, self._synth)

    def send(self, status: int, data1: int, data2: int) -> None:
        """A channel message; what the synthesiser has no use for is ignored."""
        channel, kind = status & 0x0F, status & 0xF0
        synth, call = self._synth, self._library
        if kind == 0x90:
            call.fluid_synth_noteon(synth, channel, data1, data2)
        elif kind == 0x80:
            call.fluid_synth_noteoff(synth, channel, data1)
        elif kind == 0xB0:
            call.fluid_synth_cc(synth, channel, data1, data2)
        elif kind == 0xE0:
            call.fluid_synth_pitch_bend(synth, channel, data2 << 7 | data1)
        elif kind == 0xC0:
            call.fluid_synth_program_change(synth, channel, data1)
        elif kind == 0xD0:
            call.fluid_synth_channel_pressure(synth, channel, data1)
        elif kind == 0xA0:
            call.fluid_synth_key_pressure(synth, channel, data1, data2)

    def send_system(self, data: bytes) -> None:
        """A system exclusive message, without the bytes that begin and end it."""
        self._library.fluid_synth_sysex(self._synth, data, len(data), None, None, None, 0)

    def play(self, page: Page, quanta: int) -> None:
        """The next `quanta * QUANTUM` frames onto a page that has the room."""
        frames, at = quanta * QUANTUM, page.filled
        left, right = page.rows
        self._library.fluid_synth_write_float(self._synth, frames, left, at, 1, right, at, 1)
        page.filled += frames

    @property
    def voices(self) -> int:
        """How many voices sound."""
        return int(self._library.fluid_synth_get_active_voice_count(self._synth))


def _created(settings: Mapping[str, float]) -> tuple[int, int]:
    call = library()
    made = call.new_fluid_settings()
    # Samples may be swapped out like all else; locking them is for playing live.
    for name, value in {"synth.lock-memory": 0, **settings}.items():
        put = call.fluid_settings_setint if isinstance(value, int) else call.fluid_settings_setnum
        if put(made, name.encode(), value) == _FAILED:
            call.delete_fluid_settings(made)
            raise ValueError(f"FluidSynth has no setting {name} = {value!r}")
    return made, call.new_fluid_synth(made)


def _destroyed(settings: int, synth: int) -> None:
    library().delete_fluid_synth(synth)
    library().delete_fluid_settings(settings)
