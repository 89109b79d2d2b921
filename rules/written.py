"""YAML that people write (rule files, presets), and how its faults are told.

The text is treated as hostile: it is small, shallow, without aliases (a few
hundred bytes of them can stand for gigabytes) and without doubled keys (of
which YAML would silently keep the last).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from rules.orders import path_to_text

MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 32
_MAX_NODES: Final = 20_000

Place = tuple[str | int, ...]
"""Where in a rule file: keys and indexes from its top."""


@dataclass(frozen=True)
class Problem:
    """One fault of a rule file."""

    file: Path
    text: str
    #: Name of the rule, or its number.
    rule: str | None = None
    #: Number of the step in the rule, from 1, and its operation.
    step: int | None = None
    op: str | None = None
    field: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        """As one line: `rules.yaml:12: rule Long takes, step 2 (eq): bands[0].freq = ...`."""
        place = path_to_text(self.file) + (f":{self.line}" if self.line else "")
        parts = []
        if self.rule is not None:
            parts.append(f"rule {self.rule}")
        if self.step is not None:
            parts.append(f"step {self.step}" + (f" ({self.op})" if self.op else ""))
        told = self.field and not self.text.startswith(self.field)
        text = f"{self.field}: {self.text}" if told else self.text
        return ": ".join([place, *([", ".join(parts)] if parts else []), text])


class RulesBroken(Exception):
    """A rule file cannot be used; `problems` has every fault."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        #: Files that were taken in before the fault was found.
        self.includes: tuple[Path, ...] = ()


def read_yaml(text: str | bytes, file: Path) -> tuple[Any, Mapping[Place, int]]:
    """The value of a file's text, and the line of every place in it.

    Raises:
        RulesBroken: it is no YAML, or YAML that is not read here.
    """
    if len(text) > MAX_BYTES:
        raise RulesBroken([Problem(file, f"is larger than {MAX_BYTES // 1024} KiB")])
    try:
        _refuse_bombs(text)
        loader = yaml.CSafeLoader(text)
        try:
            top = loader.get_single_node()
            lines: dict[Place, int] = {}
            if top is not None:
                _walk(top, (), lines)
            return (None if top is None else loader.construct_document(top)), lines
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = None if mark is None else mark.line + 1
        said = " ".join(part for part in (wrong.context, wrong.problem) if part)
        raise RulesBroken([Problem(file, _with_hint(said, text, line), line=line)]) from None
    except (yaml.YAMLError, ValueError) as wrong:
        raise RulesBroken([Problem(file, f"is not YAML: {wrong}")]) from None


def _refuse_bombs(text: str | bytes) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _bad("anchors and aliases are not read", mark)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise _bad("is nested too deeply or too long", mark)


def _bad(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _walk(node: Node, place: Place, lines: dict[Place, int]) -> None:
    """Note the line of every place, and refuse doubled keys."""
    lines[place] = node.start_mark.line + 1
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*place, index), lines)
    elif isinstance(node, MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _bad("a key is not text", key.start_mark)
            if key.value in seen:
                raise _bad(f"{key.value} is written twice", key.start_mark)
            seen.add(key.value)
            _walk(value, (*place, key.value), lines)
            lines[(*place, key.value)] = key.start_mark.line + 1


def _with_hint(said: str, text: str | bytes, line: int | None) -> str:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    written = text.splitlines()[line - 1] if line and line <= len(text.splitlines()) else ""
    if "are not read" not in said and re.search(r": [>|*%@`{]", written):
        return f'is not YAML: {said}; a value like this needs quotes: "> 60"'
    return f"is not YAML: {said}"


def step_parts(raw: Any) -> tuple[str, dict[str, Any], dict[str, Any]] | str:
    """Operation, parameters and sounds of a written step; or what is wrong with it."""
    if isinstance(raw, str):
        return raw, {}, {}
    if not isinstance(raw, dict) or not raw:
        return "a step is `op`, `op: {params}` or `{op, params}`"
    if "op" in raw:
        unknown = set(raw) - {"op", "params", "sounds"}
        if unknown:
            names = ", ".join(sorted(map(str, unknown)))
            return f"there is no {names} beside op, params and sounds"
        name, params, sounds = raw["op"], raw.get("params"), raw.get("sounds")
    elif len(raw) == 1:
        ((name, params),) = raw.items()
        sounds = None
    else:
        return f"one operation per step; this one names {', '.join(map(str, raw))}"
    if not isinstance(name, str):
        return f"{name!r} is not the name of an operation"
    for what, value in (("params", params), ("sounds", sounds)):
        if value is not None and not (
            isinstance(value, dict) and all(isinstance(key, str) for key in value)
        ):
            return f"{what} of {name} is not a mapping of names to values"
    return name, dict(params or {}), dict(sounds or {})
