"""A whole daemon in one process: folders, queue, worker, notices and webhooks, turned by hand.

Everything but the sockets and processes between the parts is real: the disk, the database, the
runner. Time is in the test's hands, and so is death: `die` leaves the disk as it is, forgets
everything else, and `start` begins anew on what is there.
"""

import itertools
import os
import sqlite3
import struct
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson
import pytest

from daemon import runner, store
from daemon.client import News, QueueUnavailable
from daemon.clock import ManualClock
from daemon.delivering.notices import Notices
from daemon.delivering.notifier import Notifier
from daemon.execution import Claim
from daemon.faults import fault_of
from daemon.folders import FolderManager
from daemon.jobs import ENDED, NoSuchWebhook
from daemon.litter import remove, sweep
from daemon.outbox import OutboxReader
from daemon.prepared import Prepared
from daemon.queue import Policy, Queue
from daemon.reader import JobReader
from daemon.settings import Settings
from daemon.shelves import shelf_of
from daemon.store import Store
from daemon.webhooks import Deliverer

#: Directory times are the kernel's: the clock of a test must not be behind them.
EPOCH = 2_000_000_000.0
HOOK = "http://studio.example/told"


def sound(seed: int, frames: int = 2000) -> bytes:
    """A whole mono 16-bit WAV file that no other seed gives."""
    noise = np.random.default_rng(seed).integers(-20_000, 20_000, frames).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 48000, 96000, 2, 16)
    chunk = struct.pack("<4sI", b"data", len(noise)) + noise
    return b"RIFF" + struct.pack("<I", 4 + len(form) + len(chunk)) + b"WAVE" + form + chunk


def samples(data: bytes) -> np.ndarray:
    """The samples of such a file, or of what was made of it."""
    at = data.index(b"data") + 4
    (size,) = struct.unpack("<I", data[at : at + 4])
    return np.frombuffer(data[at + 4 : at + 4 + size], "<i2")


def is_reverse(out: bytes, given: bytes) -> bool:
    """True if one file is the other played backwards, whole."""
    try:
        return bool(np.array_equal(samples(out), samples(given)[::-1]))
    except (ValueError, struct.error):
        return False


@cache
def _empty_database() -> bytes:
    """What the first start makes; made once, because it takes longer than a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audiolla.db"
        Store(path).close()
        return path.read_bytes()


_compiled: dict[int, Prepared] = {}


def _prepared(statement, dialect):
    """Compiled once for all starts of a test process, which are many."""
    if id(statement) not in _compiled:
        _compiled[id(statement)] = Prepared(statement, dialect)
    return _compiled[id(statement)]


class SetClock(ManualClock):
    """One whose wall clock somebody may set, while delays go on as they were."""

    def set_by(self, seconds: float) -> None:
        """Move the wall clock alone."""
        self._now += seconds


class Receiver:
    """Whoever the webhooks are for (`daemon.outgoing.Outgoing`)."""

    def __init__(self) -> None:
        #: Message id and body of each that came.
        self.told: list[tuple[str, bytes]] = []

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        assert url == HOOK
        self.told.append((headers["webhook-id"], body))
        return 204


class _Now:
    """Stands where a thread would wait: it never does."""

    def is_set(self) -> bool:
        return False

    def wait(self, _seconds: float) -> bool:
        return False


class _Desk:
    """The dispatcher as its clients see it, without a socket: each request is a turn of its own.

    A database that does not answer ends the dispatcher, and the request is not answered.
    """

    def __init__(self, whole: "Whole") -> None:
        self._whole = whole

    def _turn(self, ask):
        whole = self._whole
        try:
            answer = ask(whole.queue)
            whole.store.commit()
        except sqlite3.OperationalError as wrong:
            whole.dispatcher_dies()
            raise QueueUnavailable(f"the queue does not answer: {wrong}") from None
        whole.tell()
        return answer

    def submit(self, jobs):
        return self._turn(lambda queue: queue.submit(jobs))

    def retry(self, job):
        return self._turn(lambda queue: queue.retry(job))

    def release(self, jobs):
        return self._turn(lambda queue: sum(queue.release(job) for job in jobs))

    def announce(self, webhook, job, url, event, body):
        return self._turn(lambda queue: queue.outbox.announce_as(webhook, job, url, event, body))

    def webhook_attempted(self, webhook, attempt, state, next_at):
        # As over the socket: asked again by its caller, but not for ever in one turn.
        with suppress(QueueUnavailable, NoSuchWebhook):
            self._turn(lambda queue: queue.outbox.attempted(webhook, attempt, state, next_at))


class Context:
    """What the runner may ask of its worker."""

    lane = "cpu"
    recall = None

    def __init__(self, whole: "Whole", held) -> None:
        self.settings, self.shelf = whole.settings, whole.shelf
        self._whole, self._held = whole, held
        self.scratch = whole.settings.scratch / held.id
        self.scratch.mkdir(parents=True, exist_ok=True)

    def progress(self, fraction, step):
        pass

    def intend(self, intent):
        taken = self._whole.queue.intend(self._held, intent.model_dump(mode="json"))
        self._whole.store.commit()
        return [Path(one) for one in taken]

    def first(self, key, *, take=False):
        earlier = self._whole.queue.first(self._held, key, take=take)
        self._whole.store.commit()
        return earlier


class Whole:
    """One hot folder of a daemon, and everything behind it."""

    def __init__(
        self,
        folder: Path,
        rules: str,
        *,
        listen: bool = False,
        seed: int = 0,
        clock: SetClock | None = None,
    ) -> None:
        self.settings = Settings(data_dir=folder, fetch_allow_private=True)
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.settings.database.write_bytes(_empty_database())
        self.root = self.settings.folders / "box"
        self.root.mkdir(parents=True)
        (self.root / "rules.yaml").write_text(rules)
        self.clock = clock or SetClock(EPOCH)
        self.receiver = Receiver()
        self.shelf = shelf_of(self.settings, "cpu")
        self._listen = listen
        self._ids = (str(UUID(int=n, version=4)) for n in itertools.count(seed * 10**9 + 1))
        self.restarts = 0
        self._alive = False
        self._read: JobReader | None = None
        self.start()

    # -- life and death --------------------------------------------------------------------------
    def start(self) -> None:
        """The processes begin, on what is on the disk."""
        settings, clock = self.settings, self.clock
        self._alive = True
        self._open_queue()
        self.desk = _Desk(self)
        notices = Notices(settings.notices, clock)
        self.manager = FolderManager(
            settings,
            self.desk,
            self,
            clock=clock,
            new_job_id=lambda: next(self._ids),
            listen=self._listen,
            notices=notices,
        )
        self.notifier = Notifier(settings, notices, self.desk, clock=clock)
        self.outbox = OutboxReader(settings.database)
        self.deliverer = Deliverer(
            settings,
            self.desk,
            self.outbox,
            lambda webhook: (webhook.job or "").encode(),
            outgoing=self.receiver,
            clock=clock,
        )
        self.deliverer._stopping = _Now()
        sweep(settings, self.reader, clock.now())

    def _open_queue(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "Prepared", _prepared)
            self.store = Store(self.settings.database)
        # The dice that spread retries always show their highest face.
        self.queue = Queue(self.store, Policy(), self.clock, lambda: 0.999)
        self.queue.listening = True

    def die(self) -> None:
        """All processes are gone at this moment; what was not committed never happened."""
        if self._alive:
            self._alive = False
            self.restarts += 1
            self.store._raw.rollback()
            self.store.close()
            self.outbox.close()
            self._close_reader()
            events = self.manager._events
            if events is not None:
                events.close()

    def dispatcher_dies(self) -> None:
        """The one process that owns the database ends, and is there again."""
        self.store._raw.rollback()
        self.store.close()
        self._open_queue()

    def close(self) -> None:
        """The end of the test."""
        if self._alive:
            self.manager.stop()
            self.store.close()
            self.outbox.close()
        self._close_reader()

    # -- what the folders read -------------------------------------------------------------------
    @property
    def reader(self) -> JobReader:
        if self._read is None:
            self._read = JobReader(self.settings.database)
        return self._read

    def _close_reader(self) -> None:
        if self._read is not None:
            self._read.close()
        self._read = None

    def job(self, job):
        return self.reader.job(job)

    def several(self, ids):
        return self.reader.several(ids)

    def known(self, ids):
        return self.reader.known(ids)

    # -- time ------------------------------------------------------------------------------------
    def turn(self, *, hooks: bool = True) -> None:
        """Everybody does what can be done now; `hooks`: those too who tell of it."""
        while (due := self._thread(self.manager.turn)) and due <= self.clock.monotonic():
            pass
        self.work()
        self._thread(self.manager.turn)
        if hooks:
            self._thread(self.notifier.turn)
            self._thread(self.send)

    @staticmethod
    def _thread(turn):
        """One turn of a thread of the daemon; what breaks it off does not end the thread."""
        with suppress(Exception):
            return turn()
        return None

    def pass_time(self, seconds: float, steps: int = 1) -> None:
        """Let time pass, with a turn after each step of it."""
        for _ in range(steps):
            self.clock.advance(seconds / steps)
            self.turn()

    def work(self) -> None:
        """Run what may start, one after the other, as a worker does."""
        try:
            self.queue.release_due()
            self.store.commit()
            while some := list(self.queue.next_jobs("cpu", 16)):
                for held in some:
                    self._run(held)
        except sqlite3.OperationalError:
            # The dispatcher ends with its database, and its workers with it.
            self.dispatcher_dies()

    def _run(self, held) -> None:
        self.queue.claim(held, "cpu-1")
        self.store.commit()
        try:
            # Over the wire and back.
            claim = Claim.model_validate(orjson.loads(orjson.dumps(held.claim())))
            done = runner.run(claim, Context(self, held))
        except sqlite3.OperationalError:
            raise
        except Exception as wrong:  # noqa: BLE001  # as the worker's: what a job raises ends the job
            self.queue.fail(held, fault_of(wrong, "cpu"))
        else:
            self.queue.complete(held, done.result)
        self.store.commit()
        for job in self.queue.litter:
            remove(self.settings.scratch / job)
        self.queue.litter.clear()
        self.tell()

    def tell(self) -> None:
        """The news go to the folders."""
        news, self.queue.news = self.queue.news, []
        for one in news:
            if one["state"] in ENDED:
                self.manager.heard(News(state=one["state"], id=one["id"]))

    def send(self) -> None:
        """Send the webhooks that are due."""
        for webhook in self.outbox.due():
            if webhook.next_at is not None and webhook.next_at <= self.clock.now():
                self.deliverer._under_way[webhook.id] = ""
                self.deliverer._deliver(webhook)

    # -- what there is ---------------------------------------------------------------------------
    def drop(self, rel: str, data: bytes) -> Path:
        """A finished file appears in the inbox, by rename."""
        path = self.root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self.settings.data_dir / f"incoming {os.path.basename(rel)}"
        part.write_bytes(data)
        os.rename(part, path)
        return path

    def files(self, below: str = "") -> list[str]:
        """Every file in the folder (or a stage of it), without the rule file."""
        base = self.root / below
        return sorted(
            os.path.relpath(os.path.join(folder, name), base)
            for folder, _, names in os.walk(base)
            for name in names
            if name != "rules.yaml"
        )

    def strays(self) -> list[str]:
        """Files that are neither here nor there: parts, and scratch of nobody."""
        return sorted(
            os.path.relpath(os.path.join(folder, name), self.settings.data_dir)
            for folder, _, names in os.walk(self.settings.data_dir)
            for name in names
            if name.endswith(".part") or Path(folder).is_relative_to(self.settings.scratch)
        )
