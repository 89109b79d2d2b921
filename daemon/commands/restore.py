"""`audiolla restore`: a backup takes the place of what is there, which is set aside."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from daemon.commands.console import show_json
from daemon.commands.outcome import OK
from daemon.settings import load


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", help="what `audiolla backup` wrote")
    parser.add_argument(
        "--check", action="store_true", help="only read it whole and compare every hash"
    )


def run(args: argparse.Namespace) -> int:
    """Verify, then restore; 3 while a daemon runs on the data directory."""
    from daemon.clock import SystemClock
    from daemon.safekeeping.restoring import restore, verify

    archive = Path(os.path.abspath(args.file))
    if args.check:
        about = verify(archive).about
        if args.json:
            show_json({key: about[key] for key in ("created", "version", "schema", "jobs")})
        else:
            jobs = sum(about["jobs"].values())
            print(f"whole: {len(about['files'])} files, {jobs} jobs, made {about['created']}")
        return OK
    settings = load(data_dir=args.data_dir)
    done = restore(settings, archive, SystemClock())
    better = done.report
    if args.json:
        show_json(
            {
                "files": done.files,
                "set_aside": done.set_aside,
                "from_journal": better.from_journal,
                "delivered": better.delivered,
                "unclear": better.unclear,
                "again": better.again,
            }
        )
        return OK
    print(f"{done.files} files restored")
    if done.set_aside:
        print(f"what was there before: {done.set_aside}")
    if better.from_journal:
        print(f"ended since the backup, by the journal: {sum(better.from_journal.values())} jobs")
    for job, why in better.unclear.items():
        print(f"unclear: {job}: {why}")
    return OK
