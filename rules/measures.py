"""Conditions on what can be measured in a sound: loudness, tempo, key, share of speech, ...

    when: {lufs: "> -20", speech_ratio: "> 50%", bpm: 120..130, key: ["A minor", "C*"]}

What has a name here is computed from the operations' declarations: a field of a report that is
marked with `Measures` can be asked for. In a rule's `when` it is measured in the dropped file, in
`ensure` in the encoded result, decoded back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, get_args

from handlers.units import Unit
from rules.match import Range, fits_text, number_text, read_amount

Kind = Literal["number", "count", "text", "yes or no"]
Conditions = Mapping[str, Any]
"""Names to conditions as they are written."""


@dataclass(frozen=True)
class Measure:
    """Something that rules can ask for by its name."""

    name: str
    kind: Kind
    unit: str = ""
    #: The operation that tells it, with which parameters, in which field; none for the header.
    op: str = ""
    params: Mapping[str, Any] | None = None
    field: str = ""


_OF_LEVEL: Final = ("LUFS", "dBFS", "dBTP")
_OF_FILE: Final = (
    Measure("duration", "number", "s"),
    Measure("channels", "count"),
    Measure("sample_rate", "count", "Hz"),
    Measure("size", "count", "bytes"),
)
_TIMES = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_UNITS: Mapping[str, Mapping[str, float]] = {
    "s": _TIMES,
    "Hz": {"hz": 1.0, "khz": 1e3, "k": 1e3},
    "bytes": {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20},
}


@cache
def measured() -> Mapping[str, Measure]:
    """Everything that an operation measures, by name."""
    from handlers.registry import operations

    found: dict[str, Measure] = {}
    for op in operations().values():
        for field, marker in op.measures.items():
            kind, unit = _kind_of(op.result.model_fields[field])
            found[marker.name] = Measure(marker.name, kind, unit, op.name, marker.params, field)
    return dict(sorted(found.items()))


def ensurable() -> Mapping[str, Measure]:
    """Everything that can be asked of a result: what is measured, and what its header says."""
    return {one.name: one for one in _OF_FILE} | dict(measured())


def _kind_of(info: Any) -> tuple[Kind, str]:
    texts: list[Any] = [info.annotation, *info.metadata]
    types: set[Any] = set()
    unit = ""
    while texts:
        part = texts.pop()
        if isinstance(part, Unit):
            unit = part.symbol
        elif isinstance(part, type):
            types.add(part)
        texts.extend(get_args(part))
        texts.extend(getattr(part, "__metadata__", ()))
    if bool in types:
        return "yes or no", unit
    if str in types:
        return "text", unit
    return ("number" if float in types else "count"), unit


def check_conditions(conditions: Conditions, known: Mapping[str, Measure]) -> list[tuple[str, str]]:
    """What is wrong with written conditions: name and sentence, for each that cannot be used."""
    wrong: list[tuple[str, str]] = []
    for name, value in conditions.items():
        if name not in known:
            wrong.append((name, f"nothing measures that; known are: {', '.join(known)}"))
            continue
        try:
            _read(known[name], value)
        except ValueError as refused:
            wrong.append((name, str(refused)))
    return wrong


def refused_by_measures(
    conditions: Conditions, found: Mapping[str, Any], known: Mapping[str, Measure]
) -> list[str]:
    """Each condition that does not hold, in words, with the value that was found."""
    refusals = (_refused(known[name], value, found.get(name)) for name, value in conditions.items())
    return [refusal for refusal in refusals if refusal]


def _refused(measure: Measure, written: Any, value: Any) -> str | None:
    wanted = _read(measure, written)
    unit = f" {measure.unit}" if measure.unit else ""
    if value is None and measure.unit in _OF_LEVEL and isinstance(wanted, Range):
        # Silence has no level: it is below every one.
        value = -math.inf
    if value is None:
        return f"{measure.name} has no value in this sound, not {_shown(wanted)}{unit}"
    if isinstance(wanted, Range):
        if value in wanted:
            return None
        told = number_text(round(float(value), 3)) if math.isfinite(value) else "that of silence,"
        return f"{measure.name} is {told}{unit}, not {_shown(wanted)}{unit}"
    if isinstance(wanted, bool):
        said = {True: "true", False: "false"}
        return None if value is wanted else f"{measure.name} is {said[not wanted]}"
    return (
        None
        if fits_text(wanted, str(value))
        else f"{measure.name} is {value}, not {_shown(wanted)}"
    )


def _shown(wanted: Range | bool | tuple[str, ...]) -> str:
    return " or ".join(wanted) if isinstance(wanted, tuple) else str(wanted)


def _read(measure: Measure, value: Any) -> Range | bool | tuple[str, ...]:
    if measure.kind == "yes or no":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value
    if measure.kind == "text":
        texts = value if isinstance(value, list) else [value]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f'{value!r} is no text (or list of texts) like "A*"')
        return tuple(texts)
    return read_signed_range(value, measure)


def read_signed_range(value: Any, measure: Measure) -> Range:
    """A range that may lie below zero: `> -20`, `-16.5..-15.5`, `<= -1 dBTP`, `> 50%`.

    Raises:
        ValueError: it is none, or a measured number that no sound would hit exactly.
    """
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    if isinstance(value, bool) or not text:
        raise ValueError(f'{value!r} is no range: write "> 60", "<= 60" or "10..120"')
    if ".." in text:
        low, _, high = text.partition("..")
        found = Range(_amount(low, measure), _amount(high, measure))
        if found.low > found.high:
            raise ValueError(f"{value!r} holds nothing: its lower end is above its upper one")
        return found
    sign = re.match(r"[<>]=?|=", text)
    number = _amount(text[sign.end() :] if sign else text, measure)
    if sign is None or sign.group() == "=":
        if measure.kind == "number" and number != 0:
            raise ValueError(
                f"no measured {measure.name} is exactly {text}: write a range like "
                f'"{number_text(number - 1)}..{number_text(number + 1)}"'
            )
        return Range(number, number)
    is_open = not sign.group().endswith("=")
    if sign.group().startswith(">"):
        return Range(low=number, low_open=is_open)
    return Range(high=number, high_open=is_open)


def _amount(text: str, measure: Measure) -> float:
    bare = text.strip()
    if measure.unit in _UNITS:
        return read_amount(bare, _UNITS[measure.unit])
    share = bare.endswith("%") and not measure.unit and measure.kind == "number"
    if share:
        bare = bare[:-1].rstrip()
    elif measure.unit and bare.lower().endswith(measure.unit.lower()):
        bare = bare[: -len(measure.unit)].rstrip()
    try:
        number = float(bare)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        unit = f" of {measure.unit}" if measure.unit else ""
        raise ValueError(f"{text.strip()!r} is not a number{unit}")
    return number / 100 if share else number


def steps_for(names: Iterable[str]) -> list[Measure]:
    """One measure for each operation and parameters that these names need."""
    once: dict[tuple[str, str], Measure] = {}
    for name in sorted(names):
        measure = ensurable()[name]
        if measure.op:
            once.setdefault((measure.op, repr(measure.params)), measure)
    return list(once.values())
