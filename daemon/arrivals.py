"""The files of one inbox that are on their way in: seen, but not known to be complete yet."""

from __future__ import annotations

import errno
import heapq
import math
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from daemon.clock import Clock
from daemon.readings import read_file, stamp_of
from daemon.reasons import read_reason
from daemon.settle import Patience, Settling, Truncated, Wait
from daemon.watch import Inbox
from rules.model import SettleText

_NET_SECONDS: Final = 300.0
_UNREADABLE_SECONDS: Final = 30.0
_BEFORE_ALL: Final = float("-inf")

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Arrived:
    """A file that nothing more will be added to."""

    path: str
    #: Why it is not whole; empty if it is.
    truncated: str = ""


class Arrivals:
    """Asks of each file in an inbox whether it is complete, no more often than it has to."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        settle: SettleText,
        *,
        local: bool,
        rescan_interval: float,
        slowest: float | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            inbox: what is there.
            clock: the time.
            settle: the folder's wishes.
            local: leases tell the truth on its mount.
            rescan_interval: seconds between two rescans; infinite for none unless asked for.
            slowest: seconds between two rescans when nothing has come for a while.
        """
        self._inbox = inbox
        self._clock = clock
        self._local = local
        self._rescan_interval = self._pace = rescan_interval
        self._slowest = rescan_interval if slowest is None else slowest
        #: Unix seconds of the last rescan.
        self.last_scan: float | None = None
        self._hints: deque[tuple[str, str]] = deque()
        self._settling: dict[str, Settling] = {}
        self._why: dict[str, str] = {}
        #: When to look at each, and the same as a heap (in which older entries are stale).
        self._due: dict[str, float] = {}
        self._noticed = 0
        self._queue: list[tuple[float, str]] = []
        #: Files that stay where they are, as they were when that was found.
        self._left: dict[str, Stamp] = {}
        self._next_rescan = self._next_net = _BEFORE_ALL
        self._rescan_asked = self._net_asked = False
        if math.isinf(rescan_interval):
            self._next_rescan = math.inf
        self.settle(settle)

    def settle(self, wishes: SettleText) -> None:
        """Other wishes of the folder; what had been left is looked at again."""
        patience = Patience(quiet=wishes.quiet)
        if wishes.unknown is not None:
            quiet = wishes.unknown
            patience = replace(
                patience,
                unknown_local=quiet,
                unknown_remote=quiet,
                open_local=quiet,
                open_fresh=quiet,
                zeros_remote=quiet,
            )
        if wishes.truncated_after is not None:
            after = wishes.truncated_after
            patience = replace(patience, truncated_local=after, truncated_remote=after)
        self._patience = patience
        left, self._left = self._left, {}
        for path in left:
            self._notice(path)

    # -- what is there ---------------------------------------------------------------------------
    @property
    def next_due(self) -> float:
        """Time (monotonic) at which there is something to look at again."""
        if self._rescan_asked:
            return _BEFORE_ALL
        return min(self._next_rescan, self._queue[0][0] if self._queue else self._next_rescan)

    @property
    def waiting(self) -> int:
        """Files that are not complete yet."""
        return len(self._settling)

    def first_waiting(self, most: int) -> list[tuple[str, str]]:
        """Some of them, and why each waits."""
        return [(path, self._why.get(path, "")) for path in islice(self._settling, most)]

    @property
    def folder_count(self) -> int:
        """Directories that are looked through."""
        return self._inbox.folder_count

    @property
    def left(self) -> int:
        """Files that stay in the inbox."""
        return len(self._left)

    @property
    def left_paths(self) -> tuple[str, ...]:
        """Files that stay in the inbox."""
        return tuple(self._left)

    def look_again(self, path: str) -> None:
        """It is wanted after all, though it has not changed."""
        self._left.pop(path, None)
        self.again(path)

    def hint(self, folder: str, name: str) -> None:
        """Something happened to a name in a folder. Any thread may say so."""
        self._hints.append((folder, name))

    def rescan_soon(self, *, everything: bool) -> None:
        """Look through the folder when next asked; `everything` trusts no modification time.

        Any thread may say so: a look in progress does not count.
        """
        if everything:
            self._net_asked = True
        self._rescan_asked = True

    def complete(self, most: int) -> list[Arrived]:
        """Files that have become complete; ask again at `next_due` for the others.

        Args:
            most: files to look at, so that the first of many need not wait for the last.

        Raises:
            OSError: the disk does not answer. Nothing is forgotten; ask again later.
        """
        now = self._clock.monotonic()
        for folder, name in self._drained_hints():
            self._inbox.look(folder, name, self._clock.now(), self._notice)
        if self._rescan_asked or now >= self._next_rescan:
            # What is asked for from here on is for the next time; a disk that fails is asked again.
            self._rescan_asked = False
            everything, self._net_asked = self._net_asked or now >= self._next_net, False
            before = self._noticed
            try:
                self._inbox.rescan(self._clock.now(), self._notice, everything=everything)
            except OSError:
                self.rescan_soon(everything=everything)
                raise
            self.last_scan = self._clock.now()
            # On a share where nothing happens, nobody is asked every two seconds.
            self._pace = min(1.5 * self._pace, self._slowest)
            if self._noticed > before:
                self._pace = self._rescan_interval
            self._next_rescan = now + self._pace
            if everything:
                self._next_net = now + _NET_SECONDS
        found: list[Arrived] = []
        while most and self._queue and self._queue[0][0] <= now:
            due, path = heapq.heappop(self._queue)
            if self._due.get(path) != due:
                continue
            most -= 1
            try:
                arrived = self._look(path, now)
            except OSError:
                for each in (path, *(one.path for one in found)):
                    self.again(each)
                raise
            if arrived is not None:
                found.append(arrived)
        return found

    def _drained_hints(self) -> Iterable[tuple[str, str]]:
        # As many as there are now: more may come while these are followed.
        return dict.fromkeys(self._hints.popleft() for _ in range(len(self._hints)))

    def _notice(self, path: str) -> None:
        self._noticed += 1
        if path not in self._settling:
            self._settling[path] = Settling(self._patience)
        self._at(_BEFORE_ALL, path)

    def _at(self, due: float, path: str) -> None:
        self._due[path] = due
        heapq.heappush(self._queue, (due, path))

    def _look(self, path: str, now: float) -> Arrived | None:
        try:
            reading = read_file(path, local=self._local, now=self._clock.now())
        except FileNotFoundError:
            self.gone(path)
            return None
        except OSError as wrong:
            if wrong.errno == errno.ELOOP:
                self.gone(path)  # a link has taken its place
            elif wrong.errno in (errno.EACCES, errno.EPERM):
                self._why[path] = f"it cannot be read: {wrong.strerror}"
                self._at(now + _UNREADABLE_SECONDS, path)
            else:
                raise
            return None
        if reading is None or self._left.get(path) == reading.stamp:
            self._drop(path)
            return None
        verdict = self._settling[path].look(reading, now)
        if isinstance(verdict, Wait):
            self._why[path] = verdict.why
            self._at(verdict.until, path)
            return None
        if path.endswith(".json") and read_reason(Path(path)):
            # It was moved back together with the file it is about.
            self.leave(path, reading.stamp)
            return None
        return Arrived(path, verdict.why if isinstance(verdict, Truncated) else "")

    # -- what becomes of it ----------------------------------------------------------------------
    def again(self, path: str, after: float = 0.0) -> None:
        """It could not be taken; look at it again in `after` seconds."""
        self._settling.setdefault(path, Settling(self._patience))
        self._at(self._clock.monotonic() + after, path)

    def hold(self, path: str, why: str) -> None:
        """It is complete, and waits for others; it is looked at again when something happens."""
        self._why[path] = why

    def unchanged(self, path: str, stamp: Stamp) -> bool:
        """True if it is as it was when it was found complete."""
        settling = self._settling.get(path)
        return settling is not None and settling.stamp == stamp

    def is_still(self, path: str, at: str) -> bool:
        """True if a file that has just been renamed to `at` is as complete as it was before."""
        reading = read_file(at, local=self._local, inside=False)
        if reading is None or reading.leased is False:
            return False
        return reading.stamp == self._settling[path].stamp

    def gone(self, path: str) -> None:
        """It is not in the inbox any more."""
        self._inbox.forget(path)
        self._left.pop(path, None)
        self._drop(path)

    def leave(self, path: str, stamp: Stamp) -> None:
        """It stays where it is, until it changes."""
        self._drop(path)
        self._left[path] = stamp

    def close(self) -> None:
        """Stop listening."""
        self._inbox.close()

    def _drop(self, path: str) -> None:
        self._settling.pop(path, None)
        self._why.pop(path, None)
        self._due.pop(path, None)


def stamp_at(path: str | os.PathLike[str]) -> Stamp:
    """The stamp of a file, for `leave`."""
    return stamp_of(os.lstat(path))
