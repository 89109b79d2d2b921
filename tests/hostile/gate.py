"""The decode gate in a process that walled itself in as a worker does, and who feeds it.

python -m tests.hostile.gate DATA_DIR      (paths on standard input, answers on standard output)
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.inputs import Hostile

#: Seconds that one input may take before the process counts as hanging.
PATIENCE = 60.0


def main() -> None:
    """Wall in; open what is named; say what it was."""
    from daemon.settings import Settings
    from daemon.walls import caches, entry

    settings = Settings(data_dir=Path(sys.argv[1]), max_decoded_bytes=2**28)
    told = json.loads(settings.model_dump_json())
    walls = entry.build(told, "cpu", [], ["tests"])
    caches.numba_only_reads()
    from handlers.kernels import pcm, smf  # noqa: F401 - warm before anything is measured

    print(json.dumps(walls.told()), flush=True)
    for line in sys.stdin:
        began, used = time.perf_counter(), _cpu()
        answer = _answer(Path(line.rstrip("\n")), settings)
        answer |= {"seconds": time.perf_counter() - began, "cpu": _cpu() - used}
        answer["rss"] = _peak()
        print(json.dumps(answer, allow_nan=False), flush=True)


def _peak() -> int:
    """Bytes of memory at most; `ru_maxrss` would know of the process that it was forked from."""
    (line,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(line) * 1024


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _answer(path: Path, settings: Any) -> dict[str, Any]:
    import numpy as np

    from daemon.work.opening import caps_of
    from handlers.codecs.midi import is_midi, read_midi
    from handlers.errors import AudiollaError
    from handlers.smf.clock import seconds_of
    from handlers.smf.reading import read
    from handlers.tagging.others import open_tagged

    try:
        if is_midi(path, name=path.name):
            file = read(read_midi(path, name=path.name))
            return {"outcome": "midi", "seconds_long": min(seconds_of(file), 1e300)}
        sound = open_tagged(path, name=path.name, caps=caps_of(settings))
        frames = 0
        for block in sound:
            if not np.isfinite(block).all():
                return {"outcome": "not finite"}
            frames += block.shape[1]
    except AudiollaError as refused:
        return {"outcome": refused.kind, "detail": refused.detail[:200]}
    except Exception as other:  # noqa: BLE001 - what is not one of ours is a finding
        return {"outcome": "unforeseen", "detail": f"{type(other).__name__}: {other}"[:300]}
    return {
        "outcome": "sound",
        "frames": frames,
        "nonfinite": getattr(sound, "nonfinite_samples", 0),
    }


@dataclass
class Tally:
    """What became of many inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    #: Input, and how the process ended.
    deaths: list[tuple[Hostile, str]] = field(default_factory=list)
    unforeseen: list[tuple[Hostile, str]] = field(default_factory=list)
    not_finite: list[Hostile] = field(default_factory=list)
    #: Worst of each: figure and input.
    seconds: tuple[float, str] = (0.0, "")
    cpu: tuple[float, str] = (0.0, "")
    rss: int = 0
    walls: dict[str, Any] = field(default_factory=dict)


class Gate:
    """Feeds one confined process after the other."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._inputs = data / "uploads" / "hostile"
        self._inputs.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.walls: dict[str, Any] = {}

    def ask(self, hostile: Hostile) -> dict[str, Any]:
        """What the gate says to an input; `died` with the signal where it did not survive it."""
        process = self._process or self._start()
        # A name of ours, as an upload gets it.
        path = self._inputs / "input"
        path.write_bytes(hostile.data)
        assert process.stdin is not None
        process.stdin.write(os.fsencode(path) + b"\n")
        process.stdin.flush()
        answer = self._line(process)
        if answer is None:
            self.close()
            return {"outcome": "died", "detail": _ended(process)}
        return answer

    def feed(self, inputs: Iterable[Hostile]) -> Tally:
        """Ask about many."""
        tally = Tally()
        for hostile in inputs:
            answer = self.ask(hostile)
            outcome = answer["outcome"]
            tally.outcomes[outcome] += 1
            what = f"{hostile.number} ({hostile.family})"
            if outcome == "died":
                tally.deaths.append((hostile, answer["detail"]))
                continue
            if outcome == "unforeseen":
                tally.unforeseen.append((hostile, answer["detail"]))
            if outcome == "not finite":
                tally.not_finite.append(hostile)
            tally.seconds = max(tally.seconds, (answer["seconds"], what))
            tally.cpu = max(tally.cpu, (answer["cpu"], what))
            tally.rss = max(tally.rss, answer["rss"])
        tally.walls = self.walls
        return tally

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.hostile.gate", str(self._data)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        walls = self._line(self._process)
        assert walls is not None, "the gate did not start"
        self.walls = walls
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            process.kill()
            return None
        line = process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _ended(process: subprocess.Popen[bytes]) -> str:
    from daemon.faults import signal_name

    return signal_name(process.wait())


if __name__ == "__main__":
    main()
