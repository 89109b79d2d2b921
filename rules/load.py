"""Reads rule files: every one is checked whole, and every fault is told, with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from handlers.codecs.formats import Encoding, encoding
from handlers.declare import Operation, field_path
from handlers.errors import AudiollaError, BadParameter
from rules.include import Merged, read_merged
from rules.model import (
    INPUT,
    Delivered,
    DeliverText,
    FolderRules,
    FolderText,
    Output,
    OutputText,
    Rule,
    RuleText,
    Stages,
)
from rules.names import FILE_FIELDS, check_fields, check_template
from rules.orders import StepOrder
from rules.owners import ids_of
from rules.recordkeeping import check_done, split_template
from rules.sets import member_named
from rules.steps import StepReader, Steps, Surroundings, joined
from rules.written import Place, Problem, RulesBroken

__all__ = ["Surroundings", "check_rules", "load_rules"]


def load_rules(text: str | bytes, file: Path, around: Surroundings) -> FolderRules:
    """Check a rule file.

    Args:
        text: its content.
        file: its path, for messages and for relative paths.
        around: what paths count from.

    Raises:
        RulesBroken: with every fault that was found.
    """
    within = tuple(root for root in (around.folder, *around.shared) if root is not None)
    merged = read_merged(text, file, around.read, within)
    try:
        return _Loader(file, around, merged).load(merged.data)
    except RulesBroken as broken:
        broken.includes = tuple(merged.files)
        raise


def check_rules(
    data: Any, file: Path, around: Surroundings, lines: Mapping[Place, int]
) -> FolderRules:
    """Check the value of a rule file; `lines` are those of its places.

    Raises:
        RulesBroken: with every fault that was found.
    """
    places = {place: (file, line) for place, line in lines.items()}
    return _Loader(file, around, Merged(data, places)).load(data)


# -- checking --------------------------------------------------------------------------------
class _Loader:
    """Collects faults while it builds what the file means."""

    def __init__(self, file: Path, around: Surroundings, merged: Merged) -> None:
        self._file = file
        self._around = around
        self._merged = merged
        self._problems: list[Problem] = []
        self._steps = StepReader(self._file_of, around, self._problem)
        self._rule: str | None = None

    def load(self, data: Any) -> FolderRules:
        written = self._read(data)
        self._steps.set = written.set
        self._steps.named = written.tickets is not None or written.sidecars != "ignore"
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
        self._check_notify(written)
        if self._problems:
            raise RulesBroken(self._problems)
        outputs = {output.folder for rule in rules for output in rule.outputs}
        return FolderRules(
            name=root.name,
            file=self._file,
            root=root,
            stages=stages,
            recurse=written.recurse,
            no_match=written.no_match,
            match_all=written.match_all,
            settle=written.settle,
            priority=written.priority,
            weight=float(written.weight),
            limit=written.limit,
            retries=written.retries,
            budget=written.budget,
            only=written.only,
            hold=_hold(written.hold),
            rules=rules,
            notify=tuple(written.notify),
            summary=written.summary,
            includes=tuple(self._merged.files),
            reserved=frozenset(
                {*stages.reserved, *outputs, *self._steps.sounds, *self._merged.files} - {root}
            ),
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
        file, line = self._merged.at(place) or (self._file, None)
        self._problems.append(
            Problem(file, text, self._rule, None if step is None else step + 1, op, field, line)
        )

    def _file_of(self, place: Place) -> Path:
        """The file in which a place is written: paths there count from it."""
        found = self._merged.at(place)
        return self._file if found is None else found[0]

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
        return joined(self._around.folders, written.folder)

    def _check_notify(self, written: FolderText) -> None:
        for number, one in enumerate(written.notify):
            for name, why in (
                ("command", self._around.no_commands),
                ("email", self._around.no_mail),
            ):
                if getattr(one, name) is not None and why:
                    self._problem(why, ("notify", number), field=f"notify[{number}].{name}")

    def _stages(self, written: FolderText, root: Path) -> Stages:
        names = written.stages.model_dump()
        names["done"], below = split_template(names["done"])
        try:
            check_done(below)
        except AudiollaError as wrong:
            self._problem(wrong.detail, ("stages", "done"), field="stages.done")
        paths = {name: joined(root, text) for name, text in names.items()}
        for name, path in paths.items():
            clash = next((n for n, p in paths.items() if n != name and p == path), None)
            if clash is not None or path == root or path in root.parents:
                other = clash or "the inbox"
                self._problem(
                    f"{names[name]!r} is the folder of {other}, too",
                    ("stages", name),
                    field=f"stages.{name}",
                )
        return Stages(**paths, done_below=below)

    def _rule_of(
        self, number: int, written: RuleText, folder: FolderText, stages: Stages, root: Path
    ) -> Rule:
        self._rule = written.name or str(number + 1)
        place: Place = ("rules", number)
        shared = self._steps.read(written.steps, place)
        takes_sound = not shared.ops or shared.ops[0].sound is not None
        if shared.whole:
            self._check_chain(shared, place)
        home = _Home(stages, root, folder.output)
        output = self._output(written.output, home, shared.ops, place)
        deliver = tuple(
            self._delivered(name, one or DeliverText(), shared, written, home, place)
            for name, one in written.deliver.items()
        )
        self._check_names(deliver, place)
        self._check_conditions("when", written.when, place)
        self._check_conditions("ensure", written.ensure, place)
        if not deliver:
            self._check_can_be_heard(output, written.ensure, place)
        return Rule(
            name=self._rule,
            match=written.match,
            steps=tuple(shared.orders),
            # What several deliveries share is none itself.
            output=replace(output, sound=False) if deliver else output,
            measure=folder.measure if written.measure is None else written.measure,
            takes_sound=takes_sound,
            records=written.records(folder),
            deliver=deliver,
            when=written.when,
            ensure=written.ensure,
        )

    def _check_conditions(self, what: str, conditions: Mapping[str, Any], place: Place) -> None:
        if not conditions:
            return
        from rules.measures import check_conditions, ensurable, measured

        known = measured() if what == "when" else ensurable()
        for name, text in check_conditions(conditions, known):
            self._problem(text, (*place, what, name), field=f"{what}.{name}")

    def _delivered(
        self,
        name: str,
        written: DeliverText,
        shared: Steps,
        of: RuleText,
        home: _Home,
        rule: Place,
    ) -> Delivered:
        place: Place = (*rule, "deliver", name)
        own = self._steps.read(written.steps, place)
        if own.whole and shared.whole:
            self._check_chain(own, place, after=shared)
        output = self._output(
            written.output,
            replace(home, output=_inherited(home.output, of.output)),
            [*shared.ops, *own.ops],
            place,
        )
        if written.output.reports is None and own.ops and all(o.kind == "json" for o in own.ops):
            # A delivery that only measures is there for its report.
            output = replace(output, reports=True)
        self._check_conditions("ensure", written.ensure, place)
        ensure = {**of.ensure, **written.ensure}
        self._check_can_be_heard(output, ensure, place)
        return Delivered(name, tuple(own.orders), output, ensure)

    def _check_can_be_heard(self, output: Output, ensure: Mapping[str, Any], place: Place) -> None:
        """What is ensured is decoded again, and raw samples do not say what they are."""
        if ensure and output.encoding.format == "pcm":
            self._problem(
                "results without a header (format: pcm) cannot be decoded again, so nothing can "
                "be ensured of them; deliver wav beside it, and ensure that",
                (*place, "ensure"),
                field="ensure",
            )

    def _check_names(self, deliver: tuple[Delivered, ...], place: Place) -> None:
        """Two sounds that would always have the same name are a slip."""
        seen: dict[tuple[Path, str, str], str] = {}
        for one in deliver:
            if one.steps and not _may_give_sound(one.steps):
                continue
            output = one.output
            key = (output.folder, output.name, output.encoding.target.ext)
            other = seen.setdefault(key, one.name)
            if other != one.name and "{delivery}" not in output.name:
                self._problem(
                    f"has the same name and folder as {other}: give one of them another, "
                    'like name: "{stem} {delivery}.{ext}"',
                    (*place, "deliver", one.name),
                    field=f"deliver.{one.name}.output.name",
                )

    def _check_chain(self, steps: Steps, place: Place, after: Steps | None = None) -> None:
        # Imported here: it brings the artifacts along, which a mere model does not need.
        from handlers.chain import check_order

        ops = [*(after.ops if after else ()), *steps.ops]
        orders = [*(after.orders if after else ()), *steps.orders]
        before = len(after.ops) if after else 0
        try:
            kinds = [op.kind_for(s.params) for op, s in zip(ops, orders, strict=True)]
            check_order(ops, kinds)
            if after is not None and not steps.ops and kinds and kinds[-1] == "zip":
                self._problem("needs one sound; the rule's steps give several", place)
        except AudiollaError as wrong:
            at = (wrong.step or 0) - before
            if at < 0:
                return  # told already, where those steps are written
            index = steps.origin[at]
            self._problem(wrong.detail, (*place, "steps", index), step=index, op=wrong.op)
        begins = bool(ops) and ops[0].sound is None and after is None
        if not self._around.drops:
            if not begins and after is None:
                self._problem("has no sound to begin with: name some files", place)
        elif begins:
            items = [item.sound.path for entries in orders[0].items.values() for item in entries]
            if Path(INPUT) not in items and not any(member_named(str(path)) for path in items):
                self._problem(
                    f'does not use the file that was dropped: give it as file: "{INPUT}"',
                    (*place, "steps", 0),
                    step=0,
                    op=ops[0].name,
                )

    # -- output --------------------------------------------------------------------------------
    def _output(
        self,
        written: OutputText,
        home: _Home,
        ops: list[Operation],
        place: Place,
    ) -> Output:
        root, stages = home.root, home.stages
        asked = _inherited(home.output, written).model_dump(exclude_none=True)
        target = joined(root, asked["folder"]) if "folder" in asked else stages.out
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
            tags=self._tags(asked.get("tags", "keep"), known, place),
            mode=int(asked["mode"], 8) if "mode" in asked else None,
            owner=self._owner(asked.get("owner"), place),
        )

    def _tags(self, asked: Any, known: set[str], place: Place) -> Any:
        if isinstance(asked, str):
            return asked
        tags: dict[str, tuple[str, ...]] = {}
        for tag, value in asked.items():
            texts = [] if value is None else value if isinstance(value, list) else [value]
            for text in texts:
                try:
                    check_fields(text, known, field=f"output.tags.{tag}")
                except AudiollaError as wrong:
                    where = (*place, "output", "tags", tag)
                    self._problem(wrong.detail, where, field=f"output.tags.{tag}")
            tags[tag.lower()] = tuple(texts)
        return tags

    def _owner(self, asked: str | None, place: Place) -> str | None:
        if asked is not None:
            try:
                ids_of(asked)
            except BadParameter as wrong:
                self._problem(wrong.detail, (*place, "output", "owner"), field="output.owner")
        return asked

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


def _hold(written: bool | float) -> float | None:
    if isinstance(written, bool):
        return float("inf") if written else None
    return written or None


@dataclass(frozen=True)
class _Home:
    """What the outputs of a folder have in common."""

    stages: Stages
    root: Path
    #: Holds where nothing else is written.
    output: OutputText


def _inherited(outer: OutputText, inner: OutputText) -> OutputText:
    """The inner one, over what it leaves open; another format takes no depth or bitrate along."""
    taken = outer.model_dump(exclude_none=True)
    if inner.format is not None and inner.format != outer.format:
        taken = {k: v for k, v in taken.items() if k not in _OF_FORMAT}
    return OutputText(**(taken | inner.model_dump(exclude_none=True)))


def _may_give_sound(steps: Sequence[StepOrder]) -> bool:
    from handlers.registry import find

    return any(find(step.op).may_give_sound for step in steps)


_OF_FORMAT: Final = frozenset({"format", "bit_depth", "bitrate", "quality"})


def _fields_of(op: Operation) -> set[str]:
    facts = set(getattr(op.result, "model_fields", {}))
    return facts | set(op.params.model_fields)
