"""200 mixed jobs over all engines with little room for them: is anything lost, does a worker grow?

    python -m bench.soak [--jobs N] [--seed N]

The short form of this is tests/daemon/test_soak.py. Exits with 1 when a promise was broken.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.daemon.soak import soak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        story = soak(Path(folder), given.jobs, given.seed)
    print(
        f"{given.jobs} jobs over {len(story.seen)} engines, at most {story.most} loaded at once, "
        f"{time.monotonic() - begun:.0f} s"
    )
    for name, growth in sorted(story.growth.items()):
        print(f"{name}: {100 * (growth - 1):+.1f} % resident memory, second quarter to last")
    for line in story.wrong:
        print("WRONG:", line)
    grown = any(growth > 1.05 for growth in story.growth.values())
    print("nothing lost, nothing grown" if not (story.wrong or grown) else "BROKEN")
    sys.exit(bool(story.wrong or grown))


if __name__ == "__main__":
    main()
