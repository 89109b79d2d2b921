"""P7: ticks under several clocks that are killed like the dispatcher: was each fired once?

    python -m bench.faults ticks [--ticks N] [--tickers N] [--kills N] [--seed N]

The short form is tests/daemon/schedules/test_stampede.py; the wall clock that jumps, and both
changes of the hour, are in tests/daemon/schedules/test_ticker.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults._said import verdict
from tests.daemon.schedules.stampede import stampede


def main(arguments: Sequence[str]) -> int:
    """Print what became of the ticks."""
    parser = argparse.ArgumentParser(prog="bench.faults ticks")
    parser.add_argument("--ticks", type=int, default=10_000)
    parser.add_argument("--tickers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        outcome = stampede(Path(folder), **vars(given))
    print(
        f"{outcome.ticks} ticks, {given.tickers} clocks, {outcome.kills} processes killed, "
        f"{outcome.seconds:.0f} s"
    )
    return verdict(outcome.wrong, "none lost, none twice")
