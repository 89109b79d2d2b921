"""Runs orders for the command line: on the daemon's queue, or in child processes without it."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from daemon.settings import Settings
from handlers.engines.declare import Lane
from handlers.errors import AudiollaError, all_kinds
from rules.orders import Order

Tell = Callable[[str, float, str], None]
"""Called with a task's id, the share done and the step that runs."""


@dataclass(frozen=True)
class Task:
    """One order and what to call it."""

    id: str
    #: The file as the user wrote it.
    name: str
    order: Order
    lane: Lane
    #: Operation path, or the rules file.
    endpoint: str


@dataclass(frozen=True)
class Ended:
    """How one task ended."""

    task: Task
    result: dict[str, Any] | None = None
    error: str = ""
    hint: str | None = None

    @property
    def ok(self) -> bool:
        """True when it is done."""
        return self.result is not None


class Runner(Protocol):
    """Runs tasks; yields each as it ends."""

    def __call__(self, tasks: Sequence[Task], tell: Tell) -> Iterator[Ended]:
        """Run them all."""


class Children:
    """Child processes of the command, one per core at most; each runs task after task."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, tasks: Sequence[Task], tell: Tell) -> Iterator[Ended]:
        """Run tasks, several at once; leaving early stops them."""
        waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        children = [
            _Child(self._settings) for _ in range(min(len(tasks), self._settings.worker_count))
        ]
        threads = [
            threading.Thread(target=_work, args=(child, waiting, ended, tell), daemon=True)
            for child in children
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in tasks:
                yield ended.get()
        finally:
            for child in children:
                child.close()
            # A thread sees its child end, and closes the pipes that it was reading.
            for thread in threads:
                thread.join(timeout=5)
            for child in children:
                child.forget()


class Probes:
    """Looks into files in one child process, which is started by the first question."""

    def __init__(self, settings: Settings) -> None:
        """Use it in a `with`."""
        self._child = _Child(settings)

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()
        self._child.forget()

    def __call__(self, path: str, measure: Iterable[str] = ()) -> dict[str, Any]:
        """Duration, channels, sample rate, format and tags of a file; and what is measured in it.

        Raises:
            AudiollaError: why it cannot be read.
        """
        answer = self._child.ask({"probe": path, "measure": sorted(measure)}, lambda *_: None)
        if "error" in answer:
            error = answer["error"]
            raise all_kinds().get(error["kind"], AudiollaError)(error["detail"])
        found: dict[str, Any] = answer["finished"]
        return found


def _work(
    child: _Child,
    waiting: queue.SimpleQueue[Task],
    ended: queue.SimpleQueue[Ended],
    tell: Tell,
) -> None:
    while True:
        try:
            task = waiting.get_nowait()
        except queue.Empty:
            return
        request = {"id": task.id, "order": task.order.model_dump_json()}

        def told(fraction: float, step: str, task: Task = task) -> None:
            tell(task.id, fraction, step)

        answer = child.ask(request, told)
        error = answer.get("error", {})
        ended.put(Ended(task, answer.get("finished"), error.get("detail", ""), error.get("hint")))


class _Child:
    """One `daemon.direct`, started when first asked, and again after a crash."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def ask(self, request: dict[str, Any], tell: Callable[[float, str], None]) -> dict[str, Any]:
        """Send a request; `{"finished": ...}` or `{"error": ...}`."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, orjson.dumps(request))
            for line in process.stdout:
                answer: dict[str, Any] = orjson.loads(line)
                if "progress" not in answer:
                    return answer
                tell(answer["progress"], answer["step"])
        except BrokenPipeError:
            pass  # it died between two requests; the exit code below says why
        code = process.wait()
        _close_pipes(process)
        self._process = None
        if self._closed:
            return {"error": {"kind": "Cancelled", "detail": "stopped"}}
        died = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {
            "error": {"kind": "WorkerKilled", "detail": f"the process that ran it ended ({died})"}
        }

    def close(self) -> None:
        """Stop it, at the next block if it works, and by force after two seconds."""
        self._closed = True
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def forget(self) -> None:
        """Close its pipes; nobody reads them any more."""
        process, self._process = self._process, None
        if process is not None:
            _close_pipes(process)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # A session of its own: Ctrl-C reaches the command, and the command stops its child.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daemon.direct"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                cwd=Path.cwd(),
            )
            assert self._process.stdin is not None
            _send(self._process.stdin, self._settings.model_dump_json().encode())
        return self._process


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        # What was still to be written to a dead process is lost anyway.
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()


def _send(pipe: IO[bytes], line: bytes) -> None:
    pipe.write(line + b"\n")
    pipe.flush()
