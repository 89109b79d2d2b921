"""When a hot folder takes files, how many, and when their jobs may start.

A folder with `only:` takes files inside its windows. What has been taken runs to its end; only a
few are taken ahead, so that hardly any begins after a window has closed. A folder with `hold:`
takes files at once, and their jobs wait.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from daemon.clock import Clock
from rules.model import FolderRules

UNTIL_RELEASED: Final = 253_402_300_799.0
"""The last second of the year 9999: a job that somebody has to release."""
_LONGEST_SLEEP: Final = 60.0  # the wall clock may be set meanwhile
_AHEAD: Final = 2 * (os.cpu_count() or 1)


class Gate:
    """Of one folder."""

    def __init__(self, rules: FolderRules, clock: Clock) -> None:
        """`clock` tells the time on the wall, too."""
        self._rules, self._clock = rules, clock

    def now(self) -> datetime:
        """The moment, on the wall clock of this machine."""
        return datetime.fromtimestamp(self._clock.now(), UTC).astimezone()

    @property
    def closed(self) -> str:
        """Why nothing is taken now; empty while files are taken."""
        only, now = self._rules.only, self.now()
        if only is None or now in only:
            return ""
        return f"files are taken from {only.opens(now):%a %H:%M} on (only: {only})"

    def room(self, in_hand: int, most: int) -> int:
        """How many files may be taken now, when `in_hand` are and `most` would be at once."""
        if self._rules.only is None:
            return most
        if self.closed:
            return 0
        return max(min(most, max(_AHEAD, 2 * self._rules.limit) - in_hand), 0)

    def sleep(self) -> float:
        """Seconds after which to ask again when there was no room."""
        only, now = self._rules.only, self.now()
        if only is None or now in only:
            return _LONGEST_SLEEP
        return min(max((only.opens(now) - now).total_seconds(), 1.0), _LONGEST_SLEEP)

    @property
    def not_before(self) -> float | None:
        """Unix seconds before which a job that is taken now does not start."""
        hold = self._rules.hold
        if hold is None:
            return None
        return UNTIL_RELEASED if hold == float("inf") else self._clock.now() + hold
