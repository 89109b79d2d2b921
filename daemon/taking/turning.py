"""Gives one hot folder its turns, in a thread of its own.

One that hangs in the kernel, because its share does not answer, hangs alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from daemon.clock import Clock
from daemon.hotfolder import HotFolder
from daemon.taking.patience import NoAnswer

log = logging.getLogger(__name__)

LONG: Final = 15.0
"""Seconds that one step of a turn may take before somebody is told."""
BETWEEN: Final = 5.0
"""Seconds that somebody waits for the end of a turn who wants something of its folder."""
_AFTER_A_FAULT: Final = 1.0
_A_MOMENT: Final = 0.1


class Turning:
    """A hot folder and whoever turns it: its own thread once it is started, else the caller."""

    def __init__(self, folder: HotFolder, clock: Clock) -> None:
        """Nothing runs yet."""
        self.folder = folder
        self._clock = clock
        self._wake = threading.Event()
        self._turned = threading.Condition()
        self._turns = 0
        self._turning = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        # Held during a turn, and by those who change something between two.
        self._lock = threading.Lock()
        self._slow_since: float | None = None

    # -- its turns -------------------------------------------------------------------------------
    def turn(self) -> float:
        """One turn, now; the time (monotonic) at which there may be more to do."""
        with self._lock:
            with self._turned:
                self._turning = True
            try:
                due = self.folder.turn()
            finally:
                self.folder.doing = None
                with self._turned:
                    self._turning = False
                    self._turns += 1
                    self._turned.notify_all()
            return due

    def start(self) -> None:
        """Let it have its turns in a thread of its own, if it has none yet."""
        if self._thread is None and not self._stopping:
            name = f"folder {self.folder.rules.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stopping and not self.folder.left:
            self._wake.clear()
            try:
                due = self.turn()
            except Exception:
                # A fault in one turn must not end the watching of the folder for good.
                log.exception("a turn of %s broke off; going on", self.folder.rules.name)
                due = self._clock.monotonic() + _AFTER_A_FAULT
            wait = due - self._clock.monotonic()
            self._wake.wait(None if wait == float("inf") else max(0.0, wait))

    def wake(self) -> None:
        """There is something to do. Any thread may say so."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no turn any more."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end of its last turn; False if it has not ended in time."""
        if self._thread is not None:
            end = time.monotonic() + timeout
            while self._thread.is_alive() and time.monotonic() < end and not self.slow():
                self._thread.join(_A_MOMENT)
            if self._thread.is_alive():
                log.warning("%s: %s", self.folder.rules.name, self.slow() or "is in a turn still")
                return False
        return True

    # -- between two turns -----------------------------------------------------------------------
    @contextmanager
    def between_turns(self) -> Iterator[HotFolder]:
        """The folder, for as long as it has no turn.

        Raises:
            NoAnswer: a turn has not ended in time.
        """
        if not self._lock.acquire(timeout=0 if self.slow() else BETWEEN):
            raise NoAnswer(str(self.folder.rules.root))
        try:
            yield self.folder
        finally:
            self._lock.release()

    def next_whole_turn(self) -> int:
        """For `wait_for`: the number of the first turn that has not begun yet."""
        with self._turned:
            return self._turns + 1 + self._turning

    def wait_for(self, turn: int, timeout: float) -> bool:
        """Wait until the turn of this number has ended; False if it has not in time."""
        with self._turned:
            return self._turned.wait_for(lambda: self._turns >= turn, timeout)

    # -- when it hangs ---------------------------------------------------------------------------
    def slow(self) -> str:
        """What it has been busy with for too long, in words; empty while all is well."""
        doing = self.folder.doing
        if doing is None:
            return ""
        since, what = doing
        seconds = self._clock.monotonic() - since
        if seconds < LONG:
            return ""
        mount = self.folder.mount
        return (
            f"{mount.kind} at {mount.point} has not answered for {seconds:.0f} s ({what}); the "
            "folder goes on when it does"
        )

    def mind(self) -> None:
        """Say so once when it begins to hang, and once when it goes on."""
        said = self.slow()
        if said and self._slow_since is None:
            self._slow_since = self._clock.monotonic()
            log.warning("%s: paused: %s", self.folder.rules.name, said)
        elif not said and self._slow_since is not None:
            self._slow_since = None
            log.info("%s: its disk answers again; goes on", self.folder.rules.name)
