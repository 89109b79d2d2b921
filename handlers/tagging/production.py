"""Chunks of a WAV that carry facts of its production: `bext`, `smpl`, `cue `, `iXML`.

Sources: EBU Tech 3285 version 2 (bext), Multimedia Data Standards Update (1994;
smpl), iXML 3.01.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from xml.etree import ElementTree as ET
from xml.parsers import expat

from pydantic import BaseModel, ConfigDict, Field

from handlers.codecs.chunks import CuePoint, cue_points, decoded
from handlers.errors import BadParameter
from handlers.units import DecibelsTP, LoudnessUnits, LoudnessUnitsFS, Samples, Seconds

_BEXT = struct.Struct("<256s32s32s10s8sQH64s5h180s")
_NOT_STATED = 0x7FFF
_SMPL = struct.Struct("<9I")
_LOOP = struct.Struct("<6I")
_MAX_XML_DEPTH = 24
_LAST_FRAME = 2**32 - 1


Mode = Literal["forward", "alternating", "backward"]
_MODES: Sequence[Mode] = ("forward", "alternating", "backward")


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bext(_Plain):
    """The broadcast extension. What is left out stays as it is; an empty text is removed."""

    description: str | None = Field(None, description="What it is; up to 256 bytes.")
    originator: str | None = Field(None, description="Who made it; up to 32 bytes.")
    originator_reference: str | None = Field(
        None, description="What its maker calls it; up to 32 bytes."
    )
    origination_date: str | None = Field(
        None, pattern=r"^(\d{4}-\d\d-\d\d)?$", description="Day it was made, YYYY-MM-DD."
    )
    origination_time: str | None = Field(
        None, pattern=r"^(\d\d:\d\d:\d\d)?$", description="Time it was made, HH:MM:SS."
    )
    time_reference: Samples | None = Field(
        None, ge=0, lt=2**63, description="Where the first sample lies, counted from midnight."
    )
    umid: str | None = Field(
        None, pattern=r"^([0-9A-Fa-f]{2}){0,64}$", description="SMPTE UMID, in hexadecimal."
    )
    loudness_value: LoudnessUnitsFS | None = Field(
        None, ge=-99.99, le=99.99, description="Integrated loudness."
    )
    loudness_range: LoudnessUnits | None = Field(
        None, ge=0, le=99.99, description="Loudness range."
    )
    max_true_peak_level: DecibelsTP | None = Field(
        None, ge=-99.99, le=99.99, description="Largest true peak."
    )
    max_momentary_loudness: LoudnessUnitsFS | None = Field(
        None, ge=-99.99, le=99.99, description="Loudest 400 ms."
    )
    max_short_term_loudness: LoudnessUnitsFS | None = Field(
        None, ge=-99.99, le=99.99, description="Loudest 3 s."
    )
    coding_history: str | None = Field(
        None, max_length=65536, description="What was done to it, a line for each step."
    )


class BextRead(Bext):
    """The broadcast extension as a file has it."""

    version: int = 0


class Loop(_Plain):
    """A stretch that a sampler repeats."""

    start: Seconds = Field(ge=0, description="First sample that is repeated.")
    end: Seconds = Field(gt=0, description="Where the stretch ends.")
    mode: Mode = Field("forward", description="In which direction it is played.")
    count: int = Field(0, ge=0, le=_LAST_FRAME, description="How often; 0 means for ever.")


class Cue(_Plain):
    """A place in the sound, or with an end a stretch of it."""

    start: Seconds = Field(ge=0, description="Where it is, or begins.")
    end: Seconds | None = Field(None, ge=0, description="Where the stretch ends.")
    label: str = Field("", max_length=4096, description="What it is called.")
    note: str = Field("", max_length=4096, description="A comment.")


class Sampler(_Plain):
    """What a sampler needs to know."""

    note: int
    cents: float
    loops: list[Loop]


_TEXTS = (
    ("description", 256),
    ("originator", 32),
    ("originator_reference", 32),
    ("origination_date", 10),
    ("origination_time", 8),
)
_LEVELS = (
    "loudness_value",
    "loudness_range",
    "max_true_peak_level",
    "max_momentary_loudness",
    "max_short_term_loudness",
)


def read_bext(body: bytes) -> BextRead | None:
    """What a `bext` chunk says; None where it is cut short."""
    if len(body) < _BEXT.size:
        return None
    *texts, reference, version, umid, a, b, c, d, e, _ = _BEXT.unpack_from(body)
    said: dict[str, Any] = {
        name: decoded(raw) for (name, _), raw in zip(_TEXTS, texts, strict=True)
    }
    if version >= 2:
        for name, level in zip(_LEVELS, (a, b, c, d, e), strict=True):
            said[name] = None if level == _NOT_STATED else level / 100
    # What a file says is shown as it is, also where it is not what it should be.
    known: dict[str, Any] = dict.fromkeys(Bext.model_fields)
    said |= {
        "time_reference": reference,
        "umid": umid.rstrip(b"\0").hex() if version >= 1 else "",
        "coding_history": decoded(body[_BEXT.size :]),
        "version": version,
    }
    return BextRead.model_construct(**known | said)


def changed_bext(old: bytes, wanted: Bext) -> bytes:
    """A `bext` chunk of version 2 with these changes.

    Raises:
        BadParameter: a text is longer than its field.
    """
    body = old if len(old) >= _BEXT.size else bytes(_BEXT.size)
    *texts, reference, version, umid, a, b, c, d, e, _ = _BEXT.unpack_from(body)
    new = [_text(wanted, name, size, raw) for (name, size), raw in zip(_TEXTS, texts, strict=True)]
    # Before version 2 the levels were zeros, which would be levels now.
    levels = [a, b, c, d, e] if version >= 2 else [_NOT_STATED] * 5
    for number, name in enumerate(_LEVELS):
        level = getattr(wanted, name)
        if level is not None:
            levels[number] = round(level * 100)
    history = body[_BEXT.size :]
    if wanted.coding_history is not None:
        lines = wanted.coding_history.splitlines()
        history = "".join(f"{line}\r\n" for line in lines).encode()
    if wanted.umid is not None:
        umid = bytes.fromhex(wanted.umid)
    if wanted.time_reference is not None:
        reference = wanted.time_reference
    head = _BEXT.pack(*new, reference, 2, umid if version or wanted.umid else b"", *levels, b"")
    return head + history


def _text(wanted: Bext, name: str, size: int, old: bytes) -> bytes:
    given = getattr(wanted, name)
    if given is None:
        return old
    raw: bytes = given.encode()
    if len(raw) > size:
        raise BadParameter(f"bext.{name} has {len(raw)} bytes; {size} fit", field=f"bext.{name}")
    return raw


def read_smpl(body: bytes, rate: int) -> Sampler | None:
    """What a `smpl` chunk says; None where it is cut short."""
    if len(body) < _SMPL.size:
        return None
    _, _, _, note, fraction, _, _, count, _ = _SMPL.unpack_from(body)
    loops = []
    for at in range(_SMPL.size, len(body) - _LOOP.size + 1, _LOOP.size)[:count]:
        _, mode, start, end, _, times = _LOOP.unpack_from(body, at)
        loops.append(
            Loop.model_construct(
                start=start / rate,
                # The last sample that is played is part of the loop.
                end=(end + 1) / rate,
                mode=_MODES[mode] if mode < len(_MODES) else "forward",
                count=times,
            )
        )
    return Sampler(note=note, cents=round(fraction / 2**32 * 100, 3), loops=loops)


def changed_smpl(
    old: bytes, rate: int, frames: int, loops: Sequence[Loop] | None, note: int | None
) -> bytes:
    """A `smpl` chunk with these loops and this note; what is None stays as it is.

    Raises:
        BadParameter: a loop ends behind the sound, or before it begins.
    """
    head = list(_SMPL.unpack_from(old)) if len(old) >= _SMPL.size else [0, 0, 0, 60, 0, 0, 0, 0, 0]
    head[2] = round(1e9 / rate)
    if note is not None:
        head[3], head[4] = note, 0
    kept = old[_SMPL.size : _SMPL.size + head[7] * _LOOP.size]
    if loops is not None:
        kept = b"".join(
            _loop(number, loop, rate, frames) for number, loop in enumerate(loops, start=1)
        )
        head[7] = len(loops)
    head[8] = 0
    return _SMPL.pack(*head) + kept


def _loop(number: int, loop: Loop, rate: int, frames: int) -> bytes:
    start, end = round(loop.start * rate), round(loop.end * rate)
    if not start < end <= frames:
        raise BadParameter(
            f"loop {number} goes from {loop.start:g} to {loop.end:g} s; "
            f"the sound lasts {frames / rate:.6g} s",
            field="loops",
        )
    return _LOOP.pack(number, _MODES.index(loop.mode), start, end - 1, 0, loop.count)


def read_cues(chunks: Mapping[str, bytes], rate: int) -> list[Cue]:
    """The places that a file names, in order of time."""
    return [
        Cue.model_construct(
            start=point.frame / rate,
            end=(point.frame + point.length) / rate if point.length else None,
            label=point.label,
            note=point.note,
        )
        for point in cue_points(chunks)
    ]


def cue_point(cue: Cue, rate: int, frames: int) -> CuePoint:
    """A place in frames.

    Raises:
        BadParameter: it lies behind the sound, or ends before it begins.
    """
    start = round(cue.start * rate)
    end = start if cue.end is None else round(cue.end * rate)
    if not start <= end <= frames:
        until = "" if cue.end is None else f" to {cue.end:g}"
        raise BadParameter(
            f"cue {cue.label!r} lies at {cue.start:g}{until} s; "
            f"the sound lasts {frames / rate:.6g} s",
            field="cues",
        )
    return CuePoint(start, cue.label, end - start, cue.note)


def read_ixml(body: bytes) -> dict[str, Any] | None:
    """An iXML chunk as nested names and texts, repeated elements as lists.

    None where it cannot be read, and where it defines entities: iXML has none,
    and a few lines of them unfold to gigabytes.
    """
    raw = body.rstrip(b"\0").strip()
    try:
        _check_xml(raw)
        root = ET.fromstring(raw)  # noqa: S314 - checked: it has no entities of its own
    except (ET.ParseError, expat.ExpatError, ValueError, LookupError):
        return None
    found = _element(root, 0)
    return found if isinstance(found, dict) else {}


def _check_xml(raw: bytes) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("it has a document type")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(raw, True)


def _element(node: ET.Element, depth: int) -> dict[str, Any] | str:
    if not len(node) or depth >= _MAX_XML_DEPTH:
        return (node.text or "").strip()
    found: dict[str, Any] = {}
    for child in node:
        value = _element(child, depth + 1)
        if child.tag not in found:
            found[child.tag] = value
        elif isinstance(found[child.tag], list):
            found[child.tag].append(value)
        else:
            found[child.tag] = [found[child.tag], value]
    return found
