"""`audiolla support-bundle`: what a bug report needs, without sounds and secrets."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from daemon.commands.console import show_json
from daemon.commands.outcome import OK
from daemon.settings import load


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="where to (audiolla-support-*.tgz)")
    parser.add_argument("--names", action="store_true", help="tell the names of files, too")


def run(args: argparse.Namespace) -> int:
    """Write it; works whether or not the daemon runs."""
    from daemon.clock import SystemClock
    from daemon.support import write_bundle

    clock = SystemClock()
    name = f"audiolla-support-{datetime.fromtimestamp(clock.now(), UTC):%Y%m%d-%H%M%S}.tgz"
    target = Path(os.path.abspath(args.file or name))
    count = write_bundle(load(data_dir=args.data_dir), target, clock, names=args.names)
    if args.json:
        show_json({"file": os.fspath(target), "files": count})
    else:
        print(f"{target}: {count} files; read it before you send it")
    return OK
