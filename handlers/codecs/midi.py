"""Standard MIDI Files as they lie on disk."""

from __future__ import annotations

from pathlib import Path

from handlers.artifacts import Midi
from handlers.codecs.files import InputFile
from handlers.errors import TooLarge

MAGIC = b"MThd"

LARGEST = 16 * 2**20
"""Bytes. An hour of dense playing is a few hundred kilobytes."""


def is_midi(path: Path, *, name: str) -> bool:
    """True when the file begins as a Standard MIDI File does.

    Raises:
        FileNotFoundError: it is not there.
        UnreadableInput: it is empty, or no regular file.
    """
    return InputFile(path, name).read(len(MAGIC), 0) == MAGIC


def read_midi(path: Path, *, name: str) -> Midi:
    """A MIDI file; `name` is what errors call it.

    Raises:
        FileNotFoundError: it is not there.
        TooLarge: it is larger than any MIDI file need be.
        UnreadableInput: it is no Standard MIDI File.
    """
    file = InputFile(path, name)
    if file.size > LARGEST:
        raise TooLarge(f"{name} has {file.size} bytes; no MIDI file needs more than {LARGEST}")
    data = file.read(file.size, 0)
    if not data.startswith(MAGIC):
        raise file.unreadable("is not a Standard MIDI File: it does not begin with MThd")
    return Midi(data)
