"""Bench (h): what an hour takes in memory, beside three minutes, through a real worker.

    python -m bench.engine_memory [--short 180] [--long 3600] [--only OP ...]

Checkpoints are small and random: memory that grows with the length of a sound is in the loops
around a network, not in its weights. The worker is a fresh one for each row, warmed by ten
seconds; then its largest resident memory is reset (clear_refs) and read (VmHWM) around each
job. Exits with 1 where an hour takes more than 1.5 times what three minutes take.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from daemon.jobs import NewJob
from handlers.registry import find
from rules.orders import Delivery, Order, SoundRef, StepOrder
from tests.daemon.running import running
from tests.daemon.soak import WORK
from tests.handlers.engines import tiny

_ALLOWED = 1.5
_PATIENCE = 7200.0  # seconds
RATE = 44100


def write_sound(path, seconds):
    """Bursts of noise in stereo, written piece by piece."""
    import soundfile

    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for number in range(seconds):
            level = 0.3 if number % 4 else 0.01
            file.write(level * rng.uniform(-1, 1, (RATE, 2)))
    return path


def peak(pid):
    """The largest resident memory since it was last reset, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(op, params, sounds, models):
    """Peaks in MB and seconds of work, for each sound after the first, which only warms."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        (data / "models").symlink_to(models)
        with running(data, run="tests.daemon.small_engines:run", cpu_workers=1) as queue:
            lane = find(op).lane_for(params)
            for source in sounds:
                worker = next(w for w in queue.client.stats()["workers"] if w["lane"] == lane)
                Path(f"/proc/{worker['pid']}/clear_refs").write_text("5")
                step = StepOrder(op=op, params=params)
                sound = SoundRef(path=source, name=source.name)
                delivery = Delivery(folder=data / "out", reports=False, sound="changed")
                chain = Order(sound=sound, steps=[step], delivery=delivery).model_dump_json()
                began = time.monotonic()
                new = NewJob(order=chain, source="cli", endpoint="/bench", lane=lane)
                done = queue.run(new, _PATIENCE)
                if done.state != "completed":
                    raise SystemExit(f"{op} {params}: {done.error}")
                told.append((peak(worker["pid"]), time.monotonic() - began))
    return told[1:]


def main():
    """Measure every engine, or the operations that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", type=int, default=180)
    parser.add_argument("--long", type=int, default=3600)
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        for make in tiny.MAKERS.values():
            make(models)
        sounds = [
            write_sound(Path(folder) / f"{seconds}.wav", seconds)
            for seconds in (10, asked.short, asked.long)
        ]
        print(f"{'':44}{'short MB':>10}{'long MB':>10}{'ratio':>8}{'long s':>8}")
        for op, params, _ in WORK:
            if op == "trim" or (asked.only and op not in asked.only):
                continue
            (short, _), (long, took) = measure(op, params, sounds, models)
            broken |= long > _ALLOWED * short
            about = " ".join([op, *(str(value) for value in params.values())])
            print(f"{about[:43]:44}{short:10.0f}{long:10.0f}{long / short:8.2f}{took:8.0f}")
            sys.stdout.flush()
    sys.exit(broken)


if __name__ == "__main__":
    main()
