"""SoundFonts: the instruments that MIDI is played with.

A SoundFont is loaded once per process and lent to whoever renders. Those that
nobody plays are kept, the last used longest, as long as they fit into memory.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handlers.artifacts import NamedFile
from handlers.codecs.files import InputFile
from handlers.errors import BadParameter, TooLarge, UnreadableInput
from handlers.fluidsynth import Font

DEFAULT: Final = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Where Debian's package fluid-soundfont-gm has it."""

KEPT_BYTES: Final = 512 * 2**20
"""Bytes of fonts that are kept though nobody plays them."""
LARGEST: Final = 2 * 2**30
"""Bytes. The largest orchestral fonts have about one GiB."""

#: Records of the preset data, by chunk: their sizes (SoundFont 2.04, section 7).
_RECORDS: Final = {
    b"phdr": 38, b"pbag": 4, b"pmod": 10, b"pgen": 4, b"inst": 22, b"ibag": 4, b"imod": 10,
    b"igen": 4, b"shdr": 46,
}  # fmt: skip
_HEAD: Final = struct.Struct("<4sI")

_Identity = tuple[int, int, int, int]


@dataclass
class _Held:
    font: Font
    size: int
    users: int = 0


class Shelf:
    """The fonts of one process."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        """`kept_bytes` of fonts stay loaded without anybody playing them."""
        #: The font of those who name none; the worker sets it as the settings have it.
        self.default = DEFAULT
        self._kept_bytes = kept_bytes
        self._held: OrderedDict[_Identity, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def chosen(self, name: str | None, named: Sequence[NamedFile] | None) -> InputFile:
        """The font that a parameter names among the files that were found, or the default.

        Raises:
            BadParameter: the name was found nowhere, or there is no default.
        """
        if name is None:
            if not self.default.is_file():
                raise BadParameter(
                    f"there is no default SoundFont: {self.default.name}, as AUDIOLLA_SOUNDFONT "
                    "has it, is not there; name one in soundfont_path",
                    field="soundfont_path",
                    hint="apt-get install fluid-soundfont-gm",
                )
            # Debian's own name for the font of a system is a link.
            return InputFile(self.default.resolve(), self.default.name)
        for found in named or ():
            if found.name == name:
                return found.file
        raise BadParameter(
            f"soundfont_path = {name!r}: there is no such file", field="soundfont_path"
        )

    @contextmanager
    def borrow(self, file: InputFile) -> Iterator[Font]:
        """The font, loaded if it is not yet.

        Raises:
            UnreadableInput: it is no SoundFont 2, or damaged.
            TooLarge: it would fill the memory.
            UnknownEngine: FluidSynth is not installed.
        """
        with self._lock:
            identity, held = self._taken(file)
            held.users += 1
            self._held.move_to_end(identity)
            self._make_room()
        try:
            yield held.font
        finally:
            with self._lock:
                held.users -= 1
                self._make_room()

    def loaded(self) -> int:
        """How many fonts are loaded."""
        return len(self._held)

    def _taken(self, file: InputFile) -> tuple[_Identity, _Held]:
        # Not its path: a job sees a staged file under a name of its own.
        stat = os.fstat(file.fd)
        identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if identity not in self._held:
            check(file)
            try:
                font = Font(file)
            except ValueError as wrong:
                raise UnreadableInput(f"{file.name} is no usable SoundFont: {wrong}") from None
            self._held[identity] = _Held(font, stat.st_size)
        return identity, self._held[identity]

    def _make_room(self) -> None:
        size = sum(held.size for held in self._held.values())
        for identity, held in list(self._held.items()):
            if size <= self._kept_bytes:
                return
            if not held.users:
                size -= held.size
                del self._held[identity]
                held.font.close()


shelf = Shelf()
"""That of this process."""


def check(file: InputFile) -> None:
    """Refuse what is no whole SoundFont 2, before a library reads it.

    Raises:
        UnreadableInput: says what is wrong with it.
        TooLarge: it would fill the memory.
    """
    if file.size > LARGEST:
        raise TooLarge(f"{file.name} has {file.size} bytes; a SoundFont may have {LARGEST}")
    mark, size, form = struct.unpack("<4sI4s", file.read(12, 0).ljust(12, b"\0"))
    if mark != b"RIFF" or form != b"sfbk":
        raise file.unreadable("is not a SoundFont: it does not begin with RIFF and sfbk")
    if size + 8 > file.size:
        raise file.unreadable(f"is cut off: it has {file.size} bytes of {size + 8}")
    lists = dict(_chunks(file, 12, size + 8))
    parts: dict[bytes, tuple[int, int]] = {}
    for at, length in lists.values():
        parts |= dict(_chunks(file, at + 4, at + length))
    version = file.read(2, parts[b"ifil"][0]) if b"ifil" in parts else b""
    if version != b"\x02\x00":
        told = version[0] if version else "none"
        raise file.unreadable(
            f"is of SoundFont version {told}; only version 2 (.sf2) can be played, "
            "not compressed ones (.sf3)"
        )
    for part, record in _RECORDS.items():
        if part not in parts or parts[part][1] % record or not parts[part][1]:
            found = parts[part][1] if part in parts else "no"
            raise file.unreadable(
                f"is damaged: its chunk {part.decode()} has {found} bytes, "
                f"which must be records of {record}"
            )
    if parts[b"phdr"][1] < 2 * _RECORDS[b"phdr"]:
        raise file.unreadable("holds no instrument")


def _chunks(file: InputFile, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Names of chunks, and where they begin and how long they are; lists by their kind."""
    while at + _HEAD.size <= end:
        name, length = _HEAD.unpack(file.read(_HEAD.size, at))
        at += _HEAD.size
        if at + length > end:
            raise file.unreadable(
                f"is damaged: a chunk at byte {at - 8} has {length} bytes, "
                f"and there is room for {end - at}"
            )
        yield (file.read(4, at) if name == b"LIST" else name), (at, length)
        at += length + length % 2
