"""`./audiolla check`: everything that can be said about the source without running it.

Not part of `audiolla --help`: it needs the source tree and requirements/dev.txt.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

CHECKS: Sequence[tuple[str, Sequence[str]]] = (
    ("format", [sys.executable, "-m", "ruff", "format", "--check", "."]),
    ("lint", [sys.executable, "-m", "ruff", "check", "."]),
    ("types", [sys.executable, "-m", "mypy"]),
    ("imports", [sys.executable, "-m", "pytest", "-q", "--no-header", "tests/test_imports.py"]),
    ("reference", [sys.executable, "-m", "daemon.commands.docs", "--check"]),
    ("shell", ["shellcheck", "audiolla", ".ci/run", "requirements/make_locks.sh"]),
)


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"only these: {', '.join(n for n, _ in CHECKS)}"
    )


def run(args: argparse.Namespace) -> int:
    """Run the checks; 1 if one fails. All of them run, whatever the first one says."""
    unknown = set(args.names) - {name for name, _ in CHECKS}
    if unknown:
        print(f"audiolla: there is no check {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    failed: list[str] = []
    for name, command in CHECKS:
        if args.names and name not in args.names:
            continue
        if shutil.which(command[0]) is None:
            print(f"{name}: left out, {command[0]} is not installed", flush=True)
            continue
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        passed = done.returncode == 0
        word = "ok" if passed else "FAILED"
        print(f"{name}: {word} ({time.monotonic() - began:.1f} s)", flush=True)
        if not passed:
            failed.append(name)
            print(done.stdout, flush=True)
    if failed:
        print(f"audiolla: not in order: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    """Run as `python -m daemon.commands.check`."""
    parser = argparse.ArgumentParser(prog="audiolla check", description="Check the source.")
    configure(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
