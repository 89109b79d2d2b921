"""A worker process: runs the jobs that its dispatcher hands it, one after the other.

    python -m daemon.walls.entry --walls FD --socket FD --lane cpu --parent PID --settings FD

The main thread runs jobs. A small thread reads the socket, so that a cancel
is heard while a job runs. Messages from the dispatcher:

    jobs    claims, to be run in this order behind those it has
    cancel  raise `Cancelled` in this job at its next `progress`
    drop    give these jobs back, except one that has begun
    intended  the answer to an intent (the final names that are taken, or that the job is cancelled)
              or to `first` (the job that has done the same)
    stop    end when the jobs at hand are done

and to it: `ready`, `finished`, `failed`, `handover`, `progress`, `intend`,
`first`, `result_of`, `outside` (its walls have no gate to where the job is), `dropped`. A socket
that closes, or a dispatcher that dies, ends the worker at once, whatever it is doing.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import importlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.execution import Claim, Finished, HandOver, Intent, Run
from daemon.faults import fault_of
from daemon.jobs import LANES, QueueLane
from daemon.recall import Recalled
from daemon.settings import Settings
from daemon.shelves import go_offline, resolved_device, shelf_of
from daemon.spawn import read_settings
from daemon.walls import limits
from daemon.walls.entry import Walls
from daemon.walls.places import Gates, Places, of_claim
from daemon.wire import Closed, Decoder, encode
from handlers.chain import Recall
from handlers.engines.registry import engines
from handlers.engines.running import Batches
from handlers.engines.shelf import Loaded, Shelf
from handlers.errors import AudiollaError, Cancelled
from rules.orders import path_from_text, path_to_text

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_PROGRESS_INTERVAL = 0.1  # seconds between two progress messages of a job
_STEP_INTERVAL = 0.02  # the same, where a new step has begun
_MEMORY_INTERVAL = 0.25  # seconds between two readings of the resident memory
_PAGE = resource.getpagesize()


class Link:
    """The worker's end of the socket, and what has arrived over it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._arrived = threading.Condition()
        self._claims: deque[dict[str, Any]] = deque()
        self._answers: deque[dict[str, Any]] = deque()
        self._stopping = False
        self.current: str | None = None
        self.cancelled: set[str] = set()
        #: Told which models are to go.
        self.unload: Callable[[list[str]], object] = lambda _: None

    def send(self, message: dict[str, Any]) -> None:
        """Tell the dispatcher."""
        data = encode(message)
        with self._sending:
            self._socket.sendall(data)

    def next(self, pause: float, idle: Callable[[], object]) -> dict[str, Any] | None:
        """The next claim, which is thereby begun; None when the worker is to end.

        As long as there is none, `idle` is called every `pause` seconds.
        """
        with self._arrived:
            self.current = None
            while not self._claims:
                if self._stopping:
                    return None
                if not self._arrived.wait(pause):
                    idle()
            claim = self._claims.popleft()
            self.current = claim["id"]
            return claim

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask the dispatcher; wait for the answer, which is true for good when it comes."""
        self.send(question)
        with self._arrived:
            while not self._answers:
                self._arrived.wait()
            return self._answers.popleft()

    def read(self) -> None:
        """Take in messages until the dispatcher is gone; then end the process."""
        decoder = Decoder()
        try:
            while data := self._socket.recv(2**18):
                decoder.feed(data)
                for message in decoder.messages():
                    self._take(message)
        except (OSError, Closed) as gone:
            log.warning("lost the dispatcher: %s", gone)
        finally:
            # The main thread may be deep in a library; nothing is left to do for anybody.
            os._exit(0)

    def _take(self, message: dict[str, Any]) -> None:
        dropped: list[str] = []
        with self._arrived:
            match message["do"]:
                case "jobs":
                    self._claims.extend(message["jobs"])
                case "cancel":
                    if message["id"] == self.current:
                        self.cancelled.add(message["id"])
                case "drop":
                    unwanted = set(message["ids"])
                    dropped = [c["id"] for c in self._claims if c["id"] in unwanted]
                    self._claims = deque(c for c in self._claims if c["id"] not in unwanted)
                case "intended":
                    self._answers.append(message)
                case "stop":
                    self._stopping = True
            self._arrived.notify()
        if message["do"] == "unload":
            self.unload(message["slugs"])
        if message["do"] == "drop":
            self.send({"do": "dropped", "ids": dropped})


class JobContext:
    """What a running job may ask of its worker (`execution.Context`)."""

    def __init__(
        self, link: Link, job: str, settings: Settings, lane: QueueLane, shelf: Shelf
    ) -> None:
        self.settings = settings
        self.lane: QueueLane = lane
        self.shelf = shelf
        self.recall: Recall | None = (
            Recalled(settings.recall, settings.recall_bytes) if settings.recall_bytes else None
        )
        self._link = link
        self._job = job
        self._scratch = settings.scratch / job
        self._last_word = 0.0
        self._step = ""
        self.used_scratch = False

    @property
    def scratch(self) -> Path:
        """Directory of this job alone; removed when the job has ended."""
        if not self.used_scratch:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self.used_scratch = True
        return self._scratch

    def progress(self, fraction: float, step: str) -> None:
        """Say how far the job is.

        Raises:
            Cancelled: somebody cancelled the job.
        """
        if self._job in self._link.cancelled:
            raise Cancelled("the job was cancelled while it ran")
        now = time.monotonic()
        if now - self._last_word < (_PROGRESS_INTERVAL if step == self._step else _STEP_INTERVAL):
            return
        self._last_word, self._step = now, step
        self._link.send({"do": "progress", "id": self._job, "progress": fraction, "step": step})

    def intend(self, intent: Intent) -> Sequence[Path]:
        """Make an intent durable, unless a final name is promised to another job.

        Raises:
            Cancelled: somebody cancelled the job.
        """
        answer = self._link.ask(
            {"do": "intend", "id": self._job, "intent": intent.model_dump(mode="json")}
        )
        if answer.get("cancelled"):
            raise Cancelled("the job was cancelled while it ran")
        return [path_from_text(text) for text in answer["taken"]]

    def first(self, key: str, *, take: bool = False) -> str | None:
        """The job that did or does what a key stands for; None if it is this one now."""
        answer = self._link.ask({"do": "first", "id": self._job, "key": key, "take": take})
        earlier: str | None = answer["earlier"]
        return earlier

    def result_of(self, job: str) -> dict[str, Any] | None:
        """The result of another job that has completed; None where there is none."""
        answer = self._link.ask({"do": "result_of", "id": self._job, "job": job})
        result: dict[str, Any] | None = answer["result"]
        return result


def work(
    link: Link, lane: QueueLane, run: Run, settings: Settings, shelf: Shelf, walls: Walls
) -> None:
    """Run jobs until told to stop; between them, let go of idle models."""
    memory = Memory()
    gates = Gates(walls.written, walls.read, walls.own) if walls.confined else None
    while (raw := link.next(settings.sweeper_interval, shelf.sweep)) is not None:
        job = raw["id"]
        context = JobContext(link, job, settings, lane, shelf)
        began = time.monotonic()
        places: Places = {}
        try:
            claim = Claim.model_validate(raw)
            places = of_claim(claim) if gates is not None else {}
            if gates is not None and gates.missing(places):
                link.send({"do": "outside", "id": job})
                continue
            if walls.limits:
                limits.begin_job(settings.job_cpu_seconds)
            message = _outcome(run(claim, context))
        except Cancelled:
            message = {"do": "cancelled"}
        except Exception as error:  # whatever a job raises ends the job, not the worker
            if gates is not None and gates.missing(places):
                # A share was mounted anew meanwhile: it has the same name, and is another.
                link.send({"do": "outside", "id": job})
                continue
            if not isinstance(error, AudiollaError):
                log.exception("job %s", job)
            message = {"do": "failed", "fault": asdict(fault_of(error, lane))}
        message["id"] = job
        message["took"] = time.monotonic() - began
        message["scratch"] = context.used_scratch
        message["memory"] = memory.resident()
        link.cancelled.discard(job)
        try:
            link.send(message)
        except TypeError as unsendable:
            fault = fault_of(TypeError(f"the result is not plain data: {unsendable}"), lane)
            link.send({"do": "failed", "id": job, "fault": asdict(fault), "scratch": True})


def _outcome(given: Finished | HandOver) -> dict[str, Any]:
    if isinstance(given, Finished):
        return {"do": "finished", "result": given.result}
    return {
        "do": "handover",
        "lane": given.lane,
        "next_step": given.next_step,
        "carried": None if given.carried is None else path_to_text(given.carried),
        "finished": given.finished,
    }


class Memory:
    """The resident memory of this process, read now and then."""

    def __init__(self) -> None:
        self._file = open("/proc/self/statm", "rb", buffering=0)  # noqa: SIM115  # open as long as the process lives
        self._due = 0.0
        self._bytes = 0

    def resident(self) -> int:
        """Bytes, at most a quarter of a second old."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _MEMORY_INTERVAL
            self._bytes = int(os.pread(self._file.fileno(), 100, 0).split()[1]) * _PAGE
        return self._bytes


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(0)  # it died before the kernel was told


def load_run(name: str, settings: Settings) -> Run:
    """The runner's function, with everything imported that a first job would wait for."""
    module, _, function = name.partition(":")
    run: Run = getattr(importlib.import_module(module), function)
    if module == "daemon.runner":
        from daemon.runner import prepare
        from handlers.kernels import warm_all
        from handlers.registry import operations

        prepare(settings)
        operations()
        warm_all()
    return run


def preload(shelf: Shelf, settings: Settings, lane: QueueLane) -> None:
    """Load the models that somebody wants to find ready."""
    for slug in settings.preload:
        engine = engines().get(slug)
        if engine is None:
            log.warning("AUDIOLLA_PRELOAD names %s, which is no engine", slug)
        elif engine.lane == lane and engine.loadable:
            try:
                with shelf.borrow(slug):
                    log.info("engine %s is loaded", slug)
            except AudiollaError as refused:
                log.warning("engine %s cannot be loaded ahead: %s", slug, refused)


def main(arguments: Sequence[str], walls: Walls) -> None:
    """The process behind its walls; `daemon.walls.entry` calls it."""
    parser = argparse.ArgumentParser(prog="daemon.worker")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--settings", type=int, required=True)
    parser.add_argument("--lane", choices=LANES, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--run", default="daemon.runner:run")
    given = parser.parse_args(arguments)

    die_with_parent(given.parent)
    # Ctrl-C and a service manager's SIGTERM reach the whole group; only the dispatcher decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    settings = read_settings(given.settings)
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s")
    link = Link(socket.socket(fileno=given.socket))
    threading.Thread(target=link.read, name="reader", daemon=True).start()
    go_offline()
    Batches.may_use_cpu = settings.cpu_fallback
    run = load_run(given.run, settings)

    def say(loaded: list[Loaded]) -> None:
        link.send({"do": "shelf", "loaded": [asdict(one) for one in loaded], "spent": shelf.spent})

    shelf = shelf_of(settings, resolved_device(settings.device), say)
    link.unload = lambda slugs: [shelf.evict(slug) for slug in slugs]
    link.send({"do": "ready", "walls": walls.told()})
    preload(shelf, settings, given.lane)
    work(link, given.lane, run, settings, shelf, walls)
    sys.stderr.flush()
    # Threads and caches of libraries may take long to end in order; the work is done.
    os._exit(0)
