"""`audiolla replay`: make again what a manifest describes, and compare the bytes."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.commands.console import progress, show_json
from daemon.commands.outcome import FAILED, OK, Misused, complain
from daemon.commands.running import Children, Task
from daemon.delivering.hashes import hash_of
from daemon.delivering.replay import (
    Replayed,
    compared,
    order_of,
    original_of,
    pairs,
    read_manifest,
    sounds_of,
)
from daemon.moves import move_numbered
from daemon.settings import Settings, load
from handlers.errors import CannotProcess, UnreadableInput
from rules.orders import Order, path_from_text, path_to_text


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument("manifests", metavar="MANIFEST", nargs="+", help="as a hot folder wrote it")
    parser.add_argument(
        "--to", metavar="FOLDER", help="keep what comes out, under the names that it had"
    )
    parser.add_argument(
        "--input", metavar="FILE", help="the original, where it is not found by itself"
    )


def run(args: argparse.Namespace) -> int:
    """Replay each; 1 if any came out with other bytes."""
    settings = load(data_dir=args.data_dir)
    if args.input is not None and len(args.manifests) > 1:
        raise Misused("--input is about one manifest")
    code = OK
    for name in args.manifests:
        path = Path(os.path.abspath(name))
        if not path.is_file():
            raise Misused(f"{name}: there is no such file")
        replayed, kept = _replay(path, settings, args)
        code = code if replayed.ok else FAILED
        _show(name, replayed, kept, as_json=args.json)
    return code


def _replay(
    path: Path, settings: Settings, args: argparse.Namespace
) -> tuple[Replayed, list[Path]]:
    manifest = read_manifest(path)
    if args.input is None:
        original = original_of(manifest, path, settings.journal)
    else:
        original = Path(os.path.abspath(args.input))
        if not original.is_file():
            raise Misused(f"{args.input}: there is no such file")
        if hash_of(original) != manifest["input"]["sha256"]:
            raise UnreadableInput(f"{args.input} is not the file that the manifest is about")
    sounds = sounds_of(manifest, path, settings.journal)
    to = None if args.to is None else Path(os.path.abspath(args.to))
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
    # Below the target, so that what is kept is renamed and not copied.
    with tempfile.TemporaryDirectory(prefix=".audiolla-replay-", dir=to) as folder:
        order = order_of(manifest, original, sounds, Path(folder))
        result = _made(manifest["job"], original.name, order, settings, quiet=args.json)
        replayed = compared(manifest, result)
        kept = [] if to is None else _kept(manifest, result, to)
    return replayed, kept


def _made(job: str, name: str, order: Order, settings: Settings, *, quiet: bool) -> dict[str, Any]:
    # The job's own id: names and parts may have it in them.
    task = Task(job, name, order, "cpu", "replay")
    with progress({task.id: task.name}, wanted=not quiet) as tell:
        (ended,) = Children(settings)([task], tell)
    if ended.result is None:
        raise CannotProcess(f"it cannot be made again: {ended.error}", hint=ended.hint)
    return ended.result


def _kept(manifest: dict[str, Any], result: dict[str, Any], to: Path) -> list[Path]:
    kept: list[Path] = []
    for then, again in pairs(manifest, result):
        if again is not None:
            name = path_from_text((then or again)["path"]).name
            kept.append(move_numbered(path_from_text(again["path"]), to / name))
    return kept


def _show(name: str, replayed: Replayed, kept: list[Path], *, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "manifest": name,
                "ok": replayed.ok,
                "same": replayed.same,
                "different": replayed.different,
                "versions": replayed.versions,
                "kept": [path_to_text(path) for path in kept],
            }
        )
        return
    for file in replayed.same:
        print(f"{name}: {file}: the same bytes")
    for file in replayed.different:
        complain(f"{name}: {file}: other bytes than then")
    for text in replayed.versions:
        print(f"  another version: {text}")
    if not replayed.ok and not replayed.versions:
        print("  every version is the same as then")
    for path in kept:
        print(f"  {path}")
