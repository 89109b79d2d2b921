"""Reads the steps of a rule: operations, their parameters, and their further sounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from handlers.declare import Operation, field_path
from handlers.errors import AudiollaError, BadParameter
from rules.model import INPUT, STAGED
from rules.orders import ItemRef, SoundRef, StepOrder, path_to_text
from rules.presets import Preset
from rules.sets import ALL, SetText, member_named
from rules.written import Place, step_parts


@dataclass(frozen=True)
class Surroundings:
    """What a rule file's paths count from."""

    #: The hot folder that the file lies in; None for a central file, which names its own.
    folder: Path | None = None
    #: Where a central file's relative `folder` counts from.
    folders: Path = Path()
    #: Root of the staging area.
    staging: Path | None = None
    #: Finds a preset by its name.
    preset: Callable[[str], Preset | None] = lambda _: None
    #: A file comes with each run; False for a chain that begins by itself.
    drops: bool = True
    #: Folders, beside the hot folder, that included files may lie in, and how those are read.
    shared: tuple[Path, ...] = ()
    read: Callable[[Path], bytes] = Path.read_bytes
    #: Whether a further sound is there; asked at load, so that a typo does not wait for a file.
    is_file: Callable[[Path], bool] = os.path.isfile
    #: Why a rule file may not have commands run, or mails sent; empty where it may.
    no_commands: str = ""
    no_mail: str = ""


class Tell(Protocol):
    """Takes note of one fault."""

    def __call__(
        self,
        text: str,
        place: Place,
        *,
        step: int | None = None,
        op: str | None = None,
        field: str | None = None,
    ) -> None:
        """`step` counts from 0."""


_ONLY_IN_A_LIST = f"{{input:{ALL}}} is all members, and can only stand in a list"


@dataclass
class Steps:
    """One list of steps, read."""

    ops: list[Operation] = field(default_factory=list)
    orders: list[StepOrder] = field(default_factory=list)
    #: Where each step is written; a preset's are all written in one place.
    origin: list[int] = field(default_factory=list)
    #: Every step could be read.
    whole: bool = True


class StepReader:
    """Reads steps, and tells what is wrong with them."""

    def __init__(self, file_of: Callable[[Place], Path], around: Surroundings, tell: Tell) -> None:
        """Paths of further sounds count from the file in which they are written."""
        self._file_of = file_of
        self._around = around
        self._tell = tell
        self._faults = 0
        #: What files of the folder make a set.
        self.set: SetText | None = None
        #: Tickets or sidecars may name further sounds.
        self.named = False
        #: Files beside the rules that steps name.
        self.sounds: set[Path] = set()

    def read(self, written: Sequence[Any], place: Place) -> Steps:
        """The steps of the rule or delivery that is written at `place`."""
        steps = Steps()
        for index, raw in enumerate(written):
            unfolded = self._unfolded(raw, index, place)
            steps.whole = steps.whole and unfolded is not None
            for single in unfolded or ():
                found = self._step(single, index, place)
                if found is None:
                    steps.whole = False
                else:
                    steps.ops.append(found[0])
                    steps.orders.append(found[1])
                    steps.origin.append(index)
        return steps

    def _unfolded(self, raw: Any, index: int, place: Place) -> list[Any] | None:
        """The steps that a written one stands for: those of a preset, or itself."""
        if not isinstance(raw, dict) or "preset" not in raw:
            return [raw]
        where: Place = (*place, "steps", index)
        if odd := ", ".join(map(str, set(raw) - {"preset", "with", "override"})):
            self._problem(f"there is no {odd} beside preset, with and override", where, step=index)
            return None
        name = raw["preset"]
        found = self._around.preset(name) if isinstance(name, str) else None
        if found is None:
            self._problem(f"there is no preset {name!r}", where, step=index)
            return None
        try:
            steps = found.with_values(raw.get("with") or {}, raw.get("override") or {})
        except BadParameter as wrong:
            self._problem(wrong.detail, where, step=index, field=wrong.field)
            return None
        return [{"op": step.op, "params": dict(step.params)} for step in steps]

    def _step(self, raw: Any, index: int, place: Place) -> tuple[Operation, StepOrder] | None:
        from handlers.registry import find

        where: Place = (*place, "steps", index)
        taken = step_parts(raw)
        if isinstance(taken, str):
            self._problem(taken, where, step=index)
            return None
        name, params, sounds = taken
        try:
            op = find(name)
        except AudiollaError as wrong:
            self._problem(wrong.detail, where, step=index, op=name)
            return None
        inputs = {i.name: i for i in op.inputs if i is not op.sound and not i.named}
        given = {key: params.pop(key) for key in list(params) if key in inputs} | sounds
        before = self._faults
        refs: dict[str, SoundRef] = {}
        items: dict[str, list[ItemRef]] = {}
        for key, value in given.items():
            field = f"{key}"
            if key not in inputs:
                known = ", ".join(inputs) or "none"
                self._problem(
                    f"{name} has no sound {key}; it has: {known}",
                    where,
                    step=index,
                    op=name,
                    field=field,
                )
            elif inputs[key].item is not None:
                items[key] = self._items(op, key, value, where, index)
            else:
                ref = self._sound(value, where, index, name, field)
                if ref is not None:
                    refs[key] = ref
        for key, declared in inputs.items():
            if declared.required and key not in given:
                self._problem(f"{key} is required", where, step=index, op=name, field=key)
        checked: dict[str, Any] = {}
        try:
            read = op.read_params(params, strict=True)
            checked = read.model_dump(mode="json", exclude_unset=True)
            for key, names in op.sounds_named(read).items():
                found = [(text, self._sound(text, where, index, name, key)) for text in names]
                items[key] = [
                    ItemRef(sound=ref, settings={"name": text}) for text, ref in found if ref
                ]
        except AudiollaError as wrong:
            self._problem(wrong.detail, where, step=index, op=name, field=wrong.field)
        if self._faults > before:
            return None
        return op, StepOrder(op=name, params=checked, sounds=refs, items=items)

    def _items(
        self, op: Operation, key: str, value: Any, where: Place, index: int
    ) -> list[ItemRef]:
        model = next(i.item for i in op.inputs if i.name == key)
        if not isinstance(value, list) or not value or model is None:
            self._problem(
                'takes a list like [{file: "{input}"}, {file: bed.wav}]',
                where,
                step=index,
                op=op.name,
                field=key,
            )
            return []
        refs: list[ItemRef] = []
        for number, entry in enumerate(value):
            field = f"{key}[{number}]"
            settings = dict(entry) if isinstance(entry, dict) else {"file": entry}
            ref = self._sound(settings.pop("file", None), where, index, op.name, f"{field}.file")
            try:
                model.model_validate(settings, strict=True)
            except ValidationError as wrong:
                for error in wrong.errors():
                    inner = f"{field}.{field_path(error['loc'])}".rstrip(".")
                    self._problem(error["msg"], where, step=index, op=op.name, field=inner)
            if ref is not None:
                refs.append(ItemRef(sound=ref, settings=settings))
        return refs

    def _sound(self, value: Any, where: Place, index: int, op: str, field: str) -> SoundRef | None:
        def refuse(text: str) -> None:
            self._problem(text, where, step=index, op=op, field=field)

        if not isinstance(value, str) or not value or "\0" in value:
            refuse("is not a path of a sound")
            return None
        if value == INPUT:
            if field.endswith(".file"):
                return SoundRef(path=Path(INPUT), name=INPUT)
            refuse(f"{INPUT} flows through the chain already; it can only stand in a list")
            return None
        member = member_named(value)
        if member is not None:
            refusal = self._member_refused(member, field)
            if refusal:
                refuse(refusal)
            return SoundRef(path=Path(value), name=member)
        if value.startswith(STAGED):
            if self._around.staging is None or ".." in Path(value).parts:
                refuse(f"{value!r} is not a path of the staging area")
                return None
            path = self._around.staging / value.removeprefix(STAGED).lstrip("/")
        else:
            path = joined(self._file_of(where).parent, value)
            self.sounds.add(path)
            if not self._around.is_file(path):
                refuse(f"there is no file {path_to_text(path)}")
                return None
        return SoundRef(path=path, name=path.name)

    def _member_refused(self, name: str, field: str) -> str:
        """Why a member of a set cannot be used here; empty if it can."""
        if self.set is None and self.named:
            return "" if name != ALL or field.endswith(".file") else _ONLY_IN_A_LIST
        if self.set is None:
            return (
                f"{{input:{name}}} is a member of a set, or a sound that a ticket or a sidecar "
                "names, and this folder has no `set:`, no `tickets:` and no `sidecars:`"
            )
        if name == ALL and not field.endswith(".file"):
            return _ONLY_IN_A_LIST
        try:
            self.set.check_member(name)
        except ValueError as wrong:
            return str(wrong)
        return ""

    def _problem(self, text: str, place: Place, **more: Any) -> None:
        self._faults += 1
        self._tell(text, place, **more)


def joined(base: Path, text: str) -> Path:
    """A path from a rule file; `~` is nobody's home here, and `..` is resolved by text."""
    return Path(os.path.normpath(base / text))
