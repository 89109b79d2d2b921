"""Kill -9 of 150 workers and 25 whole daemons under load: was every file delivered once and whole?

    python -m bench.kills [--workers N] [--daemons N] [--seed N]

The short form of this is tests/daemon/test_kills.py. Exits with 1 when a promise was broken.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.daemon.nemesis import rampage


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=150)
    parser.add_argument("--daemons", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        story = rampage(
            Path(folder),
            worker_kills=given.workers,
            daemon_kills=given.daemons,
            seed=given.seed,
        )
    print(
        f"{story.jobs} jobs, {story.worker_kills} workers and {story.daemon_kills} daemons killed, "
        f"{time.monotonic() - begun:.0f} s"
    )
    if len(story.waits) > 1:
        waits = [1000 * wait for wait in story.waits]
        print(
            f"a dead worker's job ran again after {statistics.median(waits):.1f} ms (median), "
            f"{sum(wait < 100 for wait in waits)} of {len(waits)} within 100 ms "
            "(the others found no spare: kills come faster than workers start)"
        )
    for line in story.wrong:
        print("WRONG:", line)
    print("nothing lost, nothing twice, nothing half" if not story.wrong else "BROKEN")
    sys.exit(bool(story.wrong))


if __name__ == "__main__":
    main()
