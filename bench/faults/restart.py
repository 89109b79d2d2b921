"""P3: the start with 10,000 queued and 100 interrupted jobs: how soon, and is all taken up?

    python -m bench.faults restart [--queued N] [--interrupted N]

The short form is tests/faults/test_standing.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.faults.restart import restart


def main(arguments: Sequence[str]) -> int:
    """Print the times."""
    parser = argparse.ArgumentParser(prog="bench.faults restart")
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--interrupted", type=int, default=100)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        story = restart(Path(folder), **vars(given))
    print(
        f"{given.queued} queued, {given.interrupted} interrupted: health after "
        f"{story.health:.2f} s ({story.computed:.2f} s of processor), the interrupted queued again "
        f"{story.again:+.2f} s from then, all ended after {story.ended:.1f} s"
    )
    return verdict(story.wrong, "all taken up")
