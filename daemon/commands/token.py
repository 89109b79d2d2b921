"""`audiolla token`: create, list and revoke named tokens."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from control_api.scopes import SCOPES
from daemon.commands.console import local_time, show_json, show_table
from daemon.commands.outcome import FAILED, OK, Misused, complain
from daemon.settings import load, read_duration
from daemon.tokens import TokenFile
from rules.budgets import FIGURES, Budget, budget_of

_DEFAULT = ("read", "run", "files")


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token, and print it this once")
    create.add_argument("name", metavar="NAME", help="who will use it")
    create.add_argument(
        "--scope",
        action="append",
        choices=list(SCOPES),
        help="what it may do; repeat for more (default: read, run and files)",
    )
    create.add_argument(
        "--expires", metavar="TIME", help="how long it is good, such as 720h (for ever)"
    )
    for figure in FIGURES:
        create.add_argument(
            f"--max-{figure}",
            metavar="TIME" if figure in ("wall", "cpu") else "SIZE",
            help=f"{Budget.model_fields[figure].description}",
        )
    listed = actions.add_parser("list", help="the tokens, without what is secret")
    revoke = actions.add_parser("revoke", help="refuse tokens from now on")
    revoke.add_argument("names", metavar="NAME", nargs="+")
    for action in (create, listed, revoke):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        action.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Do what is asked."""
    tokens = TokenFile(load(data_dir=args.data_dir).tokens)
    if args.action == "create":
        return _create(tokens, args)
    if args.action == "list":
        return _list(tokens, args)
    missing = [name for name in args.names if not tokens.revoke(name)]
    for name in missing:
        complain(f"there is no token {name}")
    return FAILED if missing else OK


def _create(tokens: TokenFile, args: argparse.Namespace) -> int:
    lifetime = None if args.expires is None else read_duration(args.expires)
    if isinstance(lifetime, str):
        raise Misused(f"--expires {args.expires}: a time is 90s, 45m or 720h")
    first = tokens.tokens() is None
    given = {figure: getattr(args, f"max_{figure}") for figure in FIGURES}
    try:
        budget = budget_of({name: text for name, text in given.items() if text is not None})
    except ValidationError as wrong:
        problems = [f"--max-{e['loc'][0]} {e['input']}: {e['msg']}" for e in wrong.errors()]
        raise Misused("; ".join(problems)) from None
    scopes = args.scope or list(_DEFAULT)
    token = tokens.create(args.name, scopes, lifetime=lifetime, budget=budget)
    if args.json:
        show_json({"name": args.name, "scopes": scopes, "token": token})
    else:
        print(token)
    if first and sys.stderr.isatty():
        print("from now on every request needs a token", file=sys.stderr)
    return OK


def _list(tokens: TokenFile, args: argparse.Namespace) -> int:
    found = tokens.tokens() or ()
    if args.json:
        for one in found:
            known: dict[str, object] = {"created": one.created, "expires": one.expires}
            known |= {"limits": dict(one.limits)} if one.limits else {}
            show_json({"name": one.name, "scopes": list(one.scopes)} | known)
        return OK
    show_table(
        ["NAME", "SCOPES", "CREATED", "EXPIRES", "LIMITS"],
        [
            [
                one.name,
                " ".join(one.scopes),
                local_time(one.created),
                local_time(one.expires) if one.expires is not None else "never",
                " ".join(f"{name}={value:g}" for name, value in (one.limits or {}).items()),
            ]
            for one in found
        ],
    )
    return OK
