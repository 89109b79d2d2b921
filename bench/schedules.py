"""10,000 ticks under several clocks that are killed like the dispatcher: was each fired once?

    python -m bench.schedules [--ticks N] [--tickers N] [--kills N] [--seed N]

The short form of this is tests/daemon/schedules/test_stampede.py. Exits with 1 when a tick was lost
or fired twice.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.daemon.schedules.stampede import stampede


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=10_000)
    parser.add_argument("--tickers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        outcome = stampede(Path(folder), **vars(given))
    print(
        f"{outcome.ticks} ticks, {given.tickers} clocks, {outcome.kills} processes killed, "
        f"{outcome.seconds:.0f} s"
    )
    for line in outcome.wrong[:20]:
        print("WRONG:", line)
    print("none lost, none twice" if not outcome.wrong else f"BROKEN: {len(outcome.wrong)} faults")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
