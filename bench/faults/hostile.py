"""Ten thousand hostile inputs: through the gate behind its walls, and some through a whole daemon.

    python -m bench.faults hostile [--count 10000] [--whole 1000] [--first 0]

Says how many answers of which kind there were, the worst figures, and what must not be: a death of
the daemon, an answer 500, 502 or 504, a canary that was touched. Exit code 1 where one of them is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.hostile.asking import Answers, ask_all, processes, routes
from tests.hostile.canaries import Canaries
from tests.hostile.gate import Gate, Tally
from tests.hostile.inputs import many
from tests.whole.living import living

_SUFFIXES = ("wav", "mp3", "m4a", "flac", "txt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 if every promise held."""
    parser = argparse.ArgumentParser(prog="bench.faults.hostile")
    parser.add_argument("--count", type=int, default=10_000, help="inputs through the gate")
    parser.add_argument("--whole", type=int, default=1_000, help="inputs through a whole daemon")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="audiolla-hostile-") as folder:
        place = Path(folder)
        canaries = Canaries(place / "secrets")
        gate = Gate(place / "data")
        began = time.monotonic()
        touched: list[str] = []
        tallies: list[Tally] = []
        share = -(-given.count // len(_SUFFIXES))
        for index, suffix in enumerate(_SUFFIXES):
            first = given.first + index * share
            count = min(share, given.first + given.count - first)
            tallies.append(gate.feed(many(max(count, 0), canaries.targets(suffix), first)))
            touched += canaries.touched()
        gate.close()
        bad = _say_gate(tallies, time.monotonic() - began)
        began = time.monotonic()
        with living(place / "whole") as daemon:
            before = processes(daemon.process.pid)
            inputs = many(given.whole, canaries.targets("mp3"), given.first)
            answers = ask_all(daemon.address, inputs, routes())
            touched += canaries.touched()
            restarts = len(before.keys() - processes(daemon.process.pid).keys())
            lost = daemon.log.read_text(errors="replace").count("while it ran job")
        bad += _say_whole(answers, restarts, lost, time.monotonic() - began)
        print(f"canaries touched: {len(touched)} {touched[:5]}")
        canaries.close()
    return 1 if bad or touched else 0


def _say_gate(tallies: list[Tally], seconds: float) -> int:
    outcomes = sum((tally.outcomes for tally in tallies), start=type(tallies[0].outcomes)())
    deaths = [death for tally in tallies for death in tally.deaths]
    unforeseen = [one for tally in tallies for one in tally.unforeseen]
    wrong = [one for tally in tallies for one in tally.not_finite]
    print(f"gate: {sum(outcomes.values())} inputs in {seconds:.0f} s, walls {tallies[0].walls}")
    print(f"  {dict(outcomes.most_common())}")
    print(
        f"  longest {max(t.seconds for t in tallies)}, most processor {max(t.cpu for t in tallies)}"
    )
    print(f"  largest resident memory {max(t.rss for t in tallies) / 2**20:.0f} MiB")
    for hostile, how in deaths + unforeseen:
        print(f"  input {hostile.number} ({hostile.family}, {hostile.name}): {how}")
    print(f"  deaths of the worker: {len(deaths)}; unforeseen errors: {len(unforeseen)}")
    return len(unforeseen) + len(wrong)


def _say_whole(answers: Answers, restarts: int, lost: int, seconds: float) -> int:
    print(f"daemon: {sum(answers.statuses.values())} uploads in {seconds:.0f} s")
    print(f"  answers {dict(sorted(answers.statuses.items()))}")
    print(f"  restarts of API or dispatcher: {restarts}; deaths of workers: {lost}")
    for hostile, route, status, said in answers.broken:
        print(f"  input {hostile.number} ({hostile.family}) to {route}: {status} {said}")
    print(
        f"  answers 500, 502, 504: {len(answers.broken)}; JSON that is none: {len(answers.loose)}"
    )
    return restarts + len(answers.broken) + len(answers.loose)


if __name__ == "__main__":
    raise SystemExit(main())
