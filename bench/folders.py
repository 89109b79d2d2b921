"""Bench (b), (d), (e): how soon, how surely and how cheaply hot folders find files.

- drop: a whole file is renamed into a hot folder of a running daemon; how long until a
  worker has started its job (one by one, and many at once).
- stalled: the watching process is stopped while files arrive; how many it misses
  afterwards, beside a watchdog observer under the same treatment.
- rescan: looking through settled files again, beside watchdog's snapshot and diff.
- backlog: files that lie there at the start of a daemon; how long until all are taken, and
  their jobs durable.
- deliver: 5,000 sounds of one second dropped at once, until all are delivered and put away;
  what each costs, with and without manifests, beside a shell loop of FFmpeg that does the same.

    python -m bench.folders [drop] [stalled] [rescan] [backlog] [deliver] [--files N]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from daemon.jobs import Job, NewJob, State, Submitted

SINGLE, AT_ONCE, STALLED, SETTLED, LOOPED = 200, 5_000, 20_000, 100_000, 100
RULES = "rules: [{name: look, match: {ext: wav}, steps: [info]}]"
LEAVING = "no_match: leave\nrules: [{match: {ext: wav}}]"


def main() -> None:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, help="of the backlog, or of those delivered")
    benches: dict[str, Callable[[Path], None]] = {
        "drop": drop,
        "stalled": stalled,
        "rescan": rescan,
    }
    benches["backlog"] = backlog
    benches["deliver"] = deliver
    parser.add_argument("which", nargs="*", help=", ".join(benches))
    args = parser.parse_args()
    benches["backlog"] = partial(backlog, files=args.files or SETTLED)
    benches["deliver"] = partial(deliver, files=args.files or AT_ONCE)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for name in args.which or benches:
        with tempfile.TemporaryDirectory(prefix="audiolla-bench-") as folder:
            benches[name](Path(folder))


# -- (b) from drop to start ------------------------------------------------------------------------
def drop(folder: Path) -> None:
    """Print the delay of single files and of many at once."""
    from daemon.reader import JobReader
    from daemon.settings import Settings

    settings = Settings(data_dir=folder / "data")
    inbox = settings.folders / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "rules.yaml").write_text(RULES)
    ready = folder / "ready"
    ready.mkdir()
    daemon = _daemon(settings.data_dir)
    try:
        reader = JobReader(settings.database)
        pause = threading.Event()

        def dropped(names: list[str], spacing: float) -> dict[str, float]:
            for name in names:
                (ready / name).write_bytes(_wav())
            at: dict[str, float] = {}
            for name in names:
                at[name] = time.time()
                os.rename(ready / name, inbox / name)
                pause.wait(spacing) if spacing else None
            return at

        def starts(names: dict[str, float], timeout: float) -> dict[str, tuple[float, float]]:
            """Delay until on the queue, and until started."""
            end = time.monotonic() + timeout
            while sum(reader.counts()[state] for state in ("completed", "failed")) < done + len(
                names
            ):
                if time.monotonic() > end:
                    raise SystemExit(f"not done after {timeout} s: {reader.counts()}")
                pause.wait(0.2)
            return {
                job.input_name: (
                    job.created - names[job.input_name],
                    job.started - names[job.input_name],
                )
                for job in reader.jobs()
                if job.input_name in names and job.started is not None
            }

        done = 0
        starts(dropped(["warm.wav"], 0), 60)
        done = 1
        delays = starts(dropped([f"one {n}.wav" for n in range(SINGLE)], 0.03), 120)
        started = sorted(1e3 * delay for _, delay in delays.values())
        print(
            f"\ndrop to start, {SINGLE} single files: median {statistics.median(started):.1f} ms, "
            f"p99 {started[int(0.99 * len(started))]:.1f} ms   (target 10 / 50 ms)"
        )
        done += SINGLE
        before = _cpu_seconds(daemon.pid)
        at = dropped([f"many {n}.wav" for n in range(AT_ONCE)], 0)
        first = min(at.values())
        delays = starts(at, 300)
        now = _cpu_seconds(daemon.pid)
        used = ", ".join(f"{name} {now[name] - before[name]:.1f} s" for name in now)
        queued = max(at[name] + delay for name, (delay, _) in delays.items()) - first
        begun = max(at[name] + delay for name, (_, delay) in delays.items()) - first
        print(
            f"{AT_ONCE} files at once: all on the queue after {queued:.2f} s, "
            f"all started after {begun:.2f} s (target 4 s); CPU: {used}"
        )
        reader.close()
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)


def _daemon(data: Path) -> subprocess.Popen[str]:
    """A daemon of its own; its log is `daemon.log` beside its data."""
    with (data.parent / "daemon.log").open("a") as words:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "daemon.cli", "serve", "--data-dir", data, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
        )
    assert daemon.stdout is not None
    if "http" not in daemon.stdout.readline():
        raise SystemExit("the daemon does not start")
    return daemon


def _ended(counts: Mapping[State, int]) -> int:
    return counts["completed"] + counts["failed"]


def _cpu_seconds(daemon: int) -> dict[str, float]:
    """What each process of the daemon has used so far."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    buried: dict[int, float] = {}  # what children used that have ended: workers are replaced
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks = os.sysconf("SC_CLK_TCK")
            used[int(entry.name)] = (int(fields[11]) + int(fields[12])) / ticks
            buried[int(entry.name)] = (int(fields[13]) + int(fields[14])) / ticks
    below = {pid: parent for pid, parent in parents.items() if parent == daemon}
    workers = [pid for pid, parent in parents.items() if parent in below]
    return {
        "main": used[daemon],
        "dispatcher": sum(used[pid] for pid in below),
        "workers": sum(used[pid] for pid in workers) + sum(buried[pid] for pid in below),
    }


# -- (d) while the watcher stands still ------------------------------------------------------------
def stalled(folder: Path) -> None:
    """Print how many of the files are missed that arrive while the watcher is stopped."""
    for name, watcher in (("audiolla", _our_watcher), ("watchdog observer", _watchdog)):
        root = folder / name.split()[0] / "folders" / "inbox"
        root.mkdir(parents=True)
        (root / "rules.yaml").write_text(LEAVING)
        missed, seconds = _missed(watcher, root)
        print(
            f"\n{STALLED} files while stopped, {name}: missed {missed}, all seen "
            f"{seconds:.1f} s after going on"
            if not missed
            else f"\n{STALLED} files while stopped, {name}: missed {missed}"
        )


def _missed(watcher: Callable[[str, Connection], None], root: Path) -> tuple[int, float]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=watcher, args=(str(root), theirs))
    process.start()
    if ours.recv() != "ready" or process.pid is None:
        raise SystemExit("the watcher does not start")
    os.kill(process.pid, signal.SIGSTOP)
    whole = root.parent / "whole"
    whole.write_bytes(_wav())
    for number in range(STALLED):
        os.link(whole, root / f"{number}.txt")
    os.kill(process.pid, signal.SIGCONT)
    start, seen = time.perf_counter(), 0
    # Seen by now, whenever that changed; a watcher that says nothing more for a while is done.
    while ours.poll(60 if not seen else 15) and seen < STALLED:
        seen = ours.recv()
    seconds = time.perf_counter() - start
    process.kill()
    process.join()
    return STALLED - seen, seconds


def _our_watcher(root: str, pipe: Connection) -> None:
    from daemon.folders import FolderManager
    from daemon.settings import Settings

    settings = Settings(data_dir=Path(root).parent.parent)
    manager = FolderManager(settings, _NoQueue(), _NoQueue())
    manager.turn()
    manager.start()
    pipe.send("ready")
    _report(pipe, lambda: manager.status().folders[0].left)


def _watchdog(root: str, pipe: Connection) -> None:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    names: set[str | bytes] = set()

    class Collect(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            names.add(event.src_path)

    observer = Observer()
    observer.schedule(Collect(), root, recursive=True)
    observer.start()
    pipe.send("ready")
    _report(pipe, lambda: sum(str(name).endswith(".txt") for name in names.copy()))


def _report(pipe: Connection, count: Callable[[], int]) -> None:
    pause, before = threading.Event(), -1
    while True:
        now = count()
        if now != before:
            pipe.send(now)
            before = now
        pause.wait(0.2)


class _NoQueue:
    """Nothing is ever submitted: every file is left where it is."""

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        raise AssertionError(f"nothing should be submitted: {jobs}")

    def job(self, job: str) -> Job | None:
        raise AssertionError(f"there is no job {job}")

    def known(self, ids: Sequence[str]) -> dict[str, State]:
        return dict.fromkeys(ids, "pending")


# -- at the start ----------------------------------------------------------------------------------
def backlog(folder: Path, *, files: int = SETTLED) -> None:
    """Print how long a daemon takes to put what it finds at its start on the queue."""
    from daemon.reader import JobReader
    from daemon.settings import Settings

    settings = Settings(data_dir=folder / "data")
    inbox = settings.folders / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "rules.yaml").write_text(RULES)
    whole = _wav(100)
    for number in range(files):
        below = inbox / f"{number // 1000}"
        below.mkdir(exist_ok=True)
        (below / f"take {number % 1000}.wav").write_bytes(whole)
    pause, start = threading.Event(), time.perf_counter()
    daemon = _daemon(settings.data_dir)
    try:
        ready = time.perf_counter()
        reader = JobReader(settings.database)
        while (there := sum(reader.counts().values())) < files:
            if time.perf_counter() - ready > 900:
                raise SystemExit(f"{there} of {files} jobs after 15 minutes")
            pause.wait(0.2)
        taken = time.perf_counter() - ready
        used = ", ".join(
            f"{name} {spent:.1f} s" for name, spent in _cpu_seconds(daemon.pid).items()
        )
        ended = _ended(reader.counts())
        reader.close()
    finally:
        daemon.kill()
        daemon.wait(60)
    print(
        f"\n{files} files at the start: the API answers after {ready - start:.1f} s, all are on "
        f"the queue, durable, {taken:.1f} s later ({1e3 * taken / files:.2f} ms each; target 4 s "
        f"for 100,000), {ended} done by then; CPU: {used}"
    )


# -- small sounds, all the way ---------------------------------------------------------------------
def deliver(folder: Path, *, files: int = AT_ONCE) -> None:
    """Print what the delivery of each of many small sounds costs."""
    sound = _wav(48_000, channels=2)
    print(f"\n{files} sounds of one second, 16-bit stereo, 3 dB down")
    loop = _loop(folder / "loop", sound, min(files, LOOPED))
    for name, manifest in (("with manifests", True), ("without", False)):
        wall, used = _delivered(folder / name, sound, files, manifest=manifest)
        each, cpu = 1e3 * wall / files, 1e3 * sum(used.values()) / files
        parts = ", ".join(f"{part} {1e3 * took / files:.2f}" for part, took in used.items())
        print(
            f"  {name:15} {wall:7.1f} s, {each:6.2f} ms each, "
            f"{loop['one'] / each:4.1f} x the loop, {loop['all'] / each:4.1f} x all cores; "
            f"CPU {cpu:.2f} ms each ({parts}), {loop['cpu'] / cpu:.1f} x less than the loop",
            flush=True,
        )


def _loop(folder: Path, sound: bytes, files: int) -> dict[str, float]:
    """Milliseconds a file of FFmpeg in a shell loop, and of one for each core; CPU of the loop."""
    folder.mkdir()
    (folder / "out").mkdir()
    for number in range(files):
        (folder / f"{number}.wav").write_bytes(sound)
    convert = "ffmpeg -nostdin -y -v error -i {} -af volume=-3dB out/{}"
    one = f"for f in *.wav; do {convert.format(*2 * [chr(34) + '$f' + chr(34)])}; done"
    cores = os.cpu_count() or 1
    every = f"ls *.wav | xargs -P {cores} -I{{}} {convert}"
    took: dict[str, float] = {}
    for name, script in (("one", one), ("all", every)):
        before, start = os.times(), time.perf_counter()
        subprocess.run(["sh", "-c", script], cwd=folder, check=True)
        took[name] = 1e3 * (time.perf_counter() - start) / files
        after = os.times()
        used = after.children_user + after.children_system
        used -= before.children_user + before.children_system
        took.setdefault("cpu", 1e3 * used / files)
    print(
        f"  FFmpeg, {files} of them: a shell loop {took['one']:.1f} ms each, "
        f"{cores} at a time {took['all']:.1f} ms each; CPU {took['cpu']:.1f} ms each"
    )
    return took


def _delivered(
    folder: Path, sound: bytes, files: int, *, manifest: bool
) -> tuple[float, dict[str, float]]:
    """Seconds from the first drop to the last original in `done`, and CPU seconds by process."""
    from daemon.settings import Settings

    settings = Settings(data_dir=folder / "data")
    inbox, ready = settings.folders / "inbox", folder / "ready"
    inbox.mkdir(parents=True)
    ready.mkdir()
    step = "transform: {operations: [{op: gain, params: {db: -3}}]}"
    rule = f"{{name: down, manifest: {str(manifest).lower()}, steps: [{step}]}}"
    (inbox / "rules.yaml").write_text(f"rules: [{rule}]")
    for number in range(files + 50):
        (ready / f"{number}.wav").write_bytes(sound)
    daemon = _daemon(settings.data_dir)
    try:
        pause, done = threading.Event(), inbox / "done"

        def put_away(wanted: int) -> None:
            end = time.monotonic() + 1800
            while not done.is_dir() or len(os.listdir(done)) < wanted:
                if time.monotonic() > end:
                    raise SystemExit(f"{len(os.listdir(done))} of {wanted} after half an hour")
                pause.wait(0.05)

        for number in range(50):  # until the workers are warm
            os.rename(ready / f"{number}.wav", inbox / f"{number}.wav")
        put_away(50)
        before, start = _cpu_seconds(daemon.pid), time.perf_counter()
        for number in range(50, files + 50):
            os.rename(ready / f"{number}.wav", inbox / f"{number}.wav")
        put_away(files + 50)
        wall, after = time.perf_counter() - start, _cpu_seconds(daemon.pid)
        outs = [entry.stat().st_size for entry in os.scandir(inbox / "out")]
        if len(outs) != files + 50 or min(outs) < len(sound) - 100:
            raise SystemExit(f"{len(outs)} outputs, the smallest has {min(outs)} bytes")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
    return wall, {name: after[name] - before[name] for name in after}


# -- (e) looking again -----------------------------------------------------------------------------
def rescan(folder: Path) -> None:
    """Print what it costs to look through settled files again."""
    from watchdog.utils.dirsnapshot import DirectorySnapshot, DirectorySnapshotDiff

    from daemon.watch import RACY_SECONDS, Inbox

    root = folder / "inbox"
    for number in range(SETTLED // 1000):
        (root / f"{number}").mkdir(parents=True)
        for name in range(1000):
            os.close(os.open(root / f"{number}" / f"take {name}.wav", os.O_CREAT | os.O_WRONLY))
    inbox = Inbox(root)
    later = time.time() + 2 * RACY_SECONDS  # as if the files had been there for a while

    def looked(*, everything: bool = False) -> float:
        found: list[str] = []
        start = time.perf_counter()
        inbox.rescan(later, found.append, everything=everything)
        taken = time.perf_counter() - start
        if len(found) not in (0, SETTLED):
            raise SystemExit(f"{len(found)} files found")
        return taken

    first = looked()
    unchanged = min(looked() for _ in range(5))
    net = min(looked(everything=True) for _ in range(5))
    snapshot = DirectorySnapshot(str(root))
    start = time.perf_counter()
    DirectorySnapshotDiff(snapshot, DirectorySnapshot(str(root)))
    peer = time.perf_counter() - start
    print(f"\nrescan of {SETTLED} settled files in {SETTLED // 1000} folders, best of 5")
    print(f"  the first time          {1e3 * first:9.1f} ms")
    print(f"  nothing has changed     {1e3 * unchanged:9.2f} ms   (target 2 ms)")
    print(f"  the full net            {1e3 * net:9.1f} ms   (target 1200 ms)")
    print(f"  watchdog snapshot, diff {1e3 * peer:9.1f} ms   {peer / unchanged:,.0f} x ours")
    print(json.dumps({"unchanged_ms": 1e3 * unchanged, "net_ms": 1e3 * net, "peer_ms": 1e3 * peer}))


def _wav(frames: int = 4800, channels: int = 1) -> bytes:
    data = bytes(range(1, 101)) * (2 * frames * channels // 100)
    rate, block = 48000, 2 * channels
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block, block, 16)
    chunk = struct.pack("<4sI", b"data", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(form) + len(chunk)) + b"WAVE" + form + chunk


if __name__ == "__main__":
    main()
