"""Time as an argument: nothing in the queue asks the machine for it directly."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: one that people understand, one that never jumps."""

    def now(self) -> float:
        """Unix seconds, UTC. For records; may jump when somebody sets the clock."""

    def monotonic(self) -> float:
        """Seconds since some moment. For delays and deadlines; the same in every process."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Unix seconds, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """`CLOCK_MONOTONIC`."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        """Unix seconds, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds; moves together with `now`."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds
        self._monotonic += seconds
