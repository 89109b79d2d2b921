"""`audiolla schedules`: what is done by the clock, when next, and what it did."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from daemon.commands.api import ask
from daemon.commands.console import local_time, show_json, show_table
from daemon.commands.outcome import FAILED, OK, complain
from daemon.settings import Settings, load


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="show all schedules, and when each is due")
    following = actions.add_parser("next", help="show when a schedule is due next")
    following.add_argument("-n", "--count", type=int, default=10, help="how many times")
    actions.add_parser("plan", help="show what a schedule would do now; nothing is written")
    actions.add_parser("run", help="run a schedule now, whatever its times")
    history = actions.add_parser("history", help="show what a schedule did")
    history.add_argument("--limit", type=int, default=20, help="how many of the newest")
    check = actions.add_parser("check", help="check a schedules file; needs no daemon")
    check.add_argument(
        "file", metavar="FILE", nargs="?", help="default: that of the data directory"
    )
    for name, action in actions.choices.items():
        if name not in ("list", "check"):
            action.add_argument("name", metavar="NAME", help="of the schedule")
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        action.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Do what is asked."""
    settings = load(data_dir=args.data_dir)
    if args.action == "check":
        return _check(settings, args)
    if args.action == "list":
        return _list(ask(settings, "GET", "/v1/schedules"), as_json=args.json)
    where = f"/v1/schedules/{quote(args.name, safe='')}"
    query = {"next": f"/next?count={getattr(args, 'count', 0)}"}
    query["history"] = f"/history?limit={getattr(args, 'limit', 0)}"
    method = "POST" if args.action == "run" else "GET"
    told = ask(settings, method, where + query.get(args.action, f"/{args.action}"))
    if args.json:
        show_json(told)
        return OK
    _SHOW[args.action](told)
    return OK


def _check(settings: Settings, args: argparse.Namespace) -> int:
    from daemon.presetfiles import PresetShelf
    from daemon.schedules.load import Around, load_schedules
    from daemon.schedules.timetable import NAME
    from daemon.trusted import reader
    from rules.written import RulesBroken

    file = Path(args.file) if args.file else settings.data_dir / NAME
    try:
        found = load_schedules(
            reader(settings)(file), file, Around(settings.files, PresetShelf(settings).find)
        )
    except RulesBroken as broken:
        for problem in broken.problems:
            complain(str(problem))
        return FAILED
    now = datetime.now(UTC).timestamp()
    for one in found.values():
        due = one.upcoming(now, 1)[0]
        if args.json:
            show_json({"name": one.name, "next_at": due})
        else:
            print(f"{one.name}: next {_on_the_wall(due, one.zone.key)}")
    return OK


def _list(told: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        show_json(told)
    else:
        rows = [
            [
                one["name"],
                one["cron"],
                one["timezone"],
                _on_the_wall(one["next_at"], one["timezone"]) if one["next_at"] else "off",
                _work(one),
                one["origin"],
            ]
            for one in told["data"]
        ]
        show_table(["SCHEDULE", "CRON", "ZONE", "NEXT", "RUNS", "FROM"], rows)
        for problem in told["problems"]:
            complain(problem)
    return FAILED if told["problems"] else OK


def _work(one: dict[str, Any]) -> str:
    what = one["written"].get(one["runs"], one["name"])
    return one["runs"] if one["runs"] == "steps" else f"{one['runs']} {what}"


def _next(told: dict[str, Any]) -> None:
    for at in told["next"]:
        print(_on_the_wall(at, told["timezone"]))


def _plan(told: dict[str, Any]) -> None:
    for one in told["work"]:
        steps = " > ".join(step["op"] for step in one.get("steps", []))
        rest = {k: v for k, v in one.items() if k != "steps"}
        said = ", ".join(f"{name} {value}" for name, value in rest.items())
        print(" > ".join(part for part in (said, steps) if part))
    if not told["work"]:
        print("nothing: no new file fits")


def _run(told: dict[str, Any]) -> None:
    said = f"{told['schedule']}: {len(told['jobs'])} jobs"
    print(f"{said}; {told['note']}" if told["note"] else said)
    for job in told["jobs"]:
        print(f"  {job}")


def _history(told: dict[str, Any]) -> None:
    rows = [
        [
            local_time(one["tick"]),
            one["state"] + (" by hand" if one["manual"] else ""),
            str(one["missed"] or ""),
            _states(one["jobs"]),
            one["note"] or "",
        ]
        for one in told["data"]
    ]
    show_table(["DUE", "STATE", "MISSED", "JOBS", ""], rows)


def _states(jobs: dict[str, str]) -> str:
    count = {state: list(jobs.values()).count(state) for state in jobs.values()}
    return ", ".join(f"{number} {state}" for state, number in count.items())


def _on_the_wall(at: float, zone: str) -> str:
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(at, ZoneInfo(zone)):%a %Y-%m-%d %H:%M %Z}"


_SHOW = {"next": _next, "plan": _plan, "run": _run, "history": _history}
