"""How often a file is taken before its last byte: six kinds of writer, 12,000 drops.

A model on a real disk in virtual time (`tests.daemon.writers`); seeded, so that two runs
give the same figures. At most 0.1 % may be taken early, and none whose container tells its
length.

    python -m bench.settle [DROPS] [--seed N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.daemon.writers import KINDS, play

DROPS = 2_000
AT_ONCE = 200
ALLOWED = 0.001


def main() -> int:
    """Print the table; 1 if too many were taken early."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("drops", nargs="?", type=int, default=DROPS, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    all_drops = early = stating = 0
    start = time.perf_counter()
    print(f"{'writer':24} {'drops':>6} {'early':>6} {'stating':>8} {'delay, median':>14}")
    for name, kind in KINDS.items():
        outcomes = []
        for batch in range(0, args.drops, AT_ONCE):
            with tempfile.TemporaryDirectory(prefix="audiolla-bench-") as folder:
                inbox = Path(folder) / "inbox"
                inbox.mkdir()
                count = min(AT_ONCE, args.drops - batch)
                outcomes.append(play(kind, count, inbox, args.seed + batch))
        drops = [drop for outcome in outcomes for drop in outcome.drops]
        wrong = [drop for outcome in outcomes for drop in outcome.early]
        delays = sorted(outcome.delay for outcome in outcomes)
        all_drops, early = all_drops + len(drops), early + len(wrong)
        told = sum(drop.states for drop in wrong)
        stating += told
        delay = delays[len(delays) // 2]
        print(f"{name:24} {len(drops):6} {len(wrong):6} {told:8} {delay:12.2f} s")
    print(
        f"{all_drops} drops, {early} taken early ({early / all_drops:.3%}; at most 0.1 %), "
        f"{stating} of them with a stated length (none); {time.perf_counter() - start:.0f} s"
    )
    return int(stating > 0 or early > ALLOWED * all_drops)


if __name__ == "__main__":
    sys.exit(main())
