"""What a rule asks of a file, and whether a file has it.

    match:
      glob: ["*.wav", "voice/**"]     # of the name, or of the path if it has a slash
      exclude: "*-draft.*"
      ext: [wav, flac]
      size: "< 2 GB"
      time: "mon-fri 22:00-06:00"     # of the moment in which it is taken
      format: [wav, flac]             # inside, whatever the name says
      duration: "> 90s"
      channels: 2
      sample_rate: "44.1 kHz..48 kHz"
      tags: {artist: "Bob*", isrc: true, comment: false}

All conditions must hold; an empty `match` takes every file. Names are compared
without regard to case and to the Unicode form of accents (recorders write
`TAKE.WAV`, Macs decompose).

Name, size and time are known from the directory and the clock; the other conditions need the
file's header, which only a worker reads.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
)

from rules.windows import WindowsText

# -- ranges ----------------------------------------------------------------------------------
_UNITS_OF_TIME = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_UNITS_OF_SIZE = {
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
    "tib": 2.0**40,
}
_UNITS_OF_RATE = {"hz": 1.0, "khz": 1e3, "k": 1e3}
_NO_UNITS: Mapping[str, float] = {}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def read_amount(value: Any, units: Mapping[str, float]) -> float:
    """A number, or text like `90`, `1m30s`, `2 GB`, `44.1 kHz`, in the base unit.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        number = _read_text(value, units)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} is not a positive number")
    return number


def _read_text(value: Any, units: Mapping[str, float]) -> float:
    text = value.strip() if isinstance(value, str) else ""
    total, at, parts = 0.0, 0, 0
    while at < len(text):
        found = _PART.match(text, at)
        unit = found.group(2).lower() if found else ""
        if found is None or (unit and unit not in units) or (parts and not unit):
            break
        total += float(found.group(1)) * (units[unit] if unit else 1.0)
        at, parts = found.end(), parts + 1
    if not parts or at < len(text):
        known = f" (units: {', '.join(units)})" if units else ""
        raise ValueError(f"{value!r} is not a number{known}")
    return total


@dataclass(frozen=True)
class Range:
    """An interval of numbers."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        """As it can be written in a rule, in base units."""
        if self.low == self.high:
            return _number(self.low)
        if math.isinf(self.high):
            return f"{'>' if self.low_open else '>='} {_number(self.low)}"
        if math.isinf(self.low):
            return f"{'<' if self.high_open else '<='} {_number(self.high)}"
        return f"{_number(self.low)}..{_number(self.high)}"


def read_range(value: Any, units: Mapping[str, float] = _NO_UNITS) -> Range:
    """A range from a number (exactly it) or from `> 60`, `>= 60`, `< 60`, `<= 60`, `10..120`.

    Raises:
        ValueError: it is none of them, or holds no number at all.
    """
    text = value.strip() if isinstance(value, str) else ""
    if ".." in text:
        low, _, high = text.partition("..")
        found = Range(read_amount(low, units), read_amount(high, units))
        if found.low > found.high:
            raise ValueError(f"{value!r} holds nothing: its lower end is above its upper one")
        return found
    sign = re.match(r"[<>]=?|=", text)
    if sign is None:
        number = read_amount(value, units)
        return Range(number, number)
    number = read_amount(text[sign.end() :], units)
    if sign.group() == "=":
        return Range(number, number)
    is_open = not sign.group().endswith("=")
    if sign.group().startswith(">"):
        return Range(low=number, low_open=is_open)
    return Range(high=number, high_open=is_open)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def number_text(value: float) -> str:
    """A number without a needless `.0`."""
    return _number(value)


def _range_of(units: Mapping[str, float]) -> Any:
    def read(value: Any) -> Range:
        return value if isinstance(value, Range) else read_range(value, units)

    return PlainValidator(read, json_schema_input_type=str | float)


_Shown = PlainSerializer(str, return_type=str)
TimeRange = Annotated[Range, _range_of(_UNITS_OF_TIME), _Shown]
SizeRange = Annotated[Range, _range_of(_UNITS_OF_SIZE), _Shown]
RateRange = Annotated[Range, _range_of(_UNITS_OF_RATE), _Shown]
CountRange = Annotated[Range, _range_of(_NO_UNITS), _Shown]

Seconds = Annotated[float, BeforeValidator(lambda value: read_amount(value, _UNITS_OF_TIME))]
"""A time as a number of seconds or as text with units."""


def read_size(value: Any) -> float:
    """Bytes, from a number or from text with units.

    Raises:
        ValueError: it is neither.
    """
    return read_amount(value, _UNITS_OF_SIZE)


# -- names -----------------------------------------------------------------------------------
def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _extensions(value: Any) -> Any:
    texts = _texts(value)
    if isinstance(texts, tuple) and all(isinstance(text, str) for text in texts):
        return tuple(text.removeprefix(".").lower() for text in texts)
    return texts


Text = Annotated[str, Field(min_length=1, max_length=1000)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_texts), Field(min_length=1)]


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    """A glob as a pattern: `*` and `?` stay inside one folder, `**/` is any number of folders."""
    out, at = "", 0
    text = _comparable(glob)
    while at < len(text):
        if text.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif text.startswith("**", at):
            out, at = out + ".*", at + 2
        elif text[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif text[at] == "?":
            out, at = out + "[^/]", at + 1
        elif text[at] == "[" and (end := text.find("]", at + 2)) > 0:
            inner = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            inner = "^" + inner[1:] if inner[0] in "!^" else inner
            out, at = out + f"(?!/)[{inner}]", end + 1
        else:
            out, at = out + re.escape(text[at]), at + 1
    return re.compile(out, re.DOTALL)


def check_glob(glob: str) -> str:
    """The glob, if it can be used.

    Raises:
        ValueError: it cannot.
    """
    try:
        _pattern(glob)
    except re.error as wrong:
        raise ValueError(f"{glob!r} is not a glob: {wrong}") from None
    return glob


def matches_glob(glob: str, path: str) -> bool:
    """True when a glob fits a relative path, or its last segment if the glob has no slash."""
    subject = path if "/" in glob else path.rpartition("/")[2]
    return _pattern(glob).fullmatch(_comparable(subject)) is not None


def _comparable(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


Glob = Annotated[Text, AfterValidator(check_glob)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_texts), Field(min_length=1)]
Tag = Annotated[bool | Texts, Field(union_mode="left_to_right")]


# -- conditions ------------------------------------------------------------------------------
@dataclass(frozen=True)
class FileFacts:
    """What is known of a file without opening it."""

    #: Path below the hot folder, with `/`; may hold surrogates for bytes that are not UTF-8.
    rel: str
    size: int
    #: When it was taken, on the wall clock; None where nobody takes it.
    at: datetime | None = None

    @property
    def name(self) -> str:
        """The last segment of the path."""
        return self.rel.rpartition("/")[2]

    @property
    def ext(self) -> str:
        """Extension in lower case, without its dot."""
        stem, dot, ext = self.name.rpartition(".")
        return ext.lower() if dot and stem else ""


@dataclass(frozen=True)
class SoundFacts:
    """What its header tells of a sound. `tags` are lower-case Vorbis comment names.

    Of a MIDI file only its duration is known.
    """

    #: Seconds; None if no condition asks for it and it would cost a pass over the file.
    duration: float | None = None
    channels: int | None = None
    sample_rate: int | None = None
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Short name of the container: `wav`, `flac`, `mp3`, ...
    format: str | None = None


class Conditions(BaseModel):
    """What one rule asks of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    glob: Globs | None = Field(None, description="Patterns of the name or path; one must fit.")
    exclude: Globs | None = Field(None, description="Patterns of which none may fit.")
    ext: Annotated[Texts, BeforeValidator(_extensions)] | None = Field(
        None, description="Extensions; one must be the file's."
    )
    size: SizeRange | None = Field(None, description="Bytes, or with a unit: `10 MB`.")
    time: WindowsText | None = Field(
        None,
        description='When it is taken, by the wall clock: "22:00-06:00", "mon-fri 9:00-17:00".',
    )
    weekday: WindowsText | None = Field(None, description='The day: "sat, sun", "mon-thu".')
    format: Annotated[Texts, BeforeValidator(_extensions)] | None = Field(
        None, description="What the file is inside, whatever its name says: wav, flac, mp3, ..."
    )
    duration: TimeRange | None = Field(None, description="Seconds, or with a unit: `1m30s`.")
    channels: CountRange | None = Field(None, description="Number of channels.")
    sample_rate: RateRange | None = Field(None, description="Hz, or with a unit: `48 kHz`.")
    tags: dict[Text, Tag] | None = Field(
        None,
        description="Per tag: a pattern (or several) that its text fits, true for any text, "
        "false for none.",
    )

    @property
    def asks(self) -> frozenset[str]:
        """The conditions that need the file's header."""
        names = ("duration", "channels", "sample_rate", "tags", "format")
        return frozenset(name for name in names if getattr(self, name) is not None)


def refused_by_name(conditions: Conditions, file: FileFacts) -> str | None:
    """The first condition that a file's name or size does not meet, in words; None if all are."""
    if conditions.ext is not None and file.ext not in conditions.ext:
        return f"ext is {file.ext or 'missing'}, not {' or '.join(conditions.ext)}"
    if conditions.glob is not None and not _any_fits(conditions.glob, file.rel):
        return f"name does not fit {' or '.join(conditions.glob)}"
    if conditions.exclude is not None and _any_fits(conditions.exclude, file.rel):
        return f"name fits exclude {' or '.join(conditions.exclude)}"
    for name, windows in (("time", conditions.time), ("weekday", conditions.weekday)):
        if windows is not None and file.at is not None and file.at not in windows:
            return f"{name} is {file.at:%a %H:%M}, not {windows}".lower()
    if conditions.size is not None and file.size not in conditions.size:
        return f"size is {file.size} bytes, not {conditions.size}"
    return None


def _any_fits(globs: tuple[str, ...], path: str) -> bool:
    return any(matches_glob(glob, path) for glob in globs)


def refused_by_sound(conditions: Conditions, sound: SoundFacts) -> str | None:
    """The first condition that a file's header does not meet, in words; None if all are."""
    if conditions.format is not None and sound.format not in conditions.format:
        return f"format is {sound.format or 'not known'}, not {' or '.join(conditions.format)}"
    measured: tuple[tuple[str, Range | None, float | None, str], ...] = (
        ("duration", conditions.duration, sound.duration, " s"),
        ("channels", conditions.channels, sound.channels, ""),
        ("sample_rate", conditions.sample_rate, sound.sample_rate, " Hz"),
    )
    for name, wanted, value, unit in measured:
        if wanted is None:
            continue
        if value is None:
            return f"{name} is not known"
        if value not in wanted:
            return f"{name} is {_number(round(float(value), 3))}{unit}, not {wanted}"
    for tag, asked in (conditions.tags or {}).items():
        refusal = _refused_tag(tag, asked, sound.tags.get(tag.lower(), ()))
        if refusal:
            return refusal
    return None


def fits_text(globs: tuple[str, ...], text: str) -> bool:
    """Whether one of some patterns is that of a whole text, without regard to case."""
    # A text is no path: a slash in it is one character of it.
    subject = _comparable(text).replace("/", "\u2215")
    return any(_pattern(glob.replace("/", "\u2215")).fullmatch(subject) for glob in globs)


def _refused_tag(tag: str, asked: bool | tuple[str, ...], texts: tuple[str, ...]) -> str | None:
    if asked is True:
        return None if texts else f"tag {tag} is missing"
    if asked is False:
        return f"tag {tag} is there" if texts else None
    if any(fits_text(asked, text) for text in texts):
        return None
    found = " and ".join(repr(text) for text in texts) or "missing"
    return f"tag {tag} is {found}, not {' or '.join(asked)}"
