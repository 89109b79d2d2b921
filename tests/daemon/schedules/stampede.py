"""Several clocks in processes of their own, and a dispatcher, all killed again and again.

Time is a number in a file that all of them share; the parent moves it on. What is left in the end
must be one row for each tick, and one job for each row.
"""

import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from daemon.client import Client, QueueUnavailable
from daemon.dispatcher import Dispatcher
from daemon.schedules.batch import Batches
from daemon.schedules.book import BookReader
from daemon.schedules.ticker import Ticker
from daemon.schedules.timetable import NAME, Timetable
from daemon.settings import Settings

_START = 1_800_000_000.0
_MINUTE = 60.0
_moment = threading.Event()  # never set: its wait is a pause


class SharedClock:
    """The time in the file, for any process; delays are the machine's."""

    def __init__(self, folder: Path) -> None:
        path = folder / "now"
        if not path.exists():
            path.write_bytes(struct.pack("d", _START))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    def now(self) -> float:
        return struct.unpack("d", self._map[:8])[0]

    def monotonic(self) -> float:
        return time.monotonic()

    def set(self, now: float) -> None:
        self._map[:8] = struct.pack("d", now)


def dispatch(folder: Path) -> None:
    """Be the dispatcher; nothing is ever run."""
    settings = Settings(data_dir=folder, log_level="ERROR")
    Dispatcher(settings, clock=SharedClock(folder)).serve(head_start=1e9)


def tick(folder: Path) -> None:
    """Be one clock."""
    settings, clock = Settings(data_dir=folder), SharedClock(folder)
    book = BookReader(settings.database)
    timetable = Timetable(settings, book, clock=clock)
    batches = Batches(
        settings.files, settings.results, timetable.around, book, max_bytes=1, max_attempts=1
    )
    with Client(settings.socket) as client:
        ticker = Ticker(timetable, batches, client, clock=clock)
        while True:
            try:
                ticker.turn()
            except QueueUnavailable:
                continue
            _moment.wait(0.001)


@dataclass
class Outcome:
    """What is left."""

    ticks: int = 0
    rows: int = 0
    kills: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class _Processes:
    def __init__(self, folder: Path, tickers: int) -> None:
        self._folder = folder
        self.roles = ["dispatch", *["tick"] * tickers]
        self.running = [self._begin("dispatch")]
        while not (folder / "run" / "dispatcher.sock").exists():
            assert self.running[0].poll() is None, "the dispatcher does not start"
            _moment.wait(0.02)
        self.running += [self._begin(role) for role in self.roles[1:]]

    def _begin(self, role: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.daemon.schedules.stampede", role]
        return subprocess.Popen([*command, os.fspath(self._folder)], stderr=subprocess.DEVNULL)

    def kill(self, number: int) -> None:
        self.running[number].send_signal(signal.SIGKILL)
        self.running[number].wait()
        self.running[number] = self._begin(self.roles[number])

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


def stampede(
    folder: Path, *, ticks: int, tickers: int, kills: int, seed: int, patience: float = 900.0
) -> Outcome:
    """Let `ticks` minutes pass while processes die, and count what was fired."""
    off = ", ".join(f"{{name: {n}, enabled: false}}" for n in ("ledger", "database", "fixity"))
    one = '{name: sweep, cron: "* * * * *", overlap: queue, grace: 4h, jitter: 0}'
    (folder / NAME).write_text(f"schedules: [{one}, {off}]")
    clock, rng = SharedClock(folder), random.Random(seed)
    processes = _Processes(folder, tickers)
    begun, outcome = time.monotonic(), Outcome(ticks)
    try:
        first = _settled(folder, _START - 1, begun + patience)
        target = first // _MINUTE * _MINUTE + ticks * _MINUTE
        deadly = sorted(rng.uniform(first, target - 2 * _MINUTE) for _ in range(kills))
        while (done := _settled(folder, 0.0, begun + patience)) < target:
            if time.monotonic() > begun + patience:
                outcome.wrong.append(f"it stands still at tick {(done - first) // _MINUTE:g}")
                break
            # Never further ahead than the grace, so that each tick is to be fired by itself.
            # And not past the next death, which would then kill nobody who has work.
            ahead = max(clock.now(), done + rng.uniform(60, 3600))
            clock.set(min(ahead, deadly[0] + _MINUTE if deadly else target))
            if deadly and deadly[0] <= done:
                deadly.pop(0)
                processes.kill(rng.randrange(len(processes.roles)))
                outcome.kills += 1
            _moment.wait(0.005)
    finally:
        processes.close()
    outcome.seconds = time.monotonic() - begun
    _count(folder, first, target, outcome)
    return outcome


def _settled(folder: Path, after: float, end: float) -> float:
    """How far the schedule is, once it is known to be further than `after`."""
    while time.monotonic() < end:
        try:
            with sqlite3.connect(f"file:{folder / 'audiolla.db'}?mode=ro", uri=True) as raw:
                row = raw.execute("SELECT settled FROM schedule_marks WHERE name = 'sweep'")
                found = row.fetchone()
        except sqlite3.OperationalError:
            found = None
        if found is not None and found[0] > after:
            return float(found[0])
        _moment.wait(0.02)
    raise AssertionError("no clock began to work")


def _count(folder: Path, first: float, target: float, outcome: Outcome) -> None:
    with sqlite3.connect(folder / "audiolla.db") as raw:
        rows = raw.execute("SELECT tick, missed, state FROM firings ORDER BY tick").fetchall()
        jobs = raw.execute("SELECT count(*) FROM jobs WHERE source = 'schedule'").fetchone()[0]
        bare = raw.execute(
            "SELECT count(*) FROM firings LEFT JOIN firing_jobs ON firing = number"
            " WHERE job IS NULL"
        ).fetchone()[0]
        check = raw.execute("PRAGMA integrity_check").fetchone()[0]
    outcome.rows = len(rows)
    wanted = [first // _MINUTE * _MINUTE + n * _MINUTE for n in range(1, outcome.ticks + 1)]
    fired = [row[0] for row in rows]
    wrong = outcome.wrong
    wrong += [f"tick {t} was lost" for t in sorted(set(wanted) - set(fired))]
    wrong += [f"tick {t} was made up" for t in sorted(set(fired) - set(wanted))]
    wrong += ["a tick was fired twice"] if len(fired) != len(set(fired)) else []
    wrong += [f"tick {t}: {state} +{missed}" for t, missed, state in rows if state != "fired"]
    wrong += [f"{jobs} jobs for {len(rows)} firings"] if jobs != len(rows) else []
    wrong += [f"{bare} firings without a job"] if bare else []
    wrong += [f"the database: {check}"] if check != "ok" else []


if __name__ == "__main__":
    {"dispatch": dispatch, "tick": tick}[sys.argv[1]](Path(sys.argv[2]))
