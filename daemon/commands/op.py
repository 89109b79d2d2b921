"""`audiolla op NAME FILE...`: one operation, its flags computed from its declaration."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from control_api.fields import ENCODING, Fields, fields_of
from control_api.wire import display_name
from daemon.commands.console import progress, show_facts, show_json, size
from daemon.commands.outcome import FAILED, OK, Misused, about, complain
from daemon.commands.running import Ended, Task
from daemon.jobs import new_id
from daemon.settings import load
from handlers.codecs.formats import OUTPUT_FORMATS, Encoding, encoding
from handlers.declare import Input, Operation
from handlers.registry import operations
from handlers.units import Unit
from rules.orders import (
    Delivery,
    ItemRef,
    Order,
    SoundRef,
    StepOrder,
    named_items,
    path_from_text,
)

_PARAM, _SOUND, _ITEM = "param:", "sound:", "item:"


def configure(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Flags that hold for all operations, and those of the one that is named."""
    parser.usage = "audiolla op NAME FILE... [-o OUT] [--format FORMAT] [flags of the operation]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    named = next((a for a in arguments[arguments.index("op") + 1 :] if a in operations()), None)
    if named is None:
        lines = [f"  {op.name:<16}{op.summary}" for op in operations().values()]
        parser.epilog = "operations:\n" + "\n".join(lines)
        parser.epilog += "\n\n`audiolla op NAME --help` shows the flags of one."
    parser.add_argument("name", metavar="NAME", help="operation")
    parser.add_argument("files", metavar="FILE", nargs="*", help="sounds to work on")
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="file, or an existing folder; default beside FILE"
    )
    parser.add_argument(
        "--local", action="store_true", help="do not use the daemon, even if it runs"
    )
    if named is not None:
        _add_flags(parser, operations()[named])


def run(args: argparse.Namespace) -> int:
    """Run the operation over the files."""
    op = operations().get(args.name)
    if op is None:
        known = ", ".join(operations())
        raise Misused(f"there is no operation {args.name!r}; known are: {known}")
    settings = load(data_dir=args.data_dir)
    tasks = _tasks(op, args)
    failed = False
    from daemon.commands.choosing import runner

    names = {task.id: task.name for task in tasks}
    with progress(names, wanted=not args.json) as tell:
        for ended in runner(settings, local=args.local)(tasks, tell):
            failed = failed or not ended.ok
            _show(op, ended, as_json=args.json)
    return FAILED if failed else OK


# -- flags ---------------------------------------------------------------------------------------
def _add_flags(parser: argparse.ArgumentParser, op: Operation) -> None:
    fields = fields_of(op)
    parser.description = op.doc.partition("\n\nRaises:")[0]
    own = parser.add_argument_group(f"flags of {op.name}")
    for name, info in op.params.model_fields.items():
        aliases = [n for n in fields.params if n in _aliases(op, name) and n != name]
        flags = [f"--{n.replace('_', '-')}" for n in (name, *sorted(aliases))]
        text = _help(info)
        if _is_bool(info.annotation):
            own.add_argument(
                *flags, dest=_PARAM + name, action=argparse.BooleanOptionalAction, help=text
            )
        else:
            own.add_argument(
                *flags,
                dest=_PARAM + name,
                metavar=_metavar(info),
                action="append" if name in fields.repeatable else "store",
                help=text,
            )
    for sound in fields.sounds:
        if sound.declared is not op.sound:
            own.add_argument(
                f"--{sound.upload.replace('_', '-')}",
                dest=_SOUND + sound.declared.name,
                metavar="FILE",
                required=sound.declared.required,
                help=_escaped(sound.declared.doc),
            )
    for declared in fields.lists.values():
        assert declared.item is not None
        if op.sound is not None:
            own.add_argument(
                f"--{declared.name.replace('_', '-')}",
                dest=_SOUND + declared.name,
                metavar="FILE",
                action="append",
                help=f"{_escaped(declared.doc)} Once per file.",
            )
            continue
        for name, info in declared.item.model_fields.items():
            own.add_argument(
                f"--{name.replace('_', '-')}",
                dest=f"{_ITEM}{name}",
                metavar=_metavar(info),
                action="append",
                help=f"once per FILE, in their order: {_help(info)}",
            )
    if op.may_give_sound:
        written = parser.add_argument_group("how the result is written")
        written.add_argument(
            "--format", choices=list(OUTPUT_FORMATS), help="default: as OUT ends, else wav"
        )
        for name in ("bit_depth", "bitrate", "quality"):
            if name in fields.options:
                written.add_argument(f"--{name.replace('_', '-')}", dest=name, help=ENCODING[name])


def _aliases(op: Operation, name: str) -> Sequence[str]:
    alias = op.params.model_fields[name].validation_alias
    choices = getattr(alias, "choices", [alias])
    return [c for c in choices if isinstance(c, str)]


def _help(info: Any) -> str:
    notes_on_type = [*info.metadata, *_plain_type(info.annotation)[1]]
    unit = next((m.symbol for m in notes_on_type if isinstance(m, Unit)), "")
    bounds = [
        f"{sign} {getattr(m, attribute)}"
        for m in notes_on_type
        for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if getattr(m, attribute, None) is not None
    ]
    notes = [part for part in (unit, ", ".join(bounds)) if part]
    if info.is_required():
        notes.append("required")
    elif info.default is not None:
        notes.append(f"default {info.default}")
    return _escaped(f"{info.description or ''} [{'; '.join(notes)}]" if notes else info.description)


def _escaped(text: str | None) -> str:
    return (text or "").replace("%", "%%")


def _plain_type(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without `| None` and `Annotated`, and what was annotated."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        return annotation, tuple(notes)
    return annotation, ()


def _is_bool(annotation: Any) -> bool:
    return _plain_type(annotation)[0] is bool


def _metavar(info: Any) -> str:
    annotation = _plain_type(info.annotation)[0]
    if get_origin(annotation) is Literal:
        return "|".join(str(a) for a in get_args(annotation))
    return {int: "N", float: "X", str: "TEXT"}.get(annotation, "JSON")


# -- orders --------------------------------------------------------------------------------------
def _tasks(op: Operation, args: argparse.Namespace) -> list[Task]:
    fields = fields_of(op)
    given = vars(args)
    params = op.read_params(_params(fields, given))
    files = [_existing(name) for name in args.files]
    target = _encoding(op, given, args.output)
    further = {
        sound.declared.name: _reference(_existing(given[_SOUND + sound.declared.name]))
        for sound in fields.sounds
        if given.get(_SOUND + sound.declared.name)
    }
    step = StepOrder(
        op=op.name,
        params=params.model_dump(mode="json", exclude_unset=True),
        sounds=further,
        items=named_items(op, params, lambda name: _reference(_existing(name)))
        | {
            name: [ItemRef(sound=_reference(_existing(file))) for file in given[_SOUND + name]]
            for name in fields.lists
            if given.get(_SOUND + name)
        },
    )
    if fields.lists and op.sound is None:
        ((name, declared),) = fields.lists.items()
        items = _items(op, declared, files, given)
        step = step.model_copy(update={"items": {name: items}})
        orders = [(files[0] if files else Path(op.name), Order(steps=[step]))]
    elif op.sound is None:
        orders = [(Path.cwd() / op.name, Order(steps=[step]))]
    else:
        if not files and op.sound.required:
            raise Misused(f"{op.name} needs at least one FILE")
        orders = [(file, Order(sound=_reference(file), steps=[step])) for file in files]
    if op.kind == "json" and not op.extras:
        return [_task(op, file, order) for file, order in orders]
    return [
        _task(op, file, _delivered(op, order, file, args.output, target, many=len(orders) > 1))
        for file, order in orders
    ]


def _task(op: Operation, file: Path, order: Order) -> Task:
    lane = op.lane_for(order.steps[0].params)
    return Task(new_id(), display_name(str(file), op.name), order, lane, op.route)


def _params(fields: Fields, given: dict[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for key, value in given.items():
        if not key.startswith(_PARAM) or value is None:
            continue
        name = key.removeprefix(_PARAM)
        many = name in fields.repeatable
        raw[name] = [p for text in value for p in text.split(",") if p] if many else value
    return raw


def _items(
    op: Operation, declared: Input, files: list[Path], given: dict[str, Any]
) -> list[ItemRef]:
    assert declared.item is not None
    least = declared.at_least
    if len(files) < least:
        raise Misused(f"{op.name} needs at least {least} FILEs, not {len(files)}")
    found: list[ItemRef] = []
    for index, file in enumerate(files):
        settings: dict[str, Any] = {}
        for name in declared.item.model_fields:
            values = given.get(_ITEM + name) or []
            if len(values) > len(files):
                raise Misused(
                    f"--{name.replace('_', '-')} is given more often than there are FILEs"
                )
            if index < len(values):
                settings[name] = values[index]
        try:
            checked = declared.item.model_validate(settings)
        except ValueError as wrong:
            raise Misused(f"{file.name}: {wrong}") from None
        found.append(
            ItemRef(
                sound=_reference(file), settings=checked.model_dump(mode="json", exclude_unset=True)
            )
        )
    return found


def _existing(name: str) -> Path:
    path = Path(name).absolute()
    if not path.is_file():
        raise Misused(f"{name}: there is no such file")
    return path


def _reference(path: Path) -> SoundRef:
    return SoundRef(path=path, name=display_name(str(path), "sound"))


def _encoding(op: Operation, given: dict[str, Any], output: str | None) -> Encoding:
    if not op.may_give_sound:
        return Encoding()
    ext = Path(output).suffix.removeprefix(".").lower() if output else ""
    named = next((f.name for f in OUTPUT_FORMATS.values() if f.ext == ext), None)
    bitrate, quality = given.get("bitrate"), given.get("quality")
    try:
        return encoding(
            given.get("format") or named or "wav",
            bit_depth=given.get("bit_depth"),
            bitrate=None if bitrate is None else int(bitrate.removesuffix("k")),
            quality=None if quality is None else float(quality),
        )
    except ValueError as wrong:
        raise Misused(f"--bitrate and --quality are numbers: {wrong}") from None


def _delivered(
    op: Operation, order: Order, file: Path, output: str | None, target: Encoding, *, many: bool
) -> Order:
    beside = "{stem}.{step}.{ext}"
    if output is None:
        delivery = Delivery(
            folder=file.parent, name=f"{{stem}}.{op.name}.{{ext}}", side_name=beside
        )
    elif Path(output).is_dir() or output.endswith("/"):
        delivery = Delivery(folder=Path(output).absolute(), side_name=beside)
    elif many:
        raise Misused(f"{output} is one file, but there are several results; name a folder")
    else:
        path = Path(output).absolute()
        delivery = Delivery(folder=path.parent, name=path.name, exact=True, conflict="replace")
    bundle = op.kind_for(order.steps[0].params) == "zip" and delivery.exact
    how: dict[str, Any] = {"encoding": target, "bundle": bundle}
    if op.kind == "json":
        how["sound"] = "changed"
    delivery = delivery.model_copy(update=how)
    names = {"name": file.name} if order.sound is None else {}
    return order.model_copy(update={"delivery": delivery, "names": names})


# -- telling -------------------------------------------------------------------------------------
def _show(op: Operation, ended: Ended, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"file": ended.task.name, "op": op.name, "ok": ended.ok}
        told |= ended.result or {"error": ended.error}
        show_json(told)
        return
    if ended.result is None:
        hint = f" ({ended.hint})" if ended.hint else ""
        complain(about(ended.task.name, ended.error) + hint)
        return
    outputs = ended.result.get("outputs", [])
    facts = ended.result.get("descriptor", {})
    if not outputs or op.kind == "json":
        print(ended.task.name)
        show_facts(facts)
        facts = {}
    for output in outputs:
        shown = ", ".join(
            f"{name} {json.dumps(value)}" for name, value in facts.items() if _is_plain(value)
        )
        path = path_from_text(output["path"])
        print(f"{path}  {size(output['size'])}" + (f"  ({shown})" if shown else ""))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
