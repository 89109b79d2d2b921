"""A simulated week: slow writers, lost events, a share that goes, full disks, clocks, deaths.

    python -m bench.faults week [--files N] [--restarts N] [--weeks N] [--seed N]

Time is injected, the disks are real (the share is a tmpfs where mounting is allowed; the line that
it prints says so). The short form is tests/daemon/test_week.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.faults.week import week


def main(arguments: Sequence[str]) -> int:
    """Print each week."""
    parser = argparse.ArgumentParser(prog="bench.faults week")
    parser.add_argument("--files", type=int, default=150)
    parser.add_argument("--restarts", type=int, default=80)
    parser.add_argument("--weeks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    wrong: list[str] = []
    for seed in range(given.seed, given.seed + given.weeks):
        with tempfile.TemporaryDirectory() as folder:
            story = week(Path(folder), files=given.files, restarts=given.restarts, seed=seed)
        print(
            f"week {seed}: {story.files} files, {story.delivered} delivered, {story.refused} "
            f"refused; {story.restarts} deaths, {story.overflows} overflows, {story.absences} "
            f"absences, {story.full_disks} full disks, {story.clocks_set} clocks set; the share "
            f"is {story.share}; {story.turns} turns, {story.seconds:.0f} s",
            flush=True,
        )
        wrong += [f"week {seed}: {line}" for line in story.wrong]
    return verdict(wrong, "every file accounted for: none lost, none twice, none half")
