"""P6: jobs that crash, abort or have their worker killed, among good ones, again and again.

    python -m bench.faults poison [--rounds N]

The short form are the tests of dead workers in tests/daemon/test_dispatcher.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.faults.poison import poison


def main(arguments: Sequence[str]) -> int:
    """Print what became of the good ones."""
    parser = argparse.ArgumentParser(prog="bench.faults poison")
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        story = poison(Path(folder), rounds=given.rounds)
    print(
        f"{story.poisoned} poisonous jobs, each failed with its signal after two attempts; "
        f"{len(story.good)} good ones were done {story.median_delay:.2f} s (median) and "
        f"{story.delay:.2f} s (the last) later than without"
    )
    return verdict(story.wrong, "none of the good ones was blamed")
