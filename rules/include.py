"""Rule files that take in others.

    include: shared/studio.yaml             # its settings, where this file has none; then its rules
    rules:
      - name: Mine
      - include: shared/voices.yaml         # its rules, here

Paths count from the file that names them, and stay within the hot folder or the folder of central
rule files, links followed. A file that takes in itself, be it through others, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rules.orders import path_to_text
from rules.variables import substituted, unknown
from rules.written import Place, Problem, RulesBroken, read_yaml

MOST: Final = 64
"""Files that one may take in, all in all."""
_NESTED: Final = ("output", "stages", "variables", "settle")
"""Settings of which an included file may fill in parts."""


@dataclass
class Merged:
    """A rule file and all that it takes in, as one."""

    data: Any
    #: Where each place is written.
    lines: dict[Place, tuple[Path, int]]
    #: The files that were taken in.
    files: list[Path] = field(default_factory=list)

    def at(self, place: Place) -> tuple[Path, int] | None:
        """File and line of a place, or of the nearest one around it."""
        ends = range(len(place), -1, -1)
        return next((self.lines[place[:n]] for n in ends if place[:n] in self.lines), None)


def read_merged(
    text: str | bytes,
    file: Path,
    read: Callable[[Path], bytes],
    within: tuple[Path, ...],
) -> Merged:
    """Read a rule file with all that it takes in, and fill in its variables.

    Args:
        text: content of `file`.
        read: gives the content of another file.
        within: folders that included files may lie in.

    Raises:
        RulesBroken: a file cannot be read, or may not be; `includes` names those that were.
    """
    reader = _Reader(read, tuple(Path(os.path.realpath(one)) for one in within))
    try:
        merged = reader.whole(text, file, (Path(os.path.realpath(file)),))
        _fill_in(merged, file)
    except RulesBroken as broken:
        broken.includes = tuple(reader.files)
        raise
    merged.files = reader.files
    return merged


def _fill_in(merged: Merged, file: Path) -> None:
    data = merged.data
    if not isinstance(data, dict) or "variables" not in data:
        return
    variables = data.pop("variables")
    if not isinstance(variables, dict) or any(isinstance(v, dict) for v in variables.values()):
        raise RulesBroken(
            [_problem(merged, file, ("variables",), "is no list of names and values")]
        )
    problems = [_problem(merged, file, place, text) for place, text in unknown(data, variables)]
    if problems:
        raise RulesBroken(problems)
    merged.data = substituted(data, variables)


def _problem(merged: Merged, file: Path, place: Place, text: str) -> Problem:
    at, line = merged.at(place) or (file, 1)
    return Problem(at, text, field=".".join(map(str, place)), line=line)


class _Reader:
    def __init__(self, read: Callable[[Path], bytes], within: tuple[Path, ...]) -> None:
        self._read, self._within = read, within
        self.files: list[Path] = []

    def whole(self, text: str | bytes, file: Path, chain: tuple[Path, ...]) -> Merged:
        """One file with all that it takes in; `chain` are the files that lead to it."""
        data, lines = read_yaml(text, file)
        merged = Merged(data, {place: (file, line) for place, line in lines.items()})
        if not isinstance(data, dict):
            return merged
        # A file that only has settings, for others to take in, needs no rules.
        written = data.get("rules", [] if len(chain) > 1 else None)
        named = data.pop("include", [])
        taken = [
            self._included(name, file, lines.get(("include",), 1), chain)
            for name in (named if isinstance(named, list) else [named])
        ]
        if isinstance(written, list):
            self._put_rules(merged, written, file, chain)
        for other in taken:
            _take_settings(merged, other)
            if isinstance(merged.data.get("rules", []), list):
                rules = merged.data.setdefault("rules", [])
                for number, rule in enumerate(other.data.get("rules", [])):
                    _copy(other, ("rules", number), merged, ("rules", len(rules)))
                    rules.append(rule)
        return merged

    def _put_rules(
        self, merged: Merged, written: list[Any], file: Path, chain: tuple[Path, ...]
    ) -> None:
        """Replace each `include` among the rules by the rules that it names."""
        own = Merged(None, {p: at for p, at in merged.lines.items() if p[:1] == ("rules",)})
        for place in [place for place in merged.lines if len(place) > 1 and place[0] == "rules"]:
            del merged.lines[place]
        rules: list[Any] = []
        for number, rule in enumerate(written):
            if not (isinstance(rule, dict) and set(rule) == {"include"}):
                _copy(own, ("rules", number), merged, ("rules", len(rules)))
                rules.append(rule)
                continue
            _, line = own.at(("rules", number)) or (file, 1)
            other = self._included(rule["include"], file, line, chain)
            known = merged.data.setdefault("variables", {})
            for name, value in (other.data.get("variables") or {}).items():
                known.setdefault(name, value)
            for inner, taken in enumerate(other.data.get("rules", [])):
                _copy(other, ("rules", inner), merged, ("rules", len(rules)))
                rules.append(taken)
        if not merged.data.get("variables", True):
            del merged.data["variables"]
        merged.data["rules"] = rules

    def _included(self, name: Any, file: Path, line: int, chain: tuple[Path, ...]) -> Merged:
        def refused(text: str) -> RulesBroken:
            return RulesBroken([Problem(file, text, field="include", line=line)])

        if not isinstance(name, str) or not name or "\0" in name:
            raise refused(f"{name!r} is not the path of a rule file")
        path = Path(os.path.normpath(file.parent / name))
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(root) for root in self._within):
            where = " or ".join(map(path_to_text, self._within))
            raise refused(f"{name!r} lies outside of {where}")
        if real in chain:
            circle = " > ".join(one.name for one in (*chain[chain.index(real) :], real))
            raise refused(f"{name!r} takes in itself: {circle}")
        # Noted before it is read: when it is mended or appears, all is read again.
        self.files.append(path)
        if len(self.files) > MOST:
            raise refused(f"more than {MOST} files are taken in")
        try:
            text = self._read(path)
        except OSError as wrong:
            raise refused(f"{name!r} cannot be read: {wrong.strerror or wrong}") from None
        merged = self.whole(text, path, (*chain, real))
        if not isinstance(merged.data, dict):
            raise RulesBroken([Problem(path, "has neither settings nor a `rules:` list")])
        if "folder" in merged.data:
            _, at = merged.at(("folder",)) or (path, 1)
            said = "a file that others take in is about no folder of its own"
            raise RulesBroken([Problem(path, said, field="folder", line=at)])
        return merged


def _take_settings(merged: Merged, other: Merged) -> None:
    """What this file leaves open is as in the included one."""
    mine: dict[str, Any] = merged.data
    for key, value in other.data.items():
        if key == "rules":
            continue
        if key not in mine:
            mine[key] = value
            _copy(other, (key,), merged, (key,))
        elif key in _NESTED and isinstance(value, dict) and isinstance(mine[key], dict):
            for inner in value.keys() - mine[key].keys():
                mine[key][inner] = value[inner]
                _copy(other, (key, inner), merged, (key, inner))


def _copy(source: Merged, at: Place, target: Merged, to: Place) -> None:
    for place, line in source.lines.items():
        if place[: len(at)] == at:
            target.lines[(*to, *place[len(at) :])] = line
