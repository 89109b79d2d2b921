"""`audiolla run RULES FILE...`: a rules file, applied to files where they lie."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from daemon.commands.choosing import runner
from daemon.commands.console import progress, show_json, size
from daemon.commands.outcome import FAILED, OK, Misused, about, complain
from daemon.commands.running import Ended, Task
from daemon.jobs import new_id
from daemon.rulefiles import read_rules, rule_file
from daemon.settings import load
from rules.match import FileFacts
from rules.model import FolderRules
from rules.orders import Delivery, Order, path_from_text, path_to_text
from rules.plan import NoRuleMatches, plan, printable
from rules.written import RulesBroken


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.description = (
        "Applies the first rule that matches to each file. The files stay where they are; "
        "results go beside them, or to DIR."
    )
    parser.add_argument("rules", metavar="RULES", help="rules file, or a folder with a rules.yaml")
    parser.add_argument("files", metavar="FILE", nargs="+", help="sounds to work on")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for what comes out")
    parser.add_argument(
        "--local", action="store_true", help="do not use the daemon, even if it runs"
    )


def run(args: argparse.Namespace) -> int:
    """Plan all, then run; nothing runs if one file is not there."""
    settings = load(data_dir=args.data_dir)
    try:
        rules = read_rules(rule_file(Path(args.rules)), settings)
    except RulesBroken as broken:
        for problem in broken.problems:
            complain(str(problem))
        raise Misused(f"{args.rules} cannot be used") from None
    output = None if args.output is None else Path(os.path.abspath(args.output))
    tasks: list[Task] = []
    failed = False
    for name in args.files:
        try:
            tasks.append(_task(name, rules, output))
        except NoRuleMatches as wrong:
            failed = True
            _say(name, wrong.detail, as_json=args.json)
    if not tasks:
        return FAILED
    with progress({task.id: task.name for task in tasks}, wanted=not args.json) as tell:
        for ended in runner(settings, local=args.local)(tasks, tell):
            failed = failed or not ended.ok
            _show(ended, as_json=args.json)
    return FAILED if failed else OK


def _task(name: str, rules: FolderRules, output: Path | None) -> Task:
    path = Path(os.path.abspath(name))
    if not path.is_file():
        raise Misused(f"{name}: there is no such file")
    below = path.relative_to(rules.root) if path.is_relative_to(rules.root) else Path(path.name)
    planned = plan(rules, FileFacts(rel=below.as_posix(), size=path.stat().st_size), path)
    order = _delivered_to(planned.order, output or path.parent)
    endpoint = f"{rules.name}/{planned.rule}" if planned.rule else rules.name
    return Task(new_id(), printable(name), order, planned.lane, endpoint)


def _delivered_to(order: Order, folder: Path) -> Order:
    """The same order with its results in `folder`, whichever of its rules is chosen.

    What a hot folder keeps of its jobs has no place there.
    """

    def moved(delivery: Delivery | None) -> Delivery | None:
        return None if delivery is None else delivery.model_copy(update={"folder": folder})

    choices = [
        c.model_copy(update={"delivery": moved(c.delivery), "record": None}) for c in order.choose
    ]
    changes = {"delivery": moved(order.delivery), "choose": choices, "record": None}
    return order.model_copy(update=changes)


def _show(ended: Ended, *, as_json: bool) -> None:
    if ended.result is None:
        hint = f" ({ended.hint})" if ended.hint else ""
        _say(ended.task.name, ended.error + hint, as_json=as_json)
        return
    if as_json:
        show_json({"file": ended.task.name, "ok": True, **ended.result})
        return
    steps = " > ".join(step["op"] for step in ended.result.get("steps", []))
    for output in ended.result.get("outputs", []):
        path = path_from_text(output["path"])
        print(f"{ended.task.name} > {steps} > {path_to_text(path)} ({size(output['size'])})")


def _say(name: str, error: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"file": printable(name), "ok": False, "error": error})
    else:
        complain(about(printable(name), error))
