"""Files whose tags can be read and written although their sound is not decoded here.

mutagen knows some containers that this program opens for nothing else. What it
says of their length is what the file states.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from handlers.artifacts import Blocks, Samples, SourceFacts
from handlers.codecs.files import InputFile
from handlers.codecs.reader import NO_CAPS, Caps
from handlers.codecs.sniff import id3_length
from handlers.errors import AudiollaError, UnreadableInput

_MAX_RATE = 50_000_000  # DSD512 has 24.6 MHz
_MAX_CHANNELS = 64
#: How they begin: container, and mutagen's module and class for it.
_MAGIC: Mapping[bytes, tuple[str, str, str]] = {
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"): ("asf", "mutagen.asf", "ASF"),
    b"TTA1": ("tta", "mutagen.trueaudio", "TrueAudio"),
    b"DSD ": ("dsf", "mutagen.dsf", "DSF"),
    b"FRM8": ("dff", "mutagen.dsdiff", "DSDIFF"),
    b"MAC ": ("ape", "mutagen.monkeysaudio", "MonkeysAudio"),
    b"MPCK": ("mpc", "mutagen.musepack", "Musepack"),
    b"MP+": ("mpc", "mutagen.musepack", "Musepack"),
    b"OFR ": ("ofr", "mutagen.optimfrog", "OptimFROG"),
    b"tBaK": ("tak", "mutagen.tak", "TAK"),
}


def open_tagged(
    path: str | os.PathLike[str], *, name: str | None = None, caps: Caps = NO_CAPS
) -> Blocks:
    """Open a file for its tags: as a sound if it can be decoded, else as what it states.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableInput: it is neither a sound nor a file whose tags are known.
    """
    from handlers.codecs.reader import open_sound

    try:
        return open_sound(path, name=name, caps=caps)
    except UnreadableInput as refused:
        file = InputFile(path, name)
        found = _known(file)
        if found is None:
            raise
        return _stated(file, *found, refused)


def _known(file: InputFile) -> tuple[str, str, str] | None:
    head = file.read(16, 0)
    if head[:3] == b"ID3" and len(head) >= 10:
        head = file.read(16, id3_length(head))
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _stated(
    file: InputFile, container: str, module: str, cls: str, refused: AudiollaError
) -> Blocks:
    from handlers.tagging.stores import find_store

    try:
        with open(file.path, "rb") as opened:
            load = find_store(container, "")
            if load is not None:
                load(opened)  # what would take too long is refused here
            opened.seek(0)
            info: Any = getattr(import_module(module), cls)(opened).info
        rate, seconds = int(info.sample_rate), float(info.length)
        channels = int(info.channels) if hasattr(info, "channels") else _tta_channels(file)
    except Exception as wrong:  # mutagen answers damage with IndexError and more
        raise file.unreadable(f"is a damaged {container} file: {wrong}") from wrong
    if not (0 < rate <= _MAX_RATE and 0 < channels <= _MAX_CHANNELS and 0 <= seconds < math.inf):
        raise file.unreadable(f"states {channels} channels at {rate} Hz and {seconds} s")
    facts = SourceFacts(
        name=file.name,
        size_bytes=file.size,
        container=container,
        codec=str(getattr(info, "codec_name", "") or container),
        sample_fmt="",
        bit_depth=int(getattr(info, "bits_per_sample", 0) or 0) or None,
        bit_rate=int(getattr(info, "bitrate", 0) or 0) or None,
        file=file,
    )
    frames = round(seconds * rate)
    return Blocks(
        partial(_no_sound, refused), rate=rate, channels=channels, frames=frames, facts=facts
    )


def _tta_channels(file: InputFile) -> int:
    """The one thing that mutagen does not read of a TTA header."""
    head = file.read(10, 0)
    at = id3_length(head) if head[:3] == b"ID3" else 0
    return int.from_bytes(file.read(2, at + 6), "little")


def _no_sound(refused: AudiollaError) -> Iterator[Samples]:
    raise refused
