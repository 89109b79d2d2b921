"""Presets: chains with a name, each a small YAML file; three of them lie beside this module.

    name: podcast-cleanup
    description: Speech, ready for a podcast.
    steps:
      - {op: deess, params: {threshold_db: -18}}
      - normalize: {target_lufs: -16}       # or as in a rule

Any door runs them by name: REST, MCP, and rules, where `preset: podcast-cleanup` is a step. One
with `variables: {target: -16}` has `$target` for a value; a rule may give others, and other
parameters of a step:

    steps:
      - preset: podcast
        with: {target: -18}
        override: {deess: {threshold_db: -24}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from handlers.declare import Operation, field_path
from handlers.errors import AudiollaError, BadParameter
from rules.variables import substituted, unknown
from rules.written import Place, Problem, RulesBroken, read_yaml, step_parts

MAX_STEPS = 64


@dataclass(frozen=True)
class PresetStep:
    """One step as it was written; its parameters are checked when it is used."""

    op: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A chain with a name."""

    name: str
    description: str
    #: With the variables' own values.
    steps: tuple[PresetStep, ...]
    #: Values by name, and the steps as they are written.
    variables: Mapping[str, Any] = field(default_factory=dict)
    written: tuple[PresetStep, ...] = field(default=(), compare=False)

    def with_values(self, values: Any, override: Any = None) -> tuple[PresetStep, ...]:
        """The steps with other values of its variables, and other parameters.

        Args:
            values: variable to value.
            override: operation (or number of a step, from 1) to parameters.

        Raises:
            BadParameter: there is no such variable or step.
        """
        for what, given in (("with", values), ("override", override or {})):
            if not isinstance(given, Mapping):
                raise BadParameter(f"{what} is no mapping of names to values", field=what)
        for name in values:
            if name not in self.variables:
                known = ", ".join(self.variables) or "none"
                raise BadParameter(
                    f"{self.name} has no variable {name}; it has: {known}", field=f"with.{name}"
                )
        filled = {**self.variables, **values}
        steps = [
            PresetStep(s.op, substituted(dict(s.params), filled))
            for s in self.written or self.steps
        ]
        for key, params in (override or {}).items():
            self._override(steps, key, params)
        return tuple(steps)

    def _override(self, steps: list[PresetStep], key: Any, params: Any) -> None:
        at = [n for n, step in enumerate(steps) if key in (step.op, n + 1)]
        where = f"override.{key}"
        if len(at) != 1:
            ops = ", ".join(f"{n}: {step.op}" for n, step in enumerate(steps, 1))
            why = "several steps" if at else "no step"
            raise BadParameter(f"{self.name} has {why} {key!r}; it has: {ops}", field=where)
        if not isinstance(params, Mapping):
            raise BadParameter(f"{where} is no mapping of parameters to values", field=where)
        old = steps[at[0]]
        steps[at[0]] = PresetStep(old.op, {**old.params, **params})


#: A name is a segment of a route and the stem of a file.
_Name = Annotated[str, StringConstraints(pattern=r"^[^\s/\\\x00-\x1f][^/\\\x00-\x1f\x7f]{0,99}$")]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: _Name
    description: str = Field("", max_length=1000)
    variables: dict[str, str | int | float | bool | list[Any]] = {}
    steps: list[Any] = Field(min_length=1, max_length=MAX_STEPS)


def load_preset(text: str | bytes, file: Path) -> Preset:
    """Read one preset's file.

    Operations and parameters are not looked at (`faults` does that): a preset
    for a plugin or an engine that is not here is still a preset.

    Raises:
        RulesBroken: with every fault of its form.
    """
    data, lines = read_yaml(text, file)
    if not isinstance(data, dict):
        raise RulesBroken([Problem(file, "is no mapping with name, description and steps")])
    problems: list[Problem] = []

    def fault(said: str, place: Place, **more: Any) -> None:
        line = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), 1)
        problems.append(Problem(file, said, line=line, **more))

    try:
        written = _Written.model_validate(data)
    except ValidationError as wrong:
        for error in wrong.errors():
            fault(error["msg"], tuple(error["loc"]), field=field_path(error["loc"]))
        raise RulesBroken(problems) from None
    steps: list[PresetStep] = []
    for index, raw in enumerate(written.steps):
        taken = step_parts(raw)
        if isinstance(taken, str):
            fault(taken, ("steps", index), step=index + 1)
        elif taken[2]:
            fault("a preset has no further sounds", ("steps", index), step=index + 1, op=taken[0])
        else:
            steps.append(PresetStep(taken[0], taken[1]))
    if problems:
        raise RulesBroken(problems)
    variables = written.variables
    for index, step in enumerate(steps):
        # Without variables a dollar is a dollar.
        for _, said in unknown(dict(step.params), variables) if variables else ():
            fault(said, ("steps", index), step=index + 1, op=step.op)
    if problems:
        raise RulesBroken(problems)
    own = tuple(PresetStep(s.op, substituted(dict(s.params), variables)) for s in steps)
    return Preset(written.name, written.description, own, variables, tuple(steps))


def as_written(preset: Preset) -> dict[str, Any]:
    """A preset as plain data, as its file has it."""
    steps = [{"op": step.op, "params": dict(step.params)} for step in preset.steps]
    return {"name": preset.name, "description": preset.description, "steps": steps}


@cache
def shipped() -> tuple[Preset, ...]:
    """The presets that come with the program."""
    files = sorted(Path(__file__).parent.glob("*.yaml"))
    return tuple(load_preset(file.read_bytes(), file) for file in files)


def first_of_each_name(presets: Iterable[Preset]) -> list[Preset]:
    """Sorted by name; of two with the same name, the one that comes first."""
    found: dict[str, Preset] = {}
    for preset in presets:
        found.setdefault(preset.name, preset)
    return [found[name] for name in sorted(found)]


def chained(name: str) -> Operation:
    """The operation of this name, for a chain that a client puts together.

    Raises:
        BadParameter: there is none, or it is none for chains of one sound.
    """
    from handlers.registry import operations

    op = operations().get(name)
    if op is None or not op.pipeline:
        known = ", ".join(sorted(o.name for o in operations().values() if o.pipeline))
        why = "unknown op" if op is None else "unknown op in a chain"
        raise BadParameter(f"{why} {name!r}; known are: {known}", field="op")
    return op


def faults(preset: Preset) -> list[str]:
    """What keeps its steps from running here, a sentence each."""
    found = []
    for index, step in enumerate(preset.steps):
        try:
            chained(step.op).read_params(step.params, strict=True)
        except AudiollaError as wrong:
            found.append(f"step {index} ({step.op}): {wrong.detail}")
    return found
