"""Worker processes: started warm, watched, replaced, and kept apart by lane.

A lane keeps as many workers as it may use at once, and the CPU lane one warm
spare besides. When a worker dies, or is worn out, the spare is there at once
and the next spare is started.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from daemon.faults import signal_name
from daemon.held import Held
from daemon.jobs import LANES, QueueLane
from daemon.log import pass_on
from daemon.settings import SECRET, Settings
from daemon.spawn import handed, handed_text, without_secrets
from daemon.wire import Channel

if TYPE_CHECKING:
    from daemon.walls.places import Places

log = logging.getLogger(__name__)

COURIER = "daemon.courier:run"
_STDERR_KEPT = 8192  # bytes of a worker's last words
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds between starts of workers that die at start

#: One thread each: jobs run side by side, and a library's thread pool would only add switches.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


class Words:
    """What a worker writes to its stdout and stderr: into the log, and its end kept."""

    def __init__(self, fd: int, label: str) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        #: The job that it works on, if any.
        self.job: Callable[[], str | None] = lambda: None
        self._label = label
        self._kept = bytearray()
        self._open = True

    def hear(self) -> bool:
        """Take in what was written; False at the end of it."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return True
        self._keep(data)
        return bool(data)

    def last(self) -> str:
        """The end of what was written by a process that is dead."""
        while self._open:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._keep(data)
        return self._kept.decode(errors="replace")

    def _keep(self, data: bytes) -> None:
        for line in data.decode(errors="replace").splitlines():
            pass_on(line, self._label, self.job())
        self._kept += data
        del self._kept[:-_STDERR_KEPT]

    def close(self) -> None:
        """Close the pipe."""
        self._open = False
        os.close(self.fd)


@dataclass(eq=False, slots=True)
class Worker:
    """One worker process as its dispatcher sees it."""

    name: str
    lane: QueueLane
    process: subprocess.Popen[bytes]
    channel: Channel
    words: Words
    state: Literal["starting", "ready", "leaving"] = "starting"
    #: Jobs that it has, in the order in which it runs them; the first one has begun.
    pocket: deque[Held] = field(default_factory=deque)
    #: Estimated seconds of work in the pocket.
    load: float = 0.0
    #: Somebody will look whether its pocket gets emptier.
    watched: bool = False
    jobs_done: int = 0
    memory: int = 0
    #: Models that it holds, as `handlers.engines.shelf.Loaded`.
    shelf: list[dict[str, Any]] = field(default_factory=list)
    #: Why it is to be replaced; empty while it is good.
    worn: str = ""
    #: Places outside the data directory that it was started with.
    roots: Places = field(default_factory=dict)
    #: What stands around it (`daemon.walls.entry.Walls`); empty until it is ready.
    walls: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and pid, as in the log of a job."""
        return f"{self.name} ({self.process.pid})"

    def bury(self) -> str:
        """End a process that is dying or not needed any more, and wait for its end.

        Returns:
            How it ended, in words.
        """
        # The signal does not change how a dying one ends, and one that has only closed its socket
        # is of no use.
        self.process.kill()
        return signal_name(self.process.wait())


class Lanes:
    """All workers of a dispatcher."""

    def __init__(
        self,
        settings: Settings,
        *,
        run: str,
        later: Callable[[float, Callable[[], None]], None],
        started: Callable[[Worker], None],
    ) -> None:
        """Prepare the lanes; `fill` starts the workers.

        Args:
            run: module and function that workers run jobs with.
            later: calls a function after some seconds.
            started: called with each worker that was started.
        """
        # Workers open what strangers send; tokens are none of their business.
        self._settings = settings.model_copy(
            update={name: [] if name == "webhook_secret" else "" for name in SECRET}
        )
        self._run = run
        self._later = later
        self._started = started
        self._count: dict[QueueLane, int] = {"cpu": settings.worker_count, "gpu": 1, "net": 0}
        self._spares: dict[QueueLane, int] = {"cpu": 1, "gpu": 0, "net": 0}
        self._workers: dict[QueueLane, list[Worker]] = {lane: [] for lane in LANES}
        self._pause: dict[QueueLane, float] = dict.fromkeys(LANES, 0.0)
        self._pausing: set[QueueLane] = set()
        self._numbers: dict[QueueLane, int] = dict.fromkeys(LANES, 0)
        self._closing = False
        #: Folders outside the data directory that jobs were about: new workers may go there.
        self._roots: Places = {}
        #: What the last worker said that died before it was ready.
        self.trouble: dict[QueueLane, str] = {}

    def __iter__(self) -> Iterator[Worker]:
        return chain.from_iterable(self._workers.values())

    def serving(self, lane: QueueLane) -> list[Worker]:
        """The workers that may be given jobs: good ones first, the lane's number at most."""
        ready = [worker for worker in self._workers[lane] if worker.state == "ready"]
        ready.sort(key=lambda worker: (bool(worker.worn), not worker.pocket))
        return ready[: self._count[lane]]

    def ready(self, lane: QueueLane) -> int:
        """How many workers are warm."""
        return sum(worker.state == "ready" for worker in self._workers[lane])

    def widen_net(self) -> None:
        """Have one more worker that fetches and sends, if all there are have work to do.

        A server that is never given a URL has none.
        """
        busy = [worker for worker in self._workers["net"] if worker.pocket]
        if len(busy) == self._count["net"] < self._settings.fetch_workers:
            self._count["net"] += 1
            self.fill()

    @property
    def complete(self) -> bool:
        """True when every lane has as many warm workers as it may use."""
        return all(self.ready(lane) >= count for lane, count in self._count.items())

    def fill(self) -> None:
        """Start what is missing: numbers, spares, and successors of the worn."""
        for lane, workers in self._workers.items():
            if self._closing or lane in self._pausing:
                continue
            alive = [worker for worker in workers if worker.state != "leaving"]
            successors = min(sum(bool(worker.worn) for worker in alive), 1)
            wanted = self._count[lane] + max(self._spares[lane], successors)
            for _ in range(wanted - len(alive)):
                self._start(lane)

    def _start(self, lane: QueueLane) -> None:
        self._numbers[lane] += 1
        ours, theirs = socket.socketpair()
        hear, speak = os.pipe2(os.O_CLOEXEC)
        roots = json.dumps(
            [
                {"path": os.fsencode(path).hex(), "made": None if made is None else asdict(made)}
                for path, made in self._roots.items()
            ]
        )
        with handed(self._settings) as settings, handed_text(roots) as walls:
            command = [sys.executable, "-m", "daemon.walls.entry", "--walls", str(walls)]
            command += ["--socket", str(theirs.fileno()), "--settings", str(settings)]
            run = COURIER if lane == "net" else self._run
            command += ["--lane", lane, "--parent", str(os.getpid()), "--run", run]
            process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(), settings, walls),
                stdin=subprocess.DEVNULL,
                stdout=speak,
                stderr=speak,
                env={**without_secrets(os.environ), **(_ONE_THREAD if lane == "cpu" else {})},
            )
        theirs.close()
        os.close(speak)
        name = f"{lane}-{self._numbers[lane]}"
        words = Words(hear, f"{name} ({process.pid})")
        worker = Worker(name, lane, process, Channel(ours), words)
        worker.roots = self._roots
        words.job = lambda: worker.pocket[0].id if worker.pocket else None
        self._workers[lane].append(worker)
        self._started(worker)

    def allow(self, roots: Places) -> None:
        """Let workers that are started from now on go to these places."""
        from daemon.walls.places import together

        self._roots = together(self._roots, roots)

    def replace(self, worker: Worker, why: str) -> None:
        """Let a worker go after what it has begun, though nobody stands in for it yet."""
        log.info("%s is replaced: %s", worker.label, why)
        worker.worn, worker.state = why, "leaving"
        worker.channel.send({"do": "drop", "ids": [held.id for held in worker.pocket]})
        worker.channel.send({"do": "stop"})
        self.fill()

    def is_ready(self, worker: Worker, walls: dict[str, Any]) -> None:
        """The worker is warm."""
        worker.state, worker.walls = "ready", walls
        self._pause[worker.lane] = 0.0
        self.trouble.pop(worker.lane, None)
        self.retire()

    def remove(self, worker: Worker, how: str) -> None:
        """The worker is dead; start its successor, after a pause if it died at start."""
        lane = worker.lane
        self._workers[lane].remove(worker)
        if lane in self._pausing or self._closing:
            return
        if worker.state == "starting":
            self._pause[lane] = min(max(2 * self._pause[lane], _FIRST_PAUSE), _LONGEST_PAUSE)
            self.trouble[lane] = f"{worker.label} died at start with {how}:\n{worker.words.last()}"
            log.error(
                "%s; the next one is started in %.1f s", self.trouble[lane], self._pause[lane]
            )
            self._pausing.add(lane)
            self._later(self._pause[lane], lambda: self._resume(lane))
        else:
            self.fill()

    def _resume(self, lane: QueueLane) -> None:
        self._pausing.discard(lane)
        self.fill()

    def wear(self, worker: Worker, why: str = "") -> None:
        """Look whether a worker has served long enough; `why` is what it says itself."""
        if worker.worn:
            return
        limit = self._settings.worker_max_memory
        # What is lent is meant to stay, and has a limit of its own.
        used = worker.memory - sum(one["bytes"] for one in worker.shelf)
        if why:
            worker.worn = why
        elif worker.jobs_done >= self._settings.worker_max_jobs:
            worker.worn = f"{worker.jobs_done} jobs done"
        elif used > limit:
            worker.worn = f"{used / 2**20:.0f} MiB in use, allowed are {limit / 2**20:.0f}"
        else:
            return
        self.fill()
        self.retire()

    def retire(self) -> None:
        """Let worn workers go, as far as warm ones stand in for them."""
        for lane, workers in self._workers.items():
            good = [w for w in workers if w.state == "ready" and not w.worn]
            worn = [w for w in workers if w.state == "ready" and w.worn]
            stay = max(self._count[lane] - len(good), 0)
            for worker in worn[: len(worn) - stay]:
                # Behind the begun job nothing is kept waiting for the end of a worker.
                self.replace(worker, worker.worn)
            self.fill()

    def kill(self, worker: Worker) -> None:
        """End a worker by force; its closing socket is then news like any other death."""
        worker.process.kill()

    def close(self) -> None:
        """Start no more workers."""
        self._closing = True
