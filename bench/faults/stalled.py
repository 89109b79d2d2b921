"""P8: a daemon that stands still (SIGSTOP) while 30,000 files arrive: are all seen, and once?

    python -m bench.faults stalled [--files N] [--sounds N] [--seed N]

Most are notes, which no rule takes and which must be told as left; among them are sounds in trees
that are moved in, renamed in, and written by slow writers while it stands, which must be delivered
whole and once. The short forms are test_20 of tests/daemon/test_complaints.py and
tests/faults/test_standing.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.faults.stalled import stalled


def main(arguments: Sequence[str]) -> int:
    """Print what was seen."""
    parser = argparse.ArgumentParser(prog="bench.faults stalled")
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--sounds", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        story = stalled(Path(folder), **vars(given))
    print(
        f"{given.files} files while it stood still, {given.sounds} of them sounds: all seen "
        f"{story.seen:.1f} s after going on, all delivered after {story.delivered:.1f} s; "
        f"{story.writers} were still being written when it went on"
    )
    return verdict(story.wrong, "none forgotten, none early, none twice")
