"""`audiolla presets`: chains with a name, yours and those shipped."""

from __future__ import annotations

import argparse

import yaml

from daemon.commands.console import show_json, show_table
from daemon.commands.outcome import OK, Misused, complain
from daemon.presetfiles import PresetShelf
from daemon.settings import load
from rules.presets import Preset, as_written, faults


def configure(parser: argparse.ArgumentParser, _: list[str]) -> None:
    """The two actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="show all presets, and what keeps one from running")
    show = actions.add_parser("show", help="print one as the YAML of a preset of your own")
    show.add_argument("name", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    """Do one of them."""
    shelf = PresetShelf(load(data_dir=args.data_dir))
    if args.action == "list":
        return _list(shelf, as_json=args.json)
    preset = shelf.find(args.name)
    if preset is None:
        known = ", ".join(p.name for p in shelf.all())
        raise Misused(f"there is no preset {args.name!r}; there are: {known}")
    if args.json:
        show_json(as_written(preset))
    else:
        text = yaml.safe_dump(
            as_written(preset), sort_keys=False, allow_unicode=True, default_flow_style=None
        )
        print(text, end="")
    return OK


def _list(shelf: PresetShelf, *, as_json: bool) -> int:
    presets = shelf.all()
    if as_json:
        for preset in presets:
            told = {"name": preset.name, "description": preset.description}
            show_json({**told, "ops": _ops(preset), "faults": faults(preset)})
        return OK
    rows = [[p.name, " > ".join(_ops(p)), p.description] for p in presets]
    show_table(["PRESET", "STEPS", ""], rows)
    for preset in presets:
        for fault in faults(preset):
            complain(f"{preset.name} cannot run: {fault}")
    return OK


def _ops(preset: Preset) -> list[str]:
    return [step.op for step in preset.steps]
