"""P4: 200 full disks: under all data, under scratch, under the outputs; was anything lost?

    python -m bench.faults disk [--rounds N] [--seed N]

The disks are tmpfs; where mounting is refused it says so and ends with 2. The short form is
tests/daemon/delivering/test_troubles.py.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.faults.full_disk import PLACES, CannotMount, full_disks


def main(arguments: Sequence[str]) -> int:
    """Print what came of each place."""
    parser = argparse.ArgumentParser(prog="bench.faults disk")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    wrong: list[str] = []
    for number, place in enumerate(PLACES):
        rounds = given.rounds // 3 + (number < given.rounds % 3)
        with tempfile.TemporaryDirectory() as folder:
            try:
                story = full_disks(Path(folder), place, rounds, given.seed)
            except CannotMount as refused:
                print(f"nothing may be mounted here, so nothing was tried: {refused}")
                return 2
        seconds = story.recovered or [0.0]
        print(
            f"{place}: {story.rounds} full disks, {story.hindered} of which kept files waiting, "
            f"{story.files} files; all delivered after "
            f"{statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (longest), "
            f"{sum(s <= 10 for s in seconds)} within 10 s; questions meanwhile answered in at most "
            f"{max(story.answered, default=0.0):.2f} s",
            flush=True,
        )
        wrong += [f"{place}, {line}" for line in story.wrong]
    return verdict(wrong, "nothing lost, no restart")
