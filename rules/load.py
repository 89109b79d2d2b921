"""Reads rule files: every one is checked whole, and every fault is told, with its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from handlers.codecs.formats import Encoding, encoding
from handlers.declare import Operation, field_path
from handlers.errors import AudiollaError
from rules.model import (
    INPUT,
    STAGED,
    FolderRules,
    FolderText,
    Output,
    OutputText,
    Rule,
    RuleText,
    Stages,
)
from rules.names import FILE_FIELDS, check_template
from rules.orders import ItemRef, SoundRef, StepOrder, path_to_text
from rules.presets import Preset
from rules.sets import ALL, SetText, member_named
from rules.written import Place, Problem, RulesBroken, read_yaml, step_parts


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
    #: Whether a further sound is there; asked at load, so that a typo does not wait for a file.
    is_file: Callable[[Path], bool] = os.path.isfile


def load_rules(text: str | bytes, file: Path, around: Surroundings) -> FolderRules:
    """Check a rule file.

    Args:
        text: its content.
        file: its path, for messages and for relative paths.
        around: what paths count from.

    Raises:
        RulesBroken: with every fault that was found.
    """
    data, lines = read_yaml(text, file)
    return check_rules(data, file, around, lines)


def check_rules(
    data: Any, file: Path, around: Surroundings, lines: Mapping[Place, int]
) -> FolderRules:
    """Check the value of a rule file; `lines` are those of its places.

    Raises:
        RulesBroken: with every fault that was found.
    """
    return _Loader(file, around, lines).load(data)


# -- checking --------------------------------------------------------------------------------
class _Loader:
    """Collects faults while it builds what the file means."""

    def __init__(self, file: Path, around: Surroundings, lines: Mapping[Place, int]) -> None:
        self._file = file
        self._around = around
        self._lines = lines
        self._problems: list[Problem] = []
        self._sounds: set[Path] = set()
        self._rule: str | None = None
        self._set: SetText | None = None

    def load(self, data: Any) -> FolderRules:
        written = self._read(data)
        self._set = written.set
        root = self._root(written)
        stages = self._stages(written, root)
        rules = tuple(
            self._rule_of(number, rule, written, stages, root)
            for number, rule in enumerate(written.rules)
        )
        self._rule = None
        for number, rule in enumerate(rules):
            if rule.name in [other.name for other in rules[:number]]:
                self._problem(f"another rule is called {rule.name!r}, too", ("rules", number))
        if self._problems:
            raise RulesBroken(self._problems)
        outputs = {rule.output.folder for rule in rules}
        return FolderRules(
            name=root.name,
            file=self._file,
            root=root,
            stages=stages,
            recurse=written.recurse,
            no_match=written.no_match,
            settle=written.settle,
            priority=written.priority,
            weight=float(written.weight),
            limit=written.limit,
            rules=rules,
            reserved=frozenset({*stages.all, *outputs, *self._sounds} - {root}),
            taking=written.taking(),
        )

    def _problem(
        self,
        text: str,
        place: Place,
        *,
        step: int | None = None,
        op: str | None = None,
        field: str | None = None,
    ) -> None:
        line = next(
            (self._lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self._lines),
            None,
        )
        self._problems.append(
            Problem(
                self._file, text, self._rule, None if step is None else step + 1, op, field, line
            )
        )

    def _read(self, data: Any) -> FolderText:
        if not isinstance(data, dict):
            raise RulesBroken([Problem(self._file, "has no `rules:` list at its top")])
        try:
            return FolderText.model_validate(data)
        except ValidationError as wrong:
            for error in wrong.errors():
                self._schema_problem(data, error)
            raise RulesBroken(self._problems) from None

    def _schema_problem(self, data: Mapping[str, Any], error: Any) -> None:
        place: Place = tuple(error["loc"])
        self._rule = None
        if len(place) > 1 and place[0] == "rules" and isinstance(place[1], int):
            written = data["rules"][place[1]]
            named = written.get("name") if isinstance(written, dict) else None
            self._rule = named if isinstance(named, str) else str(place[1] + 1)
        field = field_path(place[2:] if self._rule is not None else place)
        text = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            text = "there is no such setting"
        elif error["type"] == "missing":
            text = "is required"
        self._problem(text, place, field=field or None)

    def _root(self, written: FolderText) -> Path:
        folder = self._around.folder
        if folder is not None:
            if written.folder is not None:
                self._problem(
                    "a rules.yaml in a hot folder is about that folder", ("folder",), field="folder"
                )
            return folder
        if written.folder is None:
            self._problem("is required in a central rule file", (), field="folder")
            return self._around.folders
        return _joined(self._around.folders, written.folder)

    def _stages(self, written: FolderText, root: Path) -> Stages:
        names = written.stages.model_dump()
        paths = {name: _joined(root, text) for name, text in names.items()}
        for name, path in paths.items():
            clash = next((n for n, p in paths.items() if n != name and p == path), None)
            if clash is not None or path == root or path in root.parents:
                other = clash or "the inbox"
                self._problem(
                    f"{names[name]!r} is the folder of {other}, too",
                    ("stages", name),
                    field=f"stages.{name}",
                )
        return Stages(**paths)

    def _rule_of(
        self, number: int, written: RuleText, folder: FolderText, stages: Stages, root: Path
    ) -> Rule:
        self._rule = written.name or str(number + 1)
        place: Place = ("rules", number)
        ops: list[Operation] = []
        steps: list[StepOrder] = []
        #: Where each step is written; a preset's are all written in one place.
        origin: list[int] = []
        before = len(self._problems)
        for index, raw in enumerate(written.steps):
            for single in self._unfolded(raw, index, place):
                read = self._step(single, index, place)
                if read is not None:
                    ops.append(read[0])
                    steps.append(read[1])
                    origin.append(index)
        takes_sound = not ops or ops[0].sound is not None
        if len(self._problems) == before:
            self._check_chain(ops, steps, place, takes_sound, origin)
        return Rule(
            name=self._rule,
            match=written.match,
            steps=tuple(steps),
            output=self._output(written.output, folder.output, ops, stages, root, place),
            measure=folder.measure if written.measure is None else written.measure,
            takes_sound=takes_sound,
        )

    def _check_chain(
        self,
        ops: list[Operation],
        steps: list[StepOrder],
        place: Place,
        takes_sound: bool,
        origin: list[int],
    ) -> None:
        # Imported here: it brings the artifacts along, which a mere model does not need.
        from handlers.chain import check_order

        try:
            check_order(ops, [op.kind_for(s.params) for op, s in zip(ops, steps, strict=True)])
        except AudiollaError as wrong:
            index = origin[wrong.step or 0]
            where: Place = (*place, "steps", index)
            self._problem(wrong.detail, where, step=index, op=wrong.op)
        if not self._around.drops:
            if takes_sound:
                self._problem("has no sound to begin with: name some files", place)
        elif not takes_sound:
            items = [item.sound.path for entries in steps[0].items.values() for item in entries]
            if Path(INPUT) not in items and not any(member_named(str(path)) for path in items):
                self._problem(
                    f'does not use the file that was dropped: give it as file: "{INPUT}"',
                    (*place, "steps", 0),
                    step=0,
                    op=ops[0].name,
                )

    def _unfolded(self, raw: Any, index: int, place: Place) -> list[Any]:
        """The steps that a written one stands for: those of a preset, or itself."""
        if not isinstance(raw, dict) or set(raw) != {"preset"}:
            return [raw]
        name = raw["preset"]
        found = self._around.preset(name) if isinstance(name, str) else None
        if found is None:
            self._problem(f"there is no preset {name!r}", (*place, "steps", index), step=index)
            return []
        return [{"op": step.op, "params": dict(step.params)} for step in found.steps]

    # -- one step ------------------------------------------------------------------------------
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
        before = len(self._problems)
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
        if len(self._problems) > before:
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
            path = _joined(self._file.parent, value)
            self._sounds.add(path)
            if not self._around.is_file(path):
                refuse(f"there is no file {path_to_text(path)}")
                return None
        return SoundRef(path=path, name=path.name)

    def _member_refused(self, name: str, field: str) -> str:
        """Why a member of a set cannot be used here; empty if it can."""
        if self._set is None:
            return f"{{input:{name}}} is a member of a set, and this folder has no `set:`"
        if name == ALL and not field.endswith(".file"):
            return f"{{input:{ALL}}} is all members, and can only stand in a list"
        try:
            self._set.check_member(name)
        except ValueError as wrong:
            return str(wrong)
        return ""

    # -- output --------------------------------------------------------------------------------
    def _output(
        self,
        rule: OutputText,
        folder: OutputText,
        ops: list[Operation],
        stages: Stages,
        root: Path,
        place: Place,
    ) -> Output:
        # A rule that names another format does not inherit the depth or bitrate of the folder's.
        own_format = rule.format is not None and rule.format != folder.format
        inherited = folder.model_dump(exclude_none=True)
        if own_format:
            inherited = {k: v for k, v in inherited.items() if k not in _OF_FORMAT}
        asked = inherited | rule.model_dump(exclude_none=True)
        target = _joined(root, asked["folder"]) if "folder" in asked else stages.out
        if target == root:
            self._problem(
                "results in the inbox would be taken for input",
                (*place, "output", "folder"),
                field="output.folder",
            )
        elif "folder" in asked and target in (stages.processing, stages.done, stages.failed):
            self._problem(
                f"{asked['folder']!r} is for originals", (*place, "output"), field="output.folder"
            )
        known = {*FILE_FIELDS, *(f"{op.name}.{name}" for op in ops for name in _fields_of(op))}
        for key in ("name", "side_name"):
            if key in asked:
                try:
                    check_template(asked[key], known, field=f"output.{key}")
                except AudiollaError as wrong:
                    self._problem(wrong.detail, (*place, "output", key), field=f"output.{key}")
        return Output(
            folder=target,
            subfolders=asked.get("subfolders", True),
            name=asked.get("name", "{stem}.{ext}"),
            side_name=asked.get("side_name", "{stem}.{step}.{ext}"),
            conflict=asked.get("conflict", "number"),
            encoding=self._encoding(asked, place),
            sound=asked.get("sound"),
            reports=asked.get("reports", False),
        )

    def _encoding(self, asked: Mapping[str, Any], place: Place) -> Encoding:
        depth = asked.get("bit_depth")
        try:
            return encoding(
                asked.get("format", "wav"),
                bit_depth=None if depth is None else str(depth),
                bitrate=asked.get("bitrate"),
                quality=asked.get("quality"),
            )
        except AudiollaError as wrong:
            field = "format" if wrong.field == "output_format" else str(wrong.field)
            self._problem(wrong.detail, (*place, "output", field), field=f"output.{field}")
            return Encoding()


_OF_FORMAT: Final = frozenset({"format", "bit_depth", "bitrate", "quality"})


def _fields_of(op: Operation) -> set[str]:
    facts = set(getattr(op.result, "model_fields", {}))
    return facts | set(op.params.model_fields)


def _joined(base: Path, text: str) -> Path:
    """A path from a rule file; `~` is nobody's home here, and `..` is resolved by text."""
    return Path(os.path.normpath(base / text))
