"""`audiolla history`: what became of a file, for ever, whatever has become of the database."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from daemon.commands.console import show_json
from daemon.commands.outcome import FAILED, OK, complain
from daemon.delivering.hashes import hash_of
from daemon.delivering.history import absolute, history_of, sentences, summed
from daemon.delivering.journal import Entry
from daemon.settings import load


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a file (found by its content, too), a path where one lay, or a bare name",
    )


def run(args: argparse.Namespace) -> int:
    """Tell of each; 1 if the journal knows nothing of one."""
    settings = load(data_dir=args.data_dir)
    code = OK
    for name in args.files:
        path = absolute(name)
        content = hash_of(path) if path.is_file() else ""
        stories = history_of(settings.journal, path=path, sha256=content)
        if not stories:
            complain(f"{name}: the journal knows nothing of it")
            code = FAILED
        for story in stories:
            if args.json:
                show_json({"file": name, **summed(story)})
            else:
                _show(story)
    return code


def _show(story: list[Entry]) -> None:
    print(f"{story[0].get('job') or 'without a job'}  {story[0].get('folder', '')}")
    for entry in story:
        at = datetime.fromtimestamp(entry["at"], UTC).astimezone()
        for sentence in sentences(entry):
            print(f"  {at:%Y-%m-%d %H:%M:%S}  {sentence}")
