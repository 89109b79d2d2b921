"""Scores on pieces with known truth, ours beside plain librosa's.

    python -m bench.accuracy [rhythm|tonal|structure|speech ...] [--set tuning|final|both]
                             [--pieces N] [--only WORD] [--each] [--no-peers]

Pieces are composed by seed, played by FluidSynth (General MIDI) or spoken by espeak-ng, and
kept in the system's temporary folder; librosa's answers are kept beside them. The set
`tuning` (two thirds) is there to make methods with; `final` is only for the last look.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from statistics import fmean

from bench.accuracy.asking import Marks, chosen, heard
from bench.accuracy.tasks import TASKS, Judged, Question, questions

#: One thread per process: two processes share the machine.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def main() -> None:
    """Print a table per set, and how far confidences can be believed."""
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("task", nargs="*", choices=[*TASKS, []], default=[])
    parser.add_argument("--set", choices=["tuning", "final", "both"], default="tuning")
    parser.add_argument("--pieces", type=int, help="so many of each set, spread over it")
    parser.add_argument("--only", default="", help="pieces whose name has this")
    parser.add_argument("--each", action="store_true", help="a line per piece as well")
    parser.add_argument("--no-peers", action="store_true", help="ours only")
    args = parser.parse_args()
    sets = ["tuning", "final"] if args.set == "both" else [args.set]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for task in args.task or list(TASKS):
            asked = questions(task)
            for corpus in sorted({q.corpus for q in asked}):
                here = [q.name for q in asked if q.corpus == corpus]
                for split in sets:
                    pieces = chosen(corpus, split, args.pieces, args.only)
                    jobs = [(task, here, name, not args.no_peers) for name in pieces]
                    began = time.perf_counter()
                    results = list(pool.map(heard, jobs))
                    took = time.perf_counter() - began
                    print(f"\n{task}, {split} set: {len(pieces)} pieces, {took:.0f} s")
                    _table([q for q in asked if q.corpus == corpus], results, args.each)


def _table(
    asked: Sequence[Question],
    results: Sequence[tuple[str, Marks, list[Judged]]],
    each: bool,
) -> None:
    for question in asked:
        ways = [
            w for w in ("ours", "librosa") if any((question.name, w) in m for _, m, _ in results)
        ]
        print(f"  {question.name:26}" + "".join(f"{way:>10}" for way in ways))
        for column in question.columns:
            cells = []
            for way in ways:
                mean = _mean(m[question.name, way].get(column) for _, m, _ in results)
                cells.append("         –" if mean is None else f"{mean:10.3f}")
            print(f"    {column:24}" + "".join(cells))
        if each:
            for name, marks, _ in results:
                line = "  ".join(
                    f"{column} "
                    + "/".join(_short(marks[question.name, way].get(column)) for way in ways)
                    for column in question.columns
                )
                print(f"      {name:18} {line}")
    _calibration([one for _, _, judged in results for one in judged])


def _calibration(judged: Sequence[Judged]) -> None:
    """Confidence, in bins, against how often it was right."""
    kinds: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        kinds[one.kind].append(one)
    for kind, said in kinds.items():
        print(f"  confidence of {kind}: said, was right (how many)")
        for low, high in pairwise(_BINS):
            inside = [s for s in said if low <= s.confidence < high or s.confidence == high == 1]
            if inside:
                told = fmean(s.confidence for s in inside)
                right = fmean(s.right for s in inside)
                print(f"    {low:.1f} to {high:.1f}   {told:6.2f} {right:6.2f} ({len(inside)})")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
