"""`./audiolla bench [NAME [ARG...]]`: run one benchmark, or all of them.

Every module of `bench/` that can be run is a benchmark; its docstring says
what it measures. Not part of `audiolla --help`: it needs the source tree and
requirements/dev.txt.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def benchmarks() -> dict[str, str]:
    """Name to the first line of its docstring."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "bench").glob("[!_]*.py")):
        source = path.read_text(encoding="utf-8")
        if "__main__" in source:
            found[path.stem] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return found


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    listed = "\n".join(f"  {name:12} {line}" for name, line in benchmarks().items())
    parser.epilog = f"benchmarks:\n{listed}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", nargs="?", help="the benchmark; all of them without")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARG", help="its arguments")


def run(args: argparse.Namespace) -> int:
    """Run what was asked for, one after the other; 1 if one fails."""
    known = benchmarks()
    if args.name is not None and args.name not in known:
        print(
            f"audiolla: there is no benchmark {args.name!r}; there are: {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    failed = False
    for name in [args.name] if args.name else known:
        print(f"== {name}: {known[name]}", flush=True)
        command = [sys.executable, "-m", f"bench.{name}", *args.arguments]
        failed |= subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    return 1 if failed else 0


def main() -> int:
    """Run as `python -m daemon.commands.bench`."""
    parser = argparse.ArgumentParser(prog="audiolla bench", description="Run the benchmarks.")
    configure(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
