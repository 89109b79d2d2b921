"""`audiolla rules`: check rules files, explain what they do to a file, plan a whole folder."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.commands.console import show_json
from daemon.commands.outcome import FAILED, OK, Misused, complain
from daemon.commands.running import Probes
from daemon.rulefiles import (
    ERROR_NAME,
    NAME,
    check,
    find_rule_files,
    read_rules,
    rule_file,
)
from daemon.settings import Settings, load
from daemon.watch import Deaf, Inbox
from handlers.errors import AudiollaError
from rules.explain import Explanation, explain, wanted
from rules.match import FileFacts, SoundFacts
from rules.model import FolderRules
from rules.orders import path_to_text
from rules.plan import printable
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
    planned = actions.add_parser(
        "plan", help="say what would become of every file in hot folders; writes nothing"
    )
    planned.add_argument(
        "paths", metavar="PATH", nargs="*", help="rules file or hot folder; default all of them"
    )
    planned.add_argument(
        "--no-open", action="store_true", help="go by name and size, do not read the files"
    )
    for action in (checked, explained, planned):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        action.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Check, explain or plan."""
    settings = load(data_dir=args.data_dir)
    if args.action == "check":
        return _check(settings, args)
    with Probes(settings) as probes:
        if args.action == "plan":
            return _plan(settings, args, probes)
        return _explain(settings, args, probes)


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


def _explain(settings: Settings, args: argparse.Namespace, probes: Probes) -> int:
    code = OK
    for name in args.files:
        path = Path(os.path.abspath(name))
        if not path.is_file():
            raise Misused(f"{name}: there is no such file")
        rules = _rules_for(path, args.rules, settings)
        below = path.relative_to(rules.root) if path.is_relative_to(rules.root) else Path(path.name)
        told = _told_of(path, below.as_posix(), rules, None if args.no_open else probes)
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


def _told_of(path: Path, rel: str, rules: FolderRules, probes: Probes | None) -> Explanation:
    """What would become of a file, opened only if a rule asks; in a child process."""
    now = datetime.now(UTC).astimezone()
    file = FileFacts(rel=rel, size=path.stat().st_size, at=now)
    if probes is None:
        return explain(rules, file)
    header, found = SoundFacts(), dict[str, Any]()
    if any(rule.match.asks for rule in rules.rules):
        facts = probes(path_to_text(path))
        tags = {name: tuple(values) for name, values in facts["tags"].items()}
        header = SoundFacts(
            facts["duration"], facts["channels"], facts["sample_rate"], tags, facts["format"]
        )
    if names := wanted(rules, file, header):
        found = probes(path_to_text(path), names)["measured"]
    return explain(rules, file, header, found)


def _plan(settings: Settings, args: argparse.Namespace, probes: Probes) -> int:
    """Every file that the daemon would take, and what it would do with it."""
    code = OK
    files = [rule_file(Path(p)) for p in args.paths] or list(find_rule_files(settings))
    for one in files:
        try:
            rules = read_rules(one, settings)
        except RulesBroken as broken:
            for problem in broken.problems:
                complain(str(problem))
            code = FAILED
            continue
        counts: Counter[str] = Counter()
        for path in _waiting_in(rules):
            rel = path.relative_to(rules.root).as_posix()
            try:
                told = _told_of(path, rel, rules, None if args.no_open else probes)
            except (AudiollaError, OSError) as wrong:
                # It would be taken, and fail.
                complain(f"{printable(rel)}: {wrong}")
                counts["cannot be read"] += 1
                code = FAILED
                continue
            by = told.rule or ("none" if told.decided else "a rule that only its sound can tell")
            counts[by] += 1
            if args.json:
                about = {"folder": rules.name, "file": path_to_text(path)}
                show_json({**about, **_plain(asdict(told))})
            else:
                _show(printable(rel), told)
        if not args.json:
            each = ", ".join(f"{name}: {count}" for name, count in counts.items())
            print(f"{rules.name}: {sum(counts.values())} files" + (f" ({each})" if each else ""))
    return code


def _waiting_in(rules: FolderRules) -> list[Path]:
    found: list[Path] = []
    inbox = Inbox(
        rules.root,
        recurse=rules.recurse,
        reserved=rules.reserved | {rules.root / NAME, rules.root / ERROR_NAME},
        ears=Deaf(),
    )
    inbox.rescan(time.time(), lambda path: found.append(Path(path)), everything=True)
    return sorted(found)


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
    for verdict in told.rules:
        if verdict.verdict.endswith("decides"):
            print(f"  {verdict.rule} may take it: its sound has to be read to tell")
            return
    if told.otherwise:
        print(f"  no rule takes it: {told.otherwise}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return path_to_text(value) if isinstance(value, Path) else value
