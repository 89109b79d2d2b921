"""P1, P2: kill -9 of all processes at once, 500 times under load: one whole file for every job?

    python -m bench.faults kills [--daemons N] [--workers N] [--serving N] [--minutes N]
        [--seed N]

`--daemons` kills the dispatcher and every worker at the same moment, `--workers` one worker at a
time. The short form is tests/daemon/test_kills.py; `python -m bench.webhooks` does the same to the
whole daemon with its API, and asks again as clients do.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.daemon.nemesis import rampage


def main(arguments: Sequence[str]) -> int:
    """Print what became of every job."""
    parser = argparse.ArgumentParser(prog="bench.faults kills")
    parser.add_argument("--daemons", type=int, default=500)
    parser.add_argument("--workers", type=int, default=150)
    parser.add_argument("--serving", type=int, default=2, help="workers that serve")
    parser.add_argument("--minutes", type=float, default=120, help="end after these, done or not")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        story = rampage(
            Path(folder),
            worker_kills=given.workers,
            daemon_kills=given.daemons,
            seed=given.seed,
            workers=given.serving,
            patience=60 * given.minutes,
        )
    print(
        f"{story.jobs} jobs; {story.daemon_kills} times all processes killed at once, "
        f"{story.worker_kills} times one worker, {time.monotonic() - begun:.0f} s"
    )
    if len(story.waits) > 1:
        waits = [1000 * wait for wait in story.waits]
        print(
            f"a dead worker's job ran again after {statistics.median(waits):.1f} ms (median), "
            f"{sum(wait < 100 for wait in waits)} of {len(waits)} within 100 ms "
            "(the others found no spare: kills come faster than workers start)"
        )
    return verdict(story.wrong, "nothing lost, nothing twice, nothing half")
