"""P5: every call of a file's way fails once, or is the last: open, write, fsync, rename, commit.

    python -m bench.faults points

The whole chain from folder over job and output to webhook, with EIO, ENOSPC, EMFILE and death
before and after each call, k = 1, 2, ... until a run passes untouched. The short form is
tests/faults/test_points.py.
"""

import argparse
import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.faults.everywhere import FAULTS, calls_of, fail_each


def main(arguments: Sequence[str]) -> int:
    """Print what came of each fault."""
    argparse.ArgumentParser(prog="bench.faults points").parse_args(arguments)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        calls = Counter(calls_of(Path(folder)))
        print(f"{calls.total()} calls:", ", ".join(f"{n} {name}" for name, n in calls.items()))
        for fault in FAULTS:
            story = fail_each(Path(folder), fault, itertools.count(1))
            print(
                f"{fault}: {story.runs} runs, {story.completed} completed, {story.failed} failed "
                f"with a reason, {len(story.wrong)} faults",
                flush=True,
            )
            wrong += [f"{fault} {line}" for line in story.wrong]
    return verdict(wrong, "every k is clean")
