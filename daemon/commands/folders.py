"""`audiolla folders`: the hot folders of the running daemon."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from daemon.commands.api import ask
from daemon.commands.console import show_json, show_table
from daemon.commands.outcome import FAILED, OK, Unreachable, complain
from daemon.settings import Settings, load


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, sentence in (
        ("list", "show the hot folders and what waits in them"),
        ("scan", "look through all of them now, trusting no event and no cache"),
        ("doctor", "say how each is watched, why, its limits, and when something happened last"),
    ):
        action = actions.add_parser(name, help=sentence)
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        action.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Show them; 1 if a rules file is broken, or a folder that is examined does not work."""
    settings = load(data_dir=args.data_dir)
    method, path = ("POST", "/v1/folders/scan") if args.action == "scan" else ("GET", "/v1/folders")
    try:
        status = ask(settings, method, path)
    except Unreachable as nobody:
        if args.action == "scan":
            raise
        complain(str(nobody))
        status = _from_disk(settings)
    if args.action == "doctor":
        return _examine(status, as_json=args.json)
    if args.json:
        show_json(status)
    else:
        _show(status, settings)
    return FAILED if status["broken"] else OK


def _show(status: dict[str, Any], settings: Settings) -> None:
    if not status["folders"] and not status["broken"]:
        print(f"no hot folders: put a rules.yaml into a folder of {settings.folders}")
    if status["folders"]:
        columns = ("waiting", "processing", "left", "taken", "failed")
        rows = [
            [f["name"], *(f.get(c, "-") for c in columns), f.get("method", "-"), f["root"]]
            for f in status["folders"]
        ]
        show_table(["FOLDER", *(c.upper() for c in columns), "WATCHED BY", ""], rows)
    for folder in status["folders"]:
        for name, why in folder.get("waiting_for", []):
            print(f"  {folder['name']}/{name} waits: {why}")
        if folder.get("problem"):
            complain(f"{folder['name']}: {folder['problem']}")
    for broken in status["broken"]:
        for problem in broken["problems"]:
            complain(problem)
        if broken.get("older_in_force"):
            complain(f"{broken['file']}: the rules that were there before go on")
    if status.get("trouble"):
        complain(status["trouble"])


def _examine(status: dict[str, Any], *, as_json: bool) -> int:
    """Print what is known of the watching; 1 if something is wrong with it."""
    from daemon.taking.doctor import limits, remedy, sentences

    known = limits()
    if as_json:
        show_json({**status, "limits": known})
    else:
        for folder in status["folders"]:
            print(f"{folder['name']}  {folder['root']}")
            for sentence in sentences(folder, known, time.time()):
                print(f"  {sentence}")
    for broken in status["broken"]:
        for problem in broken["problems"]:
            complain(problem)
    if status.get("trouble"):
        complain(status["trouble"])
    if more := remedy(status, known):
        complain(f"the kernel's limit of watched folders is near: {more}")
    paused = any(folder.get("problem") for folder in status["folders"])
    return FAILED if paused or status["broken"] or status.get("trouble") else OK


def _from_disk(settings: Settings) -> dict[str, Any]:
    """What can be said without a daemon: which folders there are, and whether their rules hold."""
    from daemon.rulefiles import find_rule_files, read_rules
    from daemon.taking.doctor import expected
    from rules.orders import path_to_text
    from rules.written import RulesBroken

    folders: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    for file in find_rule_files(settings):
        try:
            rules = read_rules(file, settings)
        except RulesBroken as wrong:
            problems = [str(problem) for problem in wrong.problems]
            broken.append({"file": path_to_text(file.path), "problems": problems})
            continue
        folders.append(
            {
                **expected(rules, settings),
                "file": path_to_text(file.path),
                "rules": [rule.name for rule in rules.rules],
            }
        )
    return {"folders": folders, "broken": broken}
