"""Names of what is delivered: templates over the fields of a file and its steps.

    {stem}.{ext}                              take 1.wav
    {rel}/{stem} {normalize.measured_lufs:.1f} LUFS.{ext}

A field is a plain or dotted name; `:` adds a format specification of Python's
mini language. Nothing else is evaluated. `/` separates folders only where the
template itself (or the field `rel`) has it; a value never makes a folder.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from handlers.errors import BadParameter

FILE_FIELDS: Mapping[str, str] = {
    "name": "File name with its extension.",
    "stem": "File name without its extension.",
    "source_ext": "Extension of the file as it came, without the dot.",
    "ext": "Extension of what is written, without the dot.",
    "rel": "Folder of the file below the hot folder; empty at its top.",
    "set": "Name of the set that the file belongs to, in a folder with sets.",
    "step": "Operation that made a side file (a picture, a report).",
    "part": "Name of one of several sounds that a step gives, e.g. a stem.",
    "duration": "Length of the source in seconds.",
    "sample_rate": "Sample rate of the source in Hz.",
    "channels": "Channels of the source.",
    "title": "Tag `title`, else the stem.",
    "artist": "Tag `artist`.",
    "album": "Tag `album`.",
    "date": "Day the job was run, as 2026-11-22.",
    "time": "Time of day the job was run, as 16-04-05.",
    "job": "Id of the job.",
    "rule": "Name of the rule.",
    "folder": "Name of the hot folder.",
}
"""Fields that every template may use. Each step adds its facts as `<op>.<fact>`."""

_MAX_BYTES = 240  # of one path segment: 255 is the usual limit, a ` (12)` must still fit
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_FORMATTER = string.Formatter()


def check_template(template: str, known: Iterable[str], *, field: str = "name") -> None:
    """Refuse a template that could not be rendered, or that leaves its folder.

    Args:
        template: the template.
        known: field names that will be there (`FILE_FIELDS` and the steps').
        field: where the template was written, for the error.

    Raises:
        BadParameter: says which part is wrong and which fields exist.
    """
    names = set(known)
    for used, spec in _fields(template, field):
        if used not in names:
            there = ", ".join(sorted(names))
            raise BadParameter(
                f"{field}: no field {{{used}}} in {template!r}; there are: {there}", field=field
            )
        if "{" in spec:
            raise BadParameter(f"{field}: nested braces in {template!r}", field=field)
    sample = _blank(template)
    if template.startswith("/") or ".." in PurePosixPath(sample).parts or "\\" in template:
        raise BadParameter(f"{field}: {template!r} leaves its folder", field=field)
    if template.endswith("/") or not template.strip():
        raise BadParameter(f"{field}: {template!r} names no file", field=field)


def render(template: str, fields: Mapping[str, Any], *, field: str = "name") -> PurePosixPath:
    """The relative path that a template gives.

    A field that is missing or None becomes `unknown`. Control characters and
    slashes in values become `-`; a segment that would be empty, `.`, `..` or
    hidden is mended; long segments are cut, keeping the extension.

    Raises:
        BadParameter: a format specification does not suit its value.
    """
    text = ""
    for literal, name, spec, _ in _FORMATTER.parse(template):
        text += literal
        if name is None:
            continue
        value = fields.get(name)
        try:
            shown = format(
                "unknown" if value is None else value, "" if value is None else spec or ""
            )
        except (ValueError, TypeError) as wrong:
            raise BadParameter(
                f"{field}: {{{name}:{spec}}} does not suit {value!r}: {wrong}", field=field
            ) from None
        text += shown if name == "rel" else shown.replace("/", "-")
    segments = [s for s in (_segment(part) for part in text.split("/")) if s]
    return PurePosixPath(*segments) if segments else PurePosixPath("unnamed")


def with_extension(path: PurePosixPath, ext: str) -> PurePosixPath:
    """The path with `.ext` added unless it already ends so (in any case)."""
    if path.name.lower().endswith("." + ext.lower()):
        return path
    return path.with_name(f"{_cut(path.name, _MAX_BYTES - len(ext) - 1)}.{ext}")


def numbered(name: str, number: int) -> str:
    """`take.wav` as `take (2).wav`; the first keeps its name."""
    if number < 2:
        return name
    stem, dot, ext = name.rpartition(".")
    return f"{stem} ({number}).{ext}" if dot and stem else f"{name} ({number})"


def _fields(template: str, field: str) -> list[tuple[str, str]]:
    try:
        parsed = list(_FORMATTER.parse(template))
    except ValueError as wrong:
        raise BadParameter(f"{field}: {template!r}: {wrong}", field=field) from None
    found: list[tuple[str, str]] = []
    for _, name, spec, conversion in parsed:
        if name is None:
            continue
        if not _FIELD.fullmatch(name) or conversion:
            raise BadParameter(f"{field}: {{{name}}} is not a field name", field=field)
        found.append((name, spec or ""))
    return found


def _blank(template: str) -> str:
    return "".join(
        literal + ("x" if name is not None else "")
        for literal, name, _, _ in _FORMATTER.parse(template)
    )


def _segment(text: str) -> str:
    clean = _UNSAFE.sub("-", text).strip()
    if clean in ("", ".", ".."):
        return ""
    if clean.startswith("."):
        clean = "_" + clean[1:]
    return _cut(clean, _MAX_BYTES)


def _cut(name: str, limit: int) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) <= limit:
        return name
    stem, dot, ext = name.rpartition(".")
    tail = (dot + ext).encode("utf-8", "surrogateescape") if dot and len(ext) <= 8 else b""
    head = (stem if tail else name).encode("utf-8", "surrogateescape")[: limit - len(tail)]
    # A cut may fall inside a character; what is left of it goes too.
    return head.decode("utf-8", "ignore") + tail.decode("utf-8", "surrogateescape")
