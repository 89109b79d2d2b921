"""Schedules over a real database, with time and death in the test's hands."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from daemon.clock import ManualClock
from daemon.queue import Policy, Queue
from daemon.reader import JobReader
from daemon.schedules.batch import Batches
from daemon.schedules.book import BookReader
from daemon.schedules.ticker import Ticker
from daemon.schedules.timetable import NAME, Timetable
from daemon.settings import Settings
from daemon.store import Store
from tests.daemon.inboxes import wav

#: A Monday, at noon UTC.
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
#: What comes with the program, switched off: its own tests are about it.
QUIET = [{"name": n, "enabled": False} for n in ("sweep", "ledger", "database", "fixity")]


class Killed(BaseException):
    """The process is gone; nothing may catch this."""


@dataclass
class Wire:
    """The dispatcher, without a socket: each request is a turn of its own."""

    queue: Queue
    store: Store
    #: Called with `before`, `written` and `committed`, in the middle of each request.
    moment: object = staticmethod(lambda _: None)

    def _turn(self, ask):
        self.moment("before")
        answer = ask()
        self.moment("written")
        self.store.commit()
        self.moment("committed")
        return answer

    def fire(self, firing):
        return self._turn(lambda: self.queue.book.fire(firing))

    def settle(self, timings):
        return self._turn(lambda: self.queue.book.settle(timings))

    def forget_marks(self, names):
        return self._turn(lambda: self.queue.book.forget_marks(names))

    def put_schedule(self, name, written):
        return self._turn(lambda: self.queue.book.put(name, written))

    def drop_schedule(self, name):
        return self._turn(lambda: self.queue.book.drop(name))


@dataclass
class FakeFolders:
    """Hot folders that only remember what they were told."""

    there: list = field(default_factory=lambda: ["podcast"])
    released: list = field(default_factory=list)

    def names(self):
        return self.there

    def let_go(self, name, until):
        self.released.append((name, until))


class Clockwork:
    """One daemon's clock over one data directory."""

    def __init__(self, folder: Path, *schedules: dict, quiet: bool = True, now: float = NOON):
        self.settings = Settings(data_dir=folder)
        self.clock = ManualClock(now)
        self.folders = FakeFolders()
        self.quiet = quiet
        folder.mkdir(parents=True, exist_ok=True)
        self.write(*schedules)
        self.store = None
        self.start()

    def start(self):
        """The processes begin (again), on what is on disk."""
        if self.store is not None:
            self.store.close()
        self.store = Store(self.settings.database)
        self.queue = Queue(self.store, Policy(), self.clock, lambda: 0.5)
        self.wire = Wire(self.queue, self.store)
        self.book = BookReader(self.settings.database)
        self.reader = JobReader(self.settings.database)
        self.ticker = self.another()

    def another(self, clock=None) -> Ticker:
        """One more ticker on the same data."""
        clock = clock or self.clock
        timetable = Timetable(self.settings, self.book, clock=clock)
        self.batches = Batches(
            self.settings.files,
            self.settings.results,
            timetable.around,
            self.book,
            max_bytes=self.settings.max_upload_bytes,
            max_attempts=3,
        )
        self.timetable = timetable
        return Ticker(
            timetable,
            self.batches,
            self.wire,
            folders=self.folders,
            last_fired=self.book.last_fired,
            clock=clock,
        )

    def write(self, *schedules: dict):
        """Write the user's file."""
        listed = [*(QUIET if self.quiet else []), *schedules]
        text = yaml.safe_dump({"schedules": listed}, sort_keys=False)
        (self.settings.data_dir / NAME).write_text(text)

    def stage(self, path: str, frames: int = 100) -> Path:
        """Put a sound into the staging area."""
        target = self.settings.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = self.settings.data_dir / "part"
        part.write_bytes(wav(frames))
        part.rename(target)
        return target

    def until(self, *, minutes: float = 0, hours: float = 0, step: float = 60.0):
        """Let time pass, with a turn at every step."""
        left = minutes * 60 + hours * 3600
        self.ticker.turn()
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            self.ticker.turn()

    def away(self, *, minutes: float = 0, hours: float = 0):
        """Let time pass while nobody is there."""
        self.clock.advance(minutes * 60 + hours * 3600)

    @property
    def history(self):
        return self.book.firings(None, 100_000)

    @property
    def jobs(self):
        return self.reader.jobs()

    def finish(self, state="completed"):
        """Everything on the queue is done."""
        for lane in ("cpu", "gpu"):
            for held in list(self.queue.next_jobs(lane, 10_000)):
                self.queue.claim(held, "w")
                if state == "completed":
                    self.queue.complete(held, {"outputs": [], "steps": []})
                else:
                    self.queue.end_cancelled(held, "no")
        self.store.commit()
        self.queue.litter.clear()

    def times(self):
        """Tick and state of the history, as text."""
        return [
            f"{datetime.fromtimestamp(f.tick, UTC):%d. %H:%M} {f.state}"
            + (f" +{f.missed}" if f.missed else "")
            for f in self.history
        ]
