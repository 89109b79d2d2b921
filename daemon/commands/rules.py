"""`audiolla rules`: check rules files, or explain what they would do to a file."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.commands.console import show_json
from daemon.commands.outcome import FAILED, OK, Misused, complain
from daemon.commands.running import probe
from daemon.rulefiles import check, find_rule_files, read_rules, rule_file
from daemon.settings import Settings, load
from rules.match import FileFacts, SoundFacts
from rules.model import FolderRules
from rules.orders import path_to_text
from rules.plan import Explanation, explain
from rules.written import RulesBroken


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    checked = actions.add_parser("check", help="find every fault in rules files")
    checked.add_argument(
        "paths", metavar="PATH", nargs="*", help="rules file or hot folder; default all of them"
    )
    explained = actions.add_parser("explain", help="say which rule takes a file, and what it does")
    explained.add_argument("files", metavar="FILE", nargs="+", help="a sound")
    explained.add_argument(
        "--rules", metavar="PATH", help="rules file or hot folder; default the one FILE lies in"
    )
    explained.add_argument(
        "--no-open", action="store_true", help="go by name and size, do not read the header"
    )
    for action in (checked, explained):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        action.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Check or explain."""
    settings = load(data_dir=args.data_dir)
    return _check(settings, args) if args.action == "check" else _explain(settings, args)


def _check(settings: Settings, args: argparse.Namespace) -> int:
    paths = [Path(p) for p in args.paths] or [f.path for f in find_rule_files(settings)]
    if not paths:
        print(f"no rules files in {settings.folders} or {settings.rules}")
    faulty = False
    for path in paths:
        problems = check(path, settings)
        faulty = faulty or bool(problems)
        if args.json:
            told = [str(problem) for problem in problems]
            show_json({"file": path_to_text(path), "ok": not problems, "problems": told})
        elif problems:
            for problem in problems:
                complain(str(problem))
        else:
            print(f"{path}: good")
    return FAILED if faulty else OK


def _explain(settings: Settings, args: argparse.Namespace) -> int:
    code = OK
    for name in args.files:
        path = Path(os.path.abspath(name))
        if not path.is_file():
            raise Misused(f"{name}: there is no such file")
        rules = _rules_for(path, args.rules, settings)
        below = path.relative_to(rules.root) if path.is_relative_to(rules.root) else Path(path.name)
        file = FileFacts(rel=below.as_posix(), size=path.stat().st_size)
        header = None if args.no_open else _header(path, rules, settings)
        told = explain(rules, file, header)
        code = code if told.rule is not None or args.no_open else FAILED
        if args.json:
            show_json({"file": path_to_text(path), **_plain(asdict(told))})
        else:
            _show(name, told)
    return code


def _rules_for(path: Path, named: str | None, settings: Settings) -> FolderRules:
    try:
        if named is not None:
            return read_rules(rule_file(Path(named)), settings)
        loaded = [read_rules(file, settings) for file in find_rule_files(settings)]
        own = [p / "rules.yaml" for p in path.parents if (p / "rules.yaml").is_file()]
        if own:
            return read_rules(rule_file(own[0]), settings)
    except RulesBroken as broken:
        for problem in broken.problems:
            complain(str(problem))
        raise Misused("the rules are broken, so nothing can be said") from None
    found = next((rules for rules in loaded if path.is_relative_to(rules.root)), None)
    if found is None:
        raise Misused(f"{path} lies in no hot folder; name its rules with --rules")
    return found


def _header(path: Path, rules: FolderRules, settings: Settings) -> SoundFacts | None:
    """What the header tells, if a rule asks; read in a child process."""
    if not any(rule.match.asks for rule in rules.rules):
        return None
    facts = probe(path_to_text(path), settings)
    tags = {name: tuple(values) for name, values in facts["tags"].items()}
    return SoundFacts(facts["duration"], facts["channels"], facts["sample_rate"], tags)


def _show(name: str, told: Explanation) -> None:
    print(name)
    for verdict in told.rules:
        reason = f": {verdict.reason}" if verdict.reason else ""
        print(f"  rule {verdict.rule}: {verdict.verdict}{reason}")
    for number, step in enumerate(told.steps, 1):
        print(f"  step {number}: {step['op']} {json.dumps(step['params'], ensure_ascii=False)}")
    for one in told.deliveries:
        print(f"  delivery {one['delivery']}: {one['output']}")
        for number, step in enumerate(one["steps"], 1):
            print(
                f"    step {number}: {step['op']} {json.dumps(step['params'], ensure_ascii=False)}"
            )
    if told.output is not None:
        print(f"  output: {told.output}")
    if told.otherwise:
        print(f"  no rule takes it: {told.otherwise}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return path_to_text(value) if isinstance(value, Path) else value
