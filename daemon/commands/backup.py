"""`audiolla backup`: database, rules, presets, schedules, tokens and journal, in one file."""

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
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="where to (audiolla-<date>.backup here); a folder takes one of that name",
    )


def run(args: argparse.Namespace) -> int:
    """Write it; the daemon may run meanwhile."""
    from daemon.clock import SystemClock
    from daemon.safekeeping.archive import back_up

    clock = SystemClock()
    name = f"audiolla-{datetime.fromtimestamp(clock.now(), UTC):%Y%m%d-%H%M%S}.backup"
    target = Path(os.path.abspath(args.file or name))
    target = target / name if target.is_dir() else target
    manifest = back_up(load(data_dir=args.data_dir), target, clock)
    size = target.stat().st_size
    jobs = sum(manifest.jobs.values())
    if args.json:
        told = {"file": os.fspath(target), "size": size, "files": len(manifest.files)}
        show_json(told | {"jobs": manifest.jobs})
    else:
        print(f"{target}: {len(manifest.files)} files, {jobs} jobs, {size / 1e6:.1f} MB")
    return OK
