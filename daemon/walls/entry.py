"""The first lines of a worker: walls up, then everything else.

    python -m daemon.walls.entry --walls FD ... (and the arguments of `daemon.worker`)

Nothing but the standard library is imported before the walls stand.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from daemon.walls import caches, calls, landlock, limits, program

log = logging.getLogger(__name__)

_DRIVER = "/dev/nvidiactl"
#: Seconds until a place outside the data directory counts as away.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Root:
    """A place outside the data directory that a job was about."""

    path: Path
    #: As `places.Made`; None is only read.
    made: Mapping[str, Any] | None = None


@dataclass
class Walls:
    """What stands around this process."""

    #: Landlock's ABI; 0 where the kernel has none, or the walls are off.
    landlock: int = 0
    #: System calls that no decoder needs are refused.
    calls: bool = False
    limits: bool = False
    #: Places that jobs may write to, and those that they may only read.
    written: list[Path] = field(default_factory=list)
    read: list[Path] = field(default_factory=list)
    #: Those that are the daemon's own.
    own: list[Path] = field(default_factory=list)
    #: Why something is missing, in words.
    lacks: list[str] = field(default_factory=list)

    @property
    def confined(self) -> bool:
        """Whether files outside cannot be opened."""
        return self.landlock > 0

    def told(self) -> dict[str, Any]:
        """For the dispatcher."""
        return {k: v for k, v in asdict(self).items() if k not in ("written", "read", "own")}


def build(
    settings: Mapping[str, Any], lane: str, roots: Sequence[Root], packages: Sequence[str]
) -> Walls:
    """Put up the walls around this process; what cannot be had is told, not raised.

    Args:
        settings: as `Settings` dumps them.
        lane: of the worker. The network's neither decodes nor is walled in.
        roots: folders that jobs have named outside the data directory.
        packages: top-level packages that are imported besides ours.
    """
    walls = Walls()
    driver = lane == "gpu" and settings["device"] != "cpu" and os.path.exists(_DRIVER)
    limits.be_killed_first()
    if lane == "net" or settings["sandbox"] == "off":
        return walls
    data = Path(settings["data_dir"])
    own = [data / name for name in ("files", "uploads", "results", "scratch", "recall")]
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
    folders = Path(settings["folders_dir"] or data / "folders")
    if folders.is_relative_to(data):
        folders.mkdir(parents=True, exist_ok=True)
    there = answering(roots)
    written = [*own, folders, *(root.path for root in there if root.made is not None)]
    read = [root.path for root in there if root.made is None]
    if lane == "cpu":
        caches.compile_missing()
    rules = landlock.merged(_rules(settings, written, read, packages, driver=driver))
    limits.lower(
        settings["worker_memory"] if lane == "cpu" else None,
        settings["max_output_bytes"],
    )
    walls.limits = True
    landlock.no_new_privileges()
    if driver and not _driver_works(rules):
        walls.lacks.append("CUDA does not start behind Landlock on this machine")
        return walls
    try:
        walls.landlock, granted = landlock.restrict(rules)
        walls.written = [place for place in written if place in granted]
        walls.read = [place for place in read if place in granted]
        walls.own = own
    except OSError as refused:
        walls.lacks.append(f"Landlock: {refused}")
    if not walls.landlock and not walls.lacks:
        walls.lacks.append("the kernel has no Landlock (Linux 5.13 or later, enabled at boot)")
    elif 0 < walls.landlock < 4:
        walls.lacks.append(f"Landlock's ABI is {walls.landlock}: TCP is known from 4 on")
    if not driver:
        # CUDA's libraries talk to its daemons over Unix sockets and start its helpers.
        try:
            walls.calls = calls.refuse()
        except OSError as refused:
            walls.lacks.append(f"seccomp: {refused}")
        if not walls.calls:
            walls.lacks.append("system calls are not filtered on this machine")
    return walls


def _rules(
    settings: Mapping[str, Any],
    written: Sequence[Path],
    read: Sequence[Path],
    packages: Sequence[str],
    *,
    driver: bool,
) -> Iterator[tuple[Path, int]]:
    yield from program.read_only(packages)
    yield from program.weights(settings)
    yield from caches.readable(Path(settings["data_dir"]) / "scratch" / "tmp")
    yield program.sink()
    if driver:
        yield from program.devices()
    for place in written:
        yield place, landlock.WRITE
    for place in read:
        yield place, landlock.READ


def answering(roots: Sequence[Root], patience: float = _PATIENCE) -> list[Root]:
    """The roots that are there, made where they are to be.

    Each is looked at by a child: a share whose server is gone lets whoever looks wait for ever,
    and only jobs about that share are to wait.
    """
    waiting = {os.pidfd_open(pid): (pid, root) for root in roots if (pid := _look(root))}
    there: list[Root] = []
    end = time.monotonic() + patience
    while waiting and (left := end - time.monotonic()) > 0:
        for handle in select.select(list(waiting), [], [], left)[0]:
            pid, root = waiting.pop(handle)
            os.close(handle)
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
                there.append(root)
    for handle, (_, root) in waiting.items():
        log.warning("%s does not answer", root.path)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    return there


def _look(root: Root) -> int:
    """A child that ends with 0 if the place is there at last; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if root.made is not None and root.made["make"] and not root.path.exists():
            from daemon.delivery import Access

            Access(root.made["mode"], root.made["owner"]).make_folder(root.path)
        root.path.stat()
        code = 0
    finally:
        os._exit(code)


def _driver_works(rules: Mapping[Path, int]) -> bool:
    """Whether CUDA starts behind these walls, tried by a child."""
    child = os.fork()
    if child == 0:
        # Whatever goes wrong in here is an answer.
        good = False
        try:
            import ctypes

            landlock.restrict(rules)
            cuda = ctypes.CDLL("libcuda.so.1")
            device, context = ctypes.c_int(), ctypes.c_void_p()
            good = (
                cuda.cuInit(0) == 0
                and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
                and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device) == 0
            )
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="daemon.walls.entry", add_help=False)
    parser.add_argument("--walls", type=int, required=True)
    parser.add_argument("--settings", type=int, required=True)
    parser.add_argument("--lane", required=True)
    parser.add_argument("--run", default="daemon.runner:run")
    given, _ = parser.parse_known_args()
    arguments = sys.argv[1:]
    at = arguments.index("--walls")
    del arguments[at : at + 2]

    # Read in place: the worker itself reads it again.
    settings = json.loads(os.pread(given.settings, os.fstat(given.settings).st_size, 0))
    with os.fdopen(given.walls, "rb") as source:
        told = json.load(source)
    roots = [Root(Path(os.fsdecode(bytes.fromhex(one["path"]))), one["made"]) for one in told]
    program.forget_working_folder()
    walls = build(settings, given.lane, roots, [given.run.partition(".")[0]])
    required = settings["sandbox"] == "require" or settings["require_sandbox"]
    if required and given.lane != "net" and not walls.confined:
        raise SystemExit(f"no sandbox, and one is required: {'; '.join(walls.lacks)}")

    from daemon import worker

    if walls.limits:
        caches.numba_only_reads()
    worker.main(arguments, walls)


if __name__ == "__main__":
    main()
