"""`./audiolla docs`: write docs/reference/ from the declarations, or say what is stale.

Not part of `audiolla --help`: it needs the source tree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a page is stale"
    )


def run(args: argparse.Namespace) -> int:
    """Write or compare the pages."""
    from daemon.reference import pages, stale

    if args.check:
        wrong = stale(REFERENCE)
        for name in wrong:
            print(f"docs/reference/{name} does not say what the program says: ./audiolla docs")
        return 1 if wrong else 0
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")
    return 0


def main() -> int:
    """Run as `python -m daemon.commands.docs`."""
    parser = argparse.ArgumentParser(prog="audiolla docs", description="Write the reference.")
    configure(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
