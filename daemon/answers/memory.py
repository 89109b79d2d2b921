"""Gives answers that are known, and keeps those that jobs have found.

Nothing here holds up a request: a new question costs a few small reads, and
what is kept is linked at the end of its job and hashed afterwards, by one
thread. What cannot be kept is not kept; the job is none the worse for it.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from daemon.answers.kept import Kept
from daemon.answers.question import Question, question_of
from daemon.delivery import Drafts
from daemon.execution import Intent
from daemon.jobs import Job
from daemon.recall import content_of, content_of_open
from daemon.settings import Settings
from handlers.errors import AudiollaError
from rules.orders import Delivery, Order, path_from_text

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds that a question waits for its answer to be kept, which is being hashed this moment."""
_BACKLOG = 64
"""Answers that may wait to be hashed; more are not kept."""
_TICK = 60.0
"""Seconds between two looks for answers that are too old."""
_HASHED_PER_SECOND = 700e6
_ALWAYS_KEPT = 2**20
"""Bytes of inputs up to which an answer is kept however quickly it was found."""


@dataclass
class _Asked:
    """A question whose job is at work."""

    question: Question
    #: Somebody waits for the job, and will say that it has ended.
    attended: bool
    #: Its inputs, where somebody waits: they may be gone the moment the job has ended.
    inputs: list[BufferedReader]

    def close(self) -> None:
        """Let go of the inputs."""
        for file in self.inputs:
            file.close()


@dataclass
class _Found:
    """An answer that is to be kept."""

    asked: _Asked
    taken: list[Path]
    result: dict[str, Any]
    kept: threading.Event = field(default_factory=threading.Event)


class _Here:
    """Stands for a worker where files get their names without one."""

    def intend(self, _: Intent) -> Sequence[Path]:
        """No other job is promised a name of ours: they are its own, or replaced."""
        return ()


class Answers:
    """The answers of one daemon; for the threads of its API."""

    def __init__(self, settings: Settings, device: str, kept: Kept | None = None) -> None:
        self._settings = settings
        self._device = device
        self._kept = kept or Kept(settings.cache, settings.cache_bytes, settings.cache_ttl)
        self._lock = threading.Lock()
        #: By job.
        self._asked: dict[str, _Asked] = {}
        #: By key: what is being hashed.
        self._storing: dict[str, _Found] = {}
        #: Another process that looks here, as the door over stdio, only gives.
        self._keeps = False
        self._waiting: queue.SimpleQueue[_Found | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)

    @property
    def on(self) -> bool:
        """False where the settings keep nothing."""
        return self._settings.cache_bytes > 0

    def start(self) -> None:
        """Begin to keep answers; one process does."""
        self._keeps = self.on
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Keep what is at hand, and end."""
        self._keeps = False
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    # -- asking --------------------------------------------------------------------------------
    def question(self, order: Order) -> Question | None:
        """What an order asks; None where no answer may stand for it."""
        try:
            return question_of(order, self._settings, self._device)
        except (OSError, AudiollaError) as wrong:
            log.info("no answer is looked for: %s", wrong)
            return None

    def give(self, job_id: str, question: Question) -> dict[str, Any] | None:
        """Deliver what is known, as the job would have; its result, or None if nothing is known.

        The files lie where the job would have put them when this returns.
        """
        with self._lock:
            storing = self._storing.get(question.key)
        if storing is not None:
            storing.kept.wait(_PATIENCE)
        facts = self._kept.get(question.key)
        if facts is None:
            return None
        try:
            if facts["contents"] != _contents([source.open() for source in question.sources]):
                return None
            return self._delivered(job_id, question, facts)
        except _Damaged as wrong:
            log.warning("a kept answer is dropped: %s", wrong)
            self._kept.drop(question.key)
        except (OSError, AudiollaError) as wrong:
            log.info("a kept answer is not given: %s", wrong)
        return None

    def _delivered(self, job_id: str, question: Question, facts: dict[str, Any]) -> dict[str, Any]:
        delivery = question.delivery
        result: dict[str, Any] = {**facts["result"], "recalled": True}
        if delivery is None:
            return result
        limit = delivery.max_bytes
        with Drafts(
            job_id, delivery.folder, replace=True, max_bytes=limit, fleeting=delivery.fleeting
        ) as drafts:
            for about, name, tail in zip(
                facts["outputs"], facts["names"], facts["tails"], strict=True
            ):
                source = self._kept.file(question.key, name)
                if content_of(source) != about["content"]:
                    raise _Damaged(f"{source} is not what was kept")
                told = {k: v for k, v in about.items() if k not in ("content", "role")}
                draft = drafts.add(_named(delivery, tail), about["role"], **told)
                # What a person may come to write into is a file of its own.
                if delivery.folder == self._settings.results / job_id:
                    os.link(source, draft.part)
                else:
                    shutil.copyfile(source, draft.part)
            return drafts.publish(_Here(), lambda outputs: {**result, "outputs": outputs})

    # -- keeping -------------------------------------------------------------------------------
    def expect(self, job_id: str, question: Question, *, waited_for: bool) -> None:
        """The job is about to be submitted: its answer may be kept."""
        if not self._keeps:
            return
        try:
            inputs = [source.open() for source in question.sources] if waited_for else []
        except OSError:
            return
        with self._lock:
            self._asked[job_id] = _Asked(question, waited_for, inputs)

    def forget(self, job_id: str) -> None:
        """The job comes to nothing, or to nothing that can be kept."""
        with self._lock:
            asked = self._asked.pop(job_id, None)
        if asked is not None:
            asked.close()

    def unattended(self, job_id: str) -> None:
        """Nobody waits for the job any more; its inputs stay until it has ended."""
        with self._lock:
            asked = self._asked.get(job_id)
            inputs = asked.inputs if asked else []
            if asked is not None:
                asked.attended, asked.inputs = False, []
        for file in inputs:
            file.close()

    def wanted(self, job_id: str) -> bool:
        """True when the answer of a job may be kept that nobody waits for."""
        with self._lock:
            asked = self._asked.get(job_id)
            return asked is not None and not asked.attended

    def ended(self, job: Job) -> None:
        """Keep the answer of a job that has ended, if it is one; its files are still there."""
        with self._lock:
            asked = self._asked.pop(job.id, None)
            busy = len(self._storing) >= _BACKLOG
        if asked is None:
            return
        if job.state != "completed" or busy or not _is_worth_it(job, asked.question):
            asked.close()
            return
        taken: list[Path] = []
        try:
            if not asked.inputs:
                asked.inputs = [source.open() for source in asked.question.sources]
            for final, inode in _files_of(job):
                taken.append(self._kept.take(final))
                if inode not in (None, taken[-1].lstat().st_ino):
                    raise FileNotFoundError(f"{final} is another file by now")
        except OSError as wrong:
            log.info("the answer of job %s is not kept: %s", job.id, wrong)
            _drop(taken)
            asked.close()
            return
        found = _Found(asked, taken, job.result or {})
        with self._lock:
            self._storing[asked.question.key] = found
        self._waiting.put(found)

    def _work(self) -> None:
        if not self.on:
            shutil.rmtree(self._settings.cache, ignore_errors=True)
            return
        self._kept.read()
        while True:
            try:
                found = self._waiting.get(timeout=_TICK)
            except queue.Empty:
                self._kept.expire()
                self._kept.make_room()
                continue
            if found is None:
                return
            try:
                self._keep(found)
            except (OSError, AudiollaError) as wrong:
                log.warning("an answer is not kept: %s", wrong)
            finally:
                _drop(found.taken)
                found.asked.close()
                with self._lock:
                    if self._storing.get(found.asked.question.key) is found:
                        del self._storing[found.asked.question.key]
                found.kept.set()

    def _keep(self, found: _Found) -> None:
        question = found.asked.question
        result = dict(found.result)
        outputs: list[dict[str, Any]] = result.pop("outputs", [])
        if len(outputs) != len(found.taken):
            return
        tails: list[str | None] = []
        abouts: list[dict[str, Any]] = []
        for output, taken in zip(outputs, found.taken, strict=True):
            name = path_from_text(output["path"]).name
            tail = _tail(question.delivery, name)
            if tail == "":
                return
            tails.append(tail)
            about = {k: v for k, v in output.items() if k not in ("path", "size")}
            abouts.append({**about, "content": content_of(taken)})
        facts = {
            "contents": _contents(found.asked.inputs),
            "result": result,
            "outputs": abouts,
            "tails": tails,
        }
        self._kept.put(question.key, facts, found.taken)


def _files_of(job: Job) -> list[tuple[Path, int | None]]:
    """What a job has written, each with its inode where that was promised.

    Fleeting results lie in a folder of their job's own, where nobody else writes.
    """
    if job.intent:
        return [(path_from_text(p["final"]), p["inode"]) for p in job.intent["placements"]]
    return [(path_from_text(o["path"]), None) for o in (job.result or {}).get("outputs", ())]


class _Damaged(Exception):
    """A kept file has changed since it was kept."""


def _contents(inputs: list[BufferedReader]) -> list[str]:
    try:
        return [content_of_open(file) for file in inputs]
    finally:
        for file in inputs:
            file.close()


def _is_worth_it(job: Job, question: Question) -> bool:
    """False where to hash the inputs, to keep and to recognise, takes longer than the work."""
    size = sum(source.size for source in question.sources)
    took = (job.completed or 0.0) - (job.started or 0.0)
    return size <= _ALWAYS_KEPT or 2 * size / _HASHED_PER_SECOND < took


def _tail(delivery: Delivery | None, name: str) -> str | None:
    """What a final name has behind the asked one's stem; None for the asked one itself."""
    if delivery is None:
        return ""
    if name == delivery.name:
        return None
    stem = delivery.name if delivery.bare else PurePosixPath(delivery.name).stem
    return name.removeprefix(stem) if name.startswith(f"{stem}.") else ""


def _named(delivery: Delivery, tail: str | None) -> PurePosixPath:
    """The final name under which such a file goes where this delivery says."""
    if tail is None:
        return PurePosixPath(delivery.name)
    stem = delivery.name if delivery.bare else PurePosixPath(delivery.name).stem
    return PurePosixPath(stem + tail)


def _drop(taken: Sequence[Path]) -> None:
    for path in taken:
        with suppress(OSError):
            path.unlink()
