"""`audiolla undo`: put everything back as it was before a job of a hot folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.commands.api import ask
from daemon.commands.console import show_json
from daemon.commands.outcome import FAILED, OK, about, complain
from daemon.moves import move_numbered
from daemon.settings import load
from handlers.errors import AudiollaError
from rules.orders import path_from_text, path_to_text


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument("jobs", metavar="JOB", nargs="+", help="id of a job, as history shows it")
    parser.add_argument(
        "--to", metavar="FOLDER", help="put the original there instead of back into the inbox"
    )


def run(args: argparse.Namespace) -> int:
    """Undo each; 1 if any cannot be undone."""
    settings = load(data_dir=args.data_dir)
    code = OK
    for job in args.jobs:
        try:
            done: dict[str, Any] = ask(settings, "POST", f"/v1/jobs/{job}/undo")
        except AudiollaError as wrong:
            complain(about(job, wrong.detail))
            code = FAILED
            continue
        if args.to is not None:
            # The inbox leaves it alone until it changes: there is time to take it elsewhere.
            to = Path(os.path.abspath(args.to))
            originals = [path_from_text(text) for text in done["originals"]]
            moved = [path_to_text(move_numbered(one, to / one.name)) for one in originals]
            done |= {"original": moved[0], "originals": moved}
        if args.json:
            show_json(done)
        else:
            _show(done)
    return code


def _show(done: dict[str, Any]) -> None:
    print(f"{done['job']}  undone")
    for path in done["originals"]:
        print(f"  original: {path}")
    for path in done["removed"]:
        print(f"  removed: {path}")
    for path in done["aside"]:
        print(f"  changed since, so renamed: {path}")
    for path in done["returned"]:
        print(f"  there again: {path}")
