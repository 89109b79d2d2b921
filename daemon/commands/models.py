"""`audiolla models`: the weights of the neural engines."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from daemon.commands.console import show_json, show_table, size
from daemon.commands.outcome import FAILED, OK, Misused, complain
from daemon.settings import Settings, load
from daemon.shelves import models_of, resolved_device
from handlers.engines.declare import Engine
from handlers.engines.files import Models
from handlers.engines.registry import engines
from handlers.engines.shelf import unready
from handlers.errors import AudiollaError


def configure(parser: argparse.ArgumentParser, _: list[str]) -> None:
    """The four actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="show the engines with weights, and what is missing")
    pull = actions.add_parser("pull", help="fetch weights from their published homes")
    pull.add_argument("engines", metavar="ENGINE", nargs="+", help="slug, or `all`")
    pull.add_argument(
        "--accept-licence",
        action="store_true",
        help="say that you accept the licence that was shown",
    )
    pull.add_argument(
        "--trust-first-use",
        action="store_true",
        help="also take files whose hash nobody has published",
    )
    verify = actions.add_parser("verify", help="hash what is there and compare")
    verify.add_argument("engines", metavar="ENGINE", nargs="*", help="slug; default all")
    path = actions.add_parser("path", help="print where the weights of an engine belong")
    path.add_argument(
        "engines", metavar="ENGINE", nargs="*", help="slug; default the folder of all"
    )


def run(args: argparse.Namespace) -> int:
    """Do one of them."""
    settings = load(data_dir=args.data_dir)
    models = models_of(settings)
    actions = {"list": _list, "pull": _pull, "verify": _verify, "path": _path}
    return actions[args.action](args, settings, models)


def _named(slugs: list[str]) -> list[Engine[Any]]:
    with_weights = {slug: e for slug, e in engines().items() if e.weights}
    if not slugs or slugs == ["all"]:
        return list(with_weights.values())
    for slug in slugs:
        if slug not in with_weights:
            known = ", ".join(with_weights)
            raise Misused(f"{slug} is no engine with weights; there are: {known}")
    return [with_weights[slug] for slug in slugs]


def _list(args: argparse.Namespace, settings: Settings, models: Models) -> int:
    device = resolved_device(settings.device)
    rows: list[dict[str, Any]] = []
    for engine in _named([]):
        why = unready(engine, models, device=device, enabled=settings.enabled_engines)
        rows.append(
            {
                "engine": engine.slug,
                "ready": why is None,
                "bytes": sum(file.size or 0 for file in engine.weights),
                "missing": [file.path for file in models.missing(engine)],
                "reason": why.detail if why else None,
                "hint": why.hint if why else None,
                "licence": engine.licence,
            }
        )
    if args.json:
        for row in rows:
            show_json(row)
        return OK
    show_table(
        ["ENGINE", "STATE", "SIZE", "LICENCE OF ITS WEIGHTS"],
        [
            [
                row["engine"],
                "ready" if row["ready"] else row["hint"] or row["reason"],
                size(row["bytes"]) if row["bytes"] else "-",
                row["licence"],
            ]
            for row in rows
        ],
    )
    return OK


def _pull(args: argparse.Namespace, settings: Settings, models: Models) -> int:
    import httpx2

    from daemon.pulling import Puller

    wanted = _named(args.engines)
    asking = [e for e in wanted if e.ask and models.missing(e)]
    if asking and not args.accept_licence:
        for engine in asking:
            complain(f"{engine.slug}: {engine.licence}")
        raise Misused("if you accept that, say --accept-licence")
    failed = False
    with httpx2.Client(follow_redirects=False, timeout=60) as client:
        puller = Puller(
            models,
            client,
            token=settings.huggingface_token,
            trust_first_use=args.trust_first_use,
            tell=_tell if sys.stderr.isatty() else lambda *_: None,
        )
        for engine in wanted:
            try:
                for path in puller.pull(engine):
                    print(f"{engine.slug}: {path}")
            except AudiollaError as refused:
                complain(refused.detail + (f" ({refused.hint})" if refused.hint else ""))
                failed = True
    return FAILED if failed else OK


def _tell(name: str, done: int, total: int | None) -> None:
    share = f" {done / total:4.0%}" if total else ""
    end = "\n" if done == total else ""
    print(f"\r{name} {size(done)}{share}   ", end=end, file=sys.stderr, flush=True)


def _verify(args: argparse.Namespace, _: Settings, models: Models) -> int:
    failed = False
    for engine in _named(args.engines):
        for file in engine.weights:
            path = models.found(engine, file)
            if path is None:
                if args.engines:
                    complain(f"{engine.slug}: {file.path} is not there")
                    failed = True
                continue
            try:
                print(f"{models.verify(engine, file, path)}  {path}")
            except AudiollaError as wrong:
                complain(wrong.detail)
                failed = True
    return FAILED if failed else OK


def _path(args: argparse.Namespace, _: Settings, models: Models) -> int:
    if not args.engines:
        print(models.home)
        return OK
    for engine in _named(args.engines):
        for file in engine.weights:
            print(models.found(engine, file) or models.place(engine, file))
    return OK
